"""What auto means on processors that are not here, and how it is kept. No time is real."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from personare.errors import InvalidOption
from personare.weights import measured as room
from personare.weights.measured import (
    FORMATS,
    PRECISION_VARIABLE,
    PROBE_SECONDS,
    Choice,
    Format,
    Measured,
    What,
    choice_here,
    identity,
    kept,
    kept_here,
    measure,
    place,
    read,
)

WHO = ("A Processor", "avx2 fma", "2.13.0", 2)

Figures = dict[Format, float | tuple[float, float]]
"""10^9 operations a second, of products and convolutions."""

AMX: Figures = {"float32": (184, 215), "bfloat16": (1847, 1209), "float16": (231, 215)}
ZEN4: Figures = {"float32": (110, 90), "bfloat16": (230, 190), "float16": 4}
AVX2: Figures = {"float32": (47, 44), "bfloat16": 1, "float16": 0.6}
GRAVITON3: Figures = {"float32": (80, 60), "bfloat16": (190, 120), "float16": (100, 70)}
APPLE: Figures = {"float32": (1400, 600), "bfloat16": (900, 300), "float16": (1500, 700)}
CORTEX_A76: Figures = {"float32": 12, "float16": 20}
"""No bfloat16 at all, and half a piece of work takes long."""
GRANITE: Figures = {"float32": 220, "bfloat16": 1800, "float16": 1850}
SLOW: Figures = {"float32": 0.4, "bfloat16": 0.1}


class Clock:
    """Time that passes only where a Bench says so."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


class Bench:
    """A processor of which only the figures are known. overhead: seconds of every call."""

    def __init__(self, clock: Clock, figures: Figures, overhead: float = 0.0, together: float = 1.0) -> None:
        self.clock, self.figures, self.overhead, self.together = clock, figures, overhead, together
        self.worked: list[tuple[What, Format, int]] = []

    def work(self, what: What, name: Format, size: int) -> tuple[float, Callable[[], object]]:
        if name not in self.figures:
            raise RuntimeError(f'"addmm_impl_cpu_" not implemented for {name}')
        figure = self.figures[name]
        rate = figure if isinstance(figure, float | int) else figure[what == "convolution"]
        operations = 2 * size**3 / 1e9 if what == "product" else 0.3 * size

        def run() -> None:
            self.worked.append((what, name, size))
            # pictures one by one, and what each further one costs of the first's time
            taken = operations / rate
            if what == "convolution":
                taken = operations / size / rate * (1 + (size - 1) * self.together)
            self.clock.now += taken + self.overhead

        return operations, run


def found_of(figures: Figures, together: float = 1.0) -> Measured:
    clock = Clock()
    return measure(WHO, Bench(clock, figures, together=together), clock)


@pytest.mark.parametrize(
    ("figures", "expected"),
    [
        (AMX, "bfloat16"),
        (ZEN4, "bfloat16"),
        (AVX2, "float32"),
        (GRAVITON3, "bfloat16"),
        (APPLE, "float32"),
        (CORTEX_A76, "float16"),
        (GRANITE, "bfloat16"),
        (SLOW, "float32"),
        ({"float32": 100, "bfloat16": 120}, "float32"),
        ({"float32": 100, "bfloat16": (900, 40)}, "float32"),
    ],
)
def test_the_format_for_measured_figures(figures: Figures, expected: str) -> None:
    assert found_of(figures).precision == expected


def test_what_is_hopeless_is_given_up_in_the_smallest_piece_of_work() -> None:
    clock = Clock()
    bench = Bench(clock, AVX2)
    made = measure(WHO, bench, clock)
    assert made.rates.keys() == {"float32"}
    assert {piece for piece in bench.worked if piece[1] != "float32"} == {
        ("product", name, 256) for name in FORMATS[1:]
    }
    assert "bfloat16 given up" in made.reason
    assert "auto is float32" in made.reason


@pytest.mark.parametrize("figures", [AMX, ZEN4, AVX2, CORTEX_A76])
def test_nothing_new_begins_when_the_time_is_over(figures: Figures) -> None:
    clock = Clock()
    bench = Bench(clock, figures, overhead=0.3)
    before = clock.now
    made = measure(WHO, bench, clock)
    assert "float32" in made.rates
    longest = 0.3 + 8 * 0.3 / 12
    assert clock.now - before < PROBE_SECONDS + 2 * longest  # both pieces of float32 in any case


def test_a_machine_too_slow_for_the_probe_has_an_answer() -> None:
    clock = Clock()
    bench = Bench(clock, SLOW, overhead=1.5)
    made = measure(WHO, bench, clock)
    assert (made.precision, made.batch) == ("float32", None)
    assert [piece for piece in bench.worked if piece[1] == "float32"] == [
        ("product", "float32", 256),
        ("convolution", "float32", 1),
    ]


