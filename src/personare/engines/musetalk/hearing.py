"""A voice becomes rows: 50 a second, each the hidden states of whisper's encoder, float32
[layers + 1, width].

    Pieces     exact, the current front end: each 30 s alone, as published; a
               piece's rows come when the piece is complete
    Whole      exact, the front end of 2024: one spectrum of the whole speech,
               normalised by its peak; rows come at the end
    Windowed   an approximation with a bounded look-ahead, for voices that are still speaking

The exact forms are cached by the samples they heard. The windowed form hears 5.12 s before and
0.32 s after every 0.48 s, at its own positions and normalised by the loudest so far: other
numbers than the exact forms, the same numbers however the voice was cut.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from personare.cache.form import Array, Form
from personare.cache.recipe import Recipe, Stage, StageInputs
from personare.cache.run import Outcome, hear
from personare.types import Feature, Progress, Samples, no_progress

if TYPE_CHECKING:
    from personare.cache.store import FeatureStore
    from personare.voice.whisper import SpeechEncoder
    from personare.weights.resident import Lease

Floats = NDArray[np.float32]
FrontEnd = Literal["current", "original"]

HEAR = "musetalk.hear"
ROWS_PER_SECOND = 50
ROW_SAMPLES = 320
PIECE_SAMPLES = 480_000
_PIECE_FRAMES = 3000
_CONTEXT_ROWS, _STEP_ROWS, _AHEAD_ROWS = 256, 24, 16
WINDOWED_LOOKAHEAD_SECONDS = _AHEAD_ROWS / ROWS_PER_SECOND
WINDOWED_STEP_SECONDS = _STEP_ROWS / ROWS_PER_SECOND


class Ears:
    """A whisper encoder that is leased when it is first needed, and what names it in keys."""

    def __init__(
        self,
        lease: Callable[[], Lease[SpeechEncoder]],
        sha256: tuple[str, ...],
        numeric_format: str = "float32",
    ) -> None:
        self._new_lease = lease
        self.sha256 = sha256
        self.numeric_format = numeric_format

    @cached_property
    def _lease(self) -> Lease[SpeechEncoder]:
        return self._new_lease()

    @property
    def encoder(self) -> SpeechEncoder:
        """The network itself."""
        return self._lease.network

    def forget(self) -> None:
        """Give the network back; it is leased again if it is needed again."""
        if lease := self.__dict__.pop("_lease", None):
            lease.close()

    @property
    def row_shape(self) -> tuple[int, int]:
        """(hidden states, width) of a row."""
        return self.encoder.config.layers + 1, self.encoder.config.width


def recipe(ears: Ears, front_end: FrontEnd, peak: float | None = None) -> Recipe:
    """What is heard in one piece: "rows" float32 [n, layers + 1, width].

    current: of at most 30 s of samples, n = samples // 320. original: of samples with 200
    more on both sides, given the peak (log10) of the whole speech's spectrum; n = (samples -
    400 + 160) // 320.
    """

    def compute(inputs: StageInputs) -> Feature:
        assert inputs.speech is not None
        if front_end == "current":
            return Feature({"rows": _heard_piece(ears, inputs.speech)})
        return Feature({"rows": _heard_slice(ears, inputs.speech, float(inputs.parameters["peak"]))})

    def form(inputs: StageInputs) -> Form:
        heard = len(inputs.speech) if front_end == "current" else len(inputs.speech) - 400 + 160
        return Form({"rows": Array("float32", (heard // ROW_SAMPLES, *ears.row_shape))})

    parameters = {"front_end": front_end} | ({} if peak is None else {"peak": peak})
    return Recipe(
        (
            Stage(
                HEAR,
                version=1,
                compute=compute,
                parameters=parameters,
                reads=("speech",),
                weights=ears.sha256,
                numeric_format=ears.numeric_format,
                form=form,
            ),
        )
    )


class Hearing(ABC):
    """One utterance on its way in; rows on their way out. `heard` says what came from the
    cache.
    """

    def __init__(self, ears: Ears) -> None:
        self.ears = ears
        self.heard: dict[str, Outcome] = {}

    @abstractmethod
    def push(self, samples: Samples) -> Iterator[Floats]:
        """Hear float32 [n]; yield the rows that are settled, [k, layers + 1, width], in order."""

    @abstractmethod
    def finish(self) -> Iterator[Floats]:
        """The rest: after it there were samples // 320 rows in all."""


class _Cached(Hearing):
    def __init__(self, ears: Ears, store: FeatureStore | None, progress: Progress = no_progress) -> None:
        super().__init__(ears)
        self._store = store
        self._progress = progress

    def _rows(self, steps: Recipe, samples: Samples) -> Floats:
        hearing = hear(steps, samples, self._store, self._progress)
        for stage, outcome in hearing.outcome.items():
            if self.heard.get(stage) != "miss":
                self.heard[stage] = outcome
        rows: Floats = hearing.features[HEAR].arrays["rows"]
        return rows


