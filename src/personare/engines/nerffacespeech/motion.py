"""Mel windows become expressions of the face model, each heard with the expression before it;
and what the face does at rest.

The first utterance of a run begins at the person's own expression, as published. Every later
one, and every rest, begins where the face is: at the last expression that was shown, from which
it goes over to its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from personare.engines.nerffacespeech.drive import MelWindows, silent_window
from personare.engines.resampling import MotionResampler
from personare.ground.stopwatch import Stopwatch
from personare.types import Samples

if TYPE_CHECKING:
    from personare.engines.nerffacespeech.networks.voice import Audio2Exp

Floats = NDArray[np.float32]

SCALE = 1.5
"""How much more than the network says a face moves."""
HANDOVER_SECONDS = 0.2
"""In which a face goes over from what was shown before: about a syllable."""


class Expressions:
    """Windows in, expressions out, one after another.

    anchor: the person's own expression [64], which every next one is drawn towards.
    reference: where it goes on; the anchor at the beginning.
    blink: how far the lids are shut in the next frame, 0 to 1.
    """

    def __init__(
        self,
        network: Audio2Exp,
        anchor: Floats,
        blink: Callable[[], float] = lambda: 0.0,
        reference: Floats | None = None,
    ) -> None:
        self._network, self._blink = network, blink
        self._anchor = anchor.astype(np.float32)
        self.reference = self._anchor if reference is None else reference

    def next(self, window: Floats) -> Floats:
        """Of a window [80, 16]: the expression [64] as it is shown."""
        import torch

        with torch.inference_mode():
            weight = self._network.mapping1.weight
            heard = self._network.hear(torch.from_numpy(window)[None].to(weight))
            reference = torch.from_numpy(self.reference)[None].to(weight)
            blink = torch.full((1, 1), self._blink()).to(weight)
            made = self._network(heard, reference, blink)[0].cpu().numpy()
        # The reference is of what the network says, not of what is shown.
        self.reference = np.float32(0.5) * self._anchor + np.float32(0.5) * made
        return np.asarray(SCALE * made, np.float32)


class FaceMotion:
    """The expressions of one run at the clip's rate, [n, 64], utterance after utterance and at
    rest.
    """

    def __init__(
        self,
        network: Audio2Exp,
        anchor: Floats,
        blinks: Callable[[int], float],
        fps: Fraction,
        watch: Stopwatch,
    ) -> None:
        """anchor: the person's own expression [64]. blinks: how far the lids are shut in each
        frame of the model's; they go on through utterances and rests.
        """
        self._network, self._anchor, self._blinks = network, anchor, blinks
        self._fps, self._watch = fps, watch
        self._lids = 0
        self._reference: Floats | None = None
        self._shown: Floats | None = None  # last of all
        self._mel: MelWindows | None = None
        self._course: _Course | None = None  # of the utterance or the rest under way

    def hear(self, samples: Samples) -> Iterator[Floats]:
        """The frames that more speech settles, some at a time."""
        if not len(samples):
            return
        if self._mel is None:
            self._leave_course()
            self._mel = MelWindows()
        with self._watch("drive"):
            windows = self._mel.push(samples)
        yield from self._settled(windows)

    def end(self, frames: int) -> Iterator[Floats]:
        """The remaining ones of an utterance of so many frames."""
        if self._mel is None:
            return
        with self._watch("drive"):
            windows = self._mel.finish()
        yield from self._settled(windows)
        with self._watch("motion"):
            rest = self._going().finish(frames)
        yield rest

    def rest(self, n: int) -> Floats:
        """The next n frames while the network hears silence. One rest goes on from call to
        call.
        """
        course = self._going()
        with self._watch("motion"):
            made = course.take(n, silent_window())
        self._shown = made[-1]
        return made

    def leave(self, shown: Floats | None) -> None:
        """An utterance, or what a guide showed, is over. shown: the last expression that was
        shown of it, if one was.
        """
        self._mel = None
        if shown is not None:
            self._shown = shown
        self._leave_course()

    def _leave_course(self) -> None:
        if self._course is not None:
            self._reference, self._course = self._course.reference, None

    def _settled(self, windows: Floats) -> Iterator[Floats]:
        course = self._going()
        for window in windows:
            with self._watch("motion"):
                settled = course.push(window)
            yield settled

    def _going(self) -> _Course:
        if self._course is None:
            expressions = Expressions(self._network, self._anchor, self._lid, self._reference)
            self._course = _Course(expressions, self._fps, self._shown)
        return self._course

    def _lid(self) -> float:
        self._lids += 1
        return self._blinks(self._lids - 1)


class _Course:
    """Expressions at the clip's rate from here on."""

    def __init__(self, expressions: Expressions, fps: Fraction, shown: Floats | None) -> None:
        """shown: what was shown before, [64]; None at the beginning of a run."""
        self._expressions, self._resampler = expressions, MotionResampler(fps)
        self._handover = None if shown is None else _Handover(shown, fps)
        self._spare = np.zeros((0, len(expressions.reference)), np.float32)

    @property
    def reference(self) -> Floats:
        """What the network would hear next with a window."""
        return self._expressions.reference

    def push(self, window: Floats) -> Floats:
        """The frames [n, 64] that one more window settles."""
        return self._from_before(self._resampler.push(self._expressions.next(window)[None]))

    def finish(self, frames: int) -> Floats:
        """Those up to `frames` that are left."""
        return self._from_before(self._resampler.finish(frames))

    def take(self, n: int, window: Floats) -> Floats:
        """The next n frames, if the same window is heard on and on."""
        while len(self._spare) < n:
            self._spare = np.concatenate([self._spare, self.push(window)])
        made, self._spare = self._spare[:n], self._spare[n:]
        return made

    def _from_before(self, made: Floats) -> Floats:
        return made if self._handover is None else self._handover(made)


class _Handover:
    """A face is not somewhere else from one frame to the next: how far the first frame is from
    what was shown before is taken off it, and less and less off the next ones.
    """

    def __init__(self, shown: Floats, fps: Fraction) -> None:
        self._shown = shown
        self._frames = max(1, round(HANDOVER_SECONDS * fps))
        self._away: Floats | None = None
        self._done = 0

    def __call__(self, made: Floats) -> Floats:
        """[n, 64] -> the same, frame after frame."""
        if not len(made) or self._done >= self._frames:
            return made
        if self._away is None:
            self._away = self._shown - made[0]
        part = (self._done + 1 + np.arange(len(made), dtype=np.float32)) / (self._frames + 1)
        self._done += len(made)
        left = 1 - np.minimum(part, 1)
        return np.asarray(made + (left**2 * (3 - 2 * left))[:, None] * self._away, np.float32)