@pytest.mark.parametrize(("together", "expected"), [(1.0, 1), (0.9, 1), (0.6, 4), (0.3, 8), (1.2, 1)])
def test_pictures_at_once(together: float, expected: int) -> None:
    """together: what a further picture costs of the first one's time."""
    assert found_of(AMX, together).batch == expected


def test_kept_for_the_next_process(home: Path) -> None:
    made = found_of(AMX)
    assert kept(WHO, lambda: made) is made
    assert kept(WHO, pytest.fail) == made
    assert place(WHO).is_relative_to(home)
    assert [path.name for path in place(WHO).parent.iterdir() if path.suffix != ".lock"] == [place(WHO).name]


@pytest.mark.parametrize(
    "other", [("B", *WHO[1:]), (WHO[0], "amx_bf16", *WHO[2:]), (*WHO[:2], "2.14", 2), (*WHO[:3], 4)]
)
def test_another_machine_is_measured_anew(other: tuple[str, str, str, int]) -> None:
    kept(WHO, lambda: found_of(AMX))
    made = Measured(identity=other, rates=found_of(AVX2).rates)
    assert kept(other, lambda: made) is made


def _with(**changes: object) -> bytes:
    return json.dumps(json.loads(found_of(AMX).model_dump_json()) | changes).encode()


RATE = {"product": 1.0, "convolution": 1.0}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 100,
        b"[]",
        b'{"identity": ',
        b"[" * 100_000,
        _with(identity=["B", "", "", 2]),
        _with(more=1),
        _with(rates={}),
        _with(rates={"bfloat16": RATE}),
        _with(rates={"float32": RATE, "int4": RATE}),
        _with(rates={"float32": {"product": 0, "convolution": 1.0}}),
        _with(rates={"float32": {"product": "NaN", "convolution": 1.0}}),
        b'{"identity": ["A Processor", "avx2 fma", "2.13.0", 2], "rates": {"float32": {"product": Infinity, '
        b'"convolution": 1}}}',
        _with(rows={"1000000": 3.0}),
        _with(rows={"-1": 3.0}),
        _with() + b" " * (1 << 20) + b"x",
    ],
)
def test_a_damaged_file_is_measured_anew(content: bytes) -> None:
    place(WHO).parent.mkdir(parents=True)
    place(WHO).write_bytes(content)
    made = found_of(ZEN4)
    assert kept(WHO, lambda: made) is made
    assert read(place(WHO), WHO) == made


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert read(tmp_path / "pipe") is None
    assert read(tmp_path) is None


def test_a_place_that_takes_no_files_stops_nobody(home: Path) -> None:
    (home / "measured").write_text("a file")
    made = found_of(AMX)
    assert kept(WHO, lambda: made) is made


def test_one_measures_and_the_others_wait() -> None:
    began, may_end = threading.Event(), threading.Event()
    made = found_of(AMX)

    def slowly() -> Measured:
        began.set()
        assert may_end.wait(10)
        return made

    first = threading.Thread(target=kept, args=(WHO, slowly))
    first.start()
    assert began.wait(10)
    second: list[Measured] = []
    waiting = threading.Thread(target=lambda: second.append(kept(WHO, pytest.fail)))
    waiting.start()
    may_end.set()
    for thread in (first, waiting):
        thread.join(10)
    assert second == [made]


def test_who_waited_long_enough_measures_too() -> None:
    made, other = found_of(AMX), found_of(AVX2)

    def meanwhile() -> Measured:
        assert kept(WHO, lambda: other, wait_seconds=0.01) is other
        return made

    assert kept(WHO, meanwhile) is made


def test_doctor_tells_of_this_processor_alone() -> None:
    here = identity(2)
    ours = Measured(identity=here, rates=found_of(ZEN4).rates)
    kept(here, lambda: ours)
    kept(WHO, lambda: found_of(AMX))
    assert kept_here() == [ours]


def test_the_variable_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "measured_here", lambda: found_of(AMX, 0.3))
    for name in FORMATS:
        monkeypatch.setenv(PRECISION_VARIABLE, f" {name.upper()} ")
        assert choice_here() == Choice(name)
    for said in ("", "auto"):
        monkeypatch.setenv(PRECISION_VARIABLE, said)
        assert choice_here() == Choice("bfloat16", 8)
    monkeypatch.setenv(PRECISION_VARIABLE, "int8")
    with pytest.raises(InvalidOption, match="PERSONARE_CPU_PRECISION=int8"):
        choice_here()


@pytest.mark.neural
def test_torch_itself_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """The true bench, for a moment: what comes is sound, and comes once."""
    monkeypatch.setattr(room, "PROBE_SECONDS", 0.0)
    monkeypatch.setattr(room, "_known", {})
    made = room.measured_here()
    assert made.precision in FORMATS
    assert room.measured_here() is made
    assert kept_here() == [made]
