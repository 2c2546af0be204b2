# personare: `make demo` for a first clip, `make test` and `make check` for the whole proof. Everything lands in .venv.
PYTHON ?= python3.11
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: demo setup test check bench gallery clean

demo: $(VENV)/.installed-tts
	@mkdir -p out
	@$(BIN)/personare demo out/demo.mp4

setup: $(VENV)/.installed-dev

test: setup
	@$(BIN)/python -m pytest

check: setup
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m pytest tests/test_readme.py

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

$(VENV)/.installed-tts: $(VENV)/.made pyproject.toml constraints.txt
	@echo "installing personare into $(VENV) ..."
	@$(PIP) install --constraint constraints.txt --editable '.[tts]'
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.made pyproject.toml constraints.txt
	@echo "installing personare and its dev tools into $(VENV) ..."
	@$(PIP) install --constraint constraints.txt --editable '.[tts,dev]'
	@touch $@ $(VENV)/.installed-tts
