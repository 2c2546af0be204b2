# personare: `make demo` for a first clip, `make quick` while you work; `make check`, `make test`, `make nightly` prove it.
# Everything lands in .venv.
PYTHON ?= python3.11
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: demo setup quick test nightly check fuzz rooms cluster audit lock bench gallery clean

demo: $(VENV)/.installed-tts
	@mkdir -p out
	@$(BIN)/personare demo out/demo.mp4

setup: $(VENV)/.installed-dev

# One to two minutes on two cores, without torch: make quick TESTS=tests/unit/test_media.py
TESTS ?= tests
quick: $(VENV)/.installed-quick
	@$(BIN)/python -m pytest -m "not slow and not neural" --durations-min=1.5 --numprocesses=auto --maxprocesses=8 $(TESTS)

# All but README's blocks, which make check runs: side by side where tests only compute, one after the other
# where they serve and send signals.
SIDE_BY_SIDE := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses=auto --maxprocesses=8
ALONE := tests/cluster tests/serve/test_live.py tests/serve/test_page.py tests/serve/test_page_talk.py tests/serve/test_complaints.py tests/serve/test_documents.py \
	tests/faults/test_interrupts.py tests/faults/test_kill.py
test: setup
	@$(SIDE_BY_SIDE) -m "not slow"
	@$(SIDE_BY_SIDE) --dist=loadfile -m "slow and not nightly" $(addprefix --ignore=,tests/test_readme.py $(ALONE))
	@$(BIN)/python -m pytest -m slow $(ALONE)

# Two minutes more, of what other tests prove in part.
nightly: setup
	@$(BIN)/python -m pytest -m nightly

check: setup
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python tools/widths.py
	@$(BIN)/python -m pytest tests/test_readme.py

# Random damage to every kind of file that is read: make fuzz SECONDS=600
SECONDS ?= 600
fuzz: setup
	@PERSONARE_FUZZ_SECONDS=$(SECONDS) $(BIN)/python -m pytest tests/fuzz

# Rooms against the packages they are for, each in an environment of its own: their pins and ours do not agree.
rooms: $(VENV)/.made
	@for room in livekit pipecat; do \
	 "$$(command -v $(PYTHON) || command -v python3)" -m venv $(VENV)/rooms-$$room && \
	 $(VENV)/rooms-$$room/bin/python -m pip --disable-pip-version-check --quiet install --editable ".[test,camera,$$room]" && \
	 $(VENV)/rooms-$$room/bin/python -m pytest tests/rooms || exit 1; done

# Batches and the service on Ray nodes of this machine (367 MB), in an environment of its own.
cluster: $(VENV)/.made
	@"$$(command -v $(PYTHON) || command -v python3)" -m venv $(VENV)/cluster
	@$(VENV)/cluster/bin/python -m pip --disable-pip-version-check --quiet install --editable ".[test,cluster]"
	@$(VENV)/cluster/bin/python -m pytest tests/cluster

# Known vulnerabilities in what is pinned, as far as the index tells of them; offline it says that it skipped.
audit: $(VENV)/.made
	@$(BIN)/python tools/audit.py $(VENV)/audit constraints.txt

# After a change of dependencies: pins and hashes anew, within what constraints.txt still says.
COMPILE := $(BIN)/uv pip compile pyproject.toml requirements/build.in --universal --python-version 3.11 --generate-hashes \
	--override requirements/override.txt --no-emit-package torch \
	--custom-compile-command "make lock" --quiet
lock: $(VENV)/.made
	@$(PIP) install uv
	@$(COMPILE) requirements/torch.in --extra tts --extra dev --constraint constraints.txt --output-file requirements/dev.lock
	@$(COMPILE) --extra tts --constraint requirements/dev.lock --output-file requirements/demo.lock
	@$(COMPILE) --extra test --constraint requirements/dev.lock --output-file requirements/quick.lock

bench: setup
	@$(BIN)/python benchmarks/render.py
	@$(BIN)/python benchmarks/end_to_end.py

# Contact sheets of speech, emotions and extremes: make gallery PORTRAITS="me.jpg you.png"
gallery: $(VENV)/.installed-tts
	@$(BIN)/python tools/gallery.py $(PORTRAITS) -o out/gallery

clean:
	rm -rf $(VENV) out

# The first Python that is new enough, python3.11 if it is there.
$(VENV)/.made:
	@command -v $(PYTHON) >/dev/null 2>&1 && py=$(PYTHON) || py=python3; \
	 $$py -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: personare needs Python 3.11 or newer" >&2; exit 1; }; \
	 $$py -m venv $(VENV)
	@touch $@

# Every file that is installed has the hash that its lock says, and the back end that builds personare is one of them;
# torch has the version of constraints.txt (requirements/torch.in says why it has no hash).
# Python compiles what it imports when it does; to compile all of it takes half of an installation's processor time.
INSTALL := $(PIP) install --no-compile --require-hashes --requirement
ITSELF  := $(PIP) install --no-deps --no-build-isolation --editable .

$(VENV)/.installed-tts: $(VENV)/.made pyproject.toml requirements/demo.lock
	@echo "installing personare into $(VENV) ..."
	@$(INSTALL) requirements/demo.lock
	@$(ITSELF)
	@touch $@

$(VENV)/.installed-quick: $(VENV)/.made pyproject.toml requirements/quick.lock
	@echo "installing personare and what tests it into $(VENV) ..."
	@$(INSTALL) requirements/quick.lock
	@$(ITSELF)
	@touch $@ $(VENV)/.installed-tts

$(VENV)/.installed-dev: $(VENV)/.made pyproject.toml requirements/dev.lock constraints.txt
	@echo "installing personare and its dev tools into $(VENV) ..."
	@$(INSTALL) requirements/dev.lock
	@$(PIP) install --no-compile --constraint constraints.txt torch
	@$(ITSELF)
	@touch $@ $(VENV)/.installed-tts $(VENV)/.installed-quick