class Pieces(_Cached):
    """The current front end, exact: pieces of 30 s from the start of the utterance."""

    def __init__(self, ears: Ears, store: FeatureStore | None, progress: Progress = no_progress) -> None:
        super().__init__(ears, store, progress)
        self._piece = np.empty(PIECE_SAMPLES, np.float32)
        self._filled = 0

    def push(self, samples: Samples) -> Iterator[Floats]:
        while len(samples):
            taken = min(len(samples), PIECE_SAMPLES - self._filled)
            self._piece[self._filled : self._filled + taken] = samples[:taken]
            self._filled += taken
            samples = samples[taken:]
            if self._filled == PIECE_SAMPLES:
                yield from self.finish()

    def finish(self) -> Iterator[Floats]:
        piece, self._filled = self._piece[: self._filled].copy(), 0
        if len(piece) >= ROW_SAMPLES:
            yield self._rows(recipe(self.ears, "current"), piece)


class Whole(_Cached):
    """The original front end, exact: the utterance is kept (64 KB a second) until its loudest
    moment is known.
    """

    def __init__(self, ears: Ears, store: FeatureStore | None, progress: Progress = no_progress) -> None:
        super().__init__(ears, store, progress)
        self._chunks: list[Samples] = []

    def push(self, samples: Samples) -> Iterator[Floats]:
        self._chunks.append(samples.copy())
        return iter(())

    def finish(self) -> Iterator[Floats]:
        from personare.voice.whisper import mirrored

        samples = np.concatenate([np.zeros(0, np.float32), *self._chunks])
        self._chunks = []
        if len(samples) < ROW_SAMPLES:
            return
        slices = list(_whole_slices(mirrored(samples), len(samples) // 160))
        peak = max(_peak(piece) for piece in slices)
        for piece in slices:
            yield self._rows(recipe(self.ears, "original", peak), piece)


class Windowed(Hearing):
    """Either front end with a bounded look-ahead: nothing is cached, memory is constant."""

    def __init__(self, ears: Ears, front_end: FrontEnd) -> None:
        super().__init__(ears)
        self._final_norm = front_end == "current"
        self._kept = np.zeros(0, np.float32)
        self._kept_from = 0  # row at which the kept samples begin
        self._next = 0  # first row that is not out yet
        self._peak = -np.inf

    def push(self, samples: Samples) -> Iterator[Floats]:
        for start in range(0, len(samples), PIECE_SAMPLES):
            self._kept = np.concatenate([self._kept, samples[start : start + PIECE_SAMPLES]])
            while self._next + _STEP_ROWS + _AHEAD_ROWS <= self._rows_known():
                yield self._step(self._next + _STEP_ROWS + _AHEAD_ROWS)

    def finish(self) -> Iterator[Floats]:
        known = self._rows_known()
        while self._next < known:
            yield self._step(min(self._next + _STEP_ROWS + _AHEAD_ROWS, known))

    def _rows_known(self) -> int:
        return self._kept_from + len(self._kept) // ROW_SAMPLES

    def _step(self, end: int) -> Floats:
        """The next rows, heard in everything kept up to row `end`; then forget what no later
        step hears.
        """
        from personare.voice.whisper import log_mel, mirrored, normalised

        mel = log_mel(mirrored(self._kept[: (end - self._kept_from) * ROW_SAMPLES]))[:, :-1]
        self._peak = max(self._peak, float(mel.max()))
        rows = self.ears.encoder.hear(normalised(mel, self._peak), self._final_norm)
        after = min(self._next + _STEP_ROWS, end)
        settled = rows[self._next - self._kept_from : after - self._kept_from]
        self._next = after
        forget = max(0, after - _CONTEXT_ROWS - self._kept_from)
        self._kept, self._kept_from = self._kept[forget * ROW_SAMPLES :], self._kept_from + forget
        return settled


def _heard_piece(ears: Ears, samples: Samples) -> Floats:
    from personare.voice.whisper import piece_mel

    return ears.encoder.hear(piece_mel(samples), final_norm=True)[: len(samples) // ROW_SAMPLES]


def _heard_slice(ears: Ears, padded: Samples, peak: float) -> Floats:
    from personare.voice.whisper import log_mel, normalised

    mel = normalised(log_mel(padded), peak)
    whole = np.zeros((len(mel), _PIECE_FRAMES), np.float32)  # the spectrum itself is continued with zeros
    whole[:, : mel.shape[1]] = mel
    return ears.encoder.hear(whole, final_norm=False)[: mel.shape[1] // 2]


def _whole_slices(padded: Samples, frames: int) -> Iterator[Samples]:
    """The mirrored samples under each 3000 spectra, with their context."""
    for seek in range(0, frames, _PIECE_FRAMES):
        end = min(seek + _PIECE_FRAMES, frames)
        yield padded[seek * 160 : (end - 1) * 160 + 400]


def _peak(padded: Samples) -> float:
    from personare.voice.whisper import log_mel

    return float(log_mel(padded).max())
