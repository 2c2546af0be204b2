"""Motion: what the voice asks of the mouth and what life does on its own, joined into one face
state per frame.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from personare.engines.puppet.move.emotion import Mood
from personare.engines.puppet.move.life import Life
from personare.engines.puppet.move.state import MouthFrame
from personare.engines.puppet.options import PuppetOptions
from personare.motion import UNIT, FaceState

HANDOVER_SECONDS = 0.14
"""How long the mouth takes from where an utterance left it to where idle motion or the next
utterance wants it.
"""

BLINKS = [UNIT["eyeBlinkLeft"], UNIT["eyeBlinkRight"]]
LIDS = [i for name, i in UNIT.items() if name.startswith(("eyeLook", "eyeWide"))]
"""What moves lids that a blink shuts."""

_REST = MouthFrame(curves=np.zeros(len(UNIT), np.float32), tongue=0.0, loudness=0.0, emphasis=0.0)


class FaceMotion:
    """One face over one timeline: call `speak` or `rest` once per frame, `release` where an
    utterance ends.
    """

    def __init__(self, options: PuppetOptions) -> None:
        self._life = Life(
            options.seed,
            options.rate,
            head_motion=options.head_motion,
            blink_rate=options.blink_rate,
            gaze=options.gaze,
        )
        self._mood = Mood(options.emotion, options.emotion_strength, options.rate)
        self._handover_frames = max(
            1, round(Fraction(HANDOVER_SECONDS).limit_denominator(1000) * options.rate)
        )
        self._left = _REST
        self._last = _REST
        self._frames_to_go = 0

    def speak(self, mouth: MouthFrame) -> FaceState:
        """The next frame, with the mouth as the voice wants it."""
        life = self._life.next(mouth)
        mouth = self._handed_over(mouth)
        curves = np.minimum(mouth.curves + life.curves, np.float32(1))
        curves[BLINKS] = life.blink
        curves[LIDS] *= np.float32(1 - life.blink)
        curves = self._mood.add(curves)
        return FaceState(curves=curves, tongue=mouth.tongue, head=life.head, shift=life.shift, gaze=life.gaze)

    def rest(self) -> FaceState:
        """The next frame, with the mouth at rest."""
        return self.speak(_REST)

    def release(self) -> None:
        """An utterance is over, perhaps in mid-vowel: what follows starts from where the mouth
        is now.
        """
        if self._last.curves.any() or self._last.tongue:
            self._left = self._last
            self._frames_to_go = self._handover_frames

    def _handed_over(self, wanted: MouthFrame) -> MouthFrame:
        if self._frames_to_go:
            linear = self._frames_to_go / (self._handover_frames + 1)
            kept = np.float32(linear * linear * (3 - 2 * linear))
            self._frames_to_go -= 1
            wanted = MouthFrame(
                curves=kept * self._left.curves + (1 - kept) * wanted.curves,
                tongue=float(kept * self._left.tongue + (1 - kept) * wanted.tongue),
                loudness=wanted.loudness,
                emphasis=wanted.emphasis,
            )
        self._last = wanted
        return wanted
