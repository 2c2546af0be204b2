"""The values that cross modules. Frozen, small, numpy only.

Shape grammar used in every docstring: `[n, H, W, 3]` is an array with those axes; times are
seconds, positions are pixels (x right, y down, the centre of the top-left pixel is (0.5, 0.5)
unless said otherwise), angles are degrees.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 16000
"""Hz. Every engine hears 16 kHz mono."""

Samples = NDArray[np.float32]
"""Speech: float32 [n] in [-1, 1] at SAMPLE_RATE."""

Image = NDArray[np.uint8]
"""uint8 [H, W, 3], sRGB, channel order red, green, blue."""

LARGEST = "largest"
"""Which face of a portrait is meant unless another is asked for."""
MOST_FACES = 99

_NTSC = {"23.976": Fraction(24000, 1001), "29.97": Fraction(30000, 1001), "59.94": Fraction(60000, 1001)}

# No exponents: 1e99999999 is short to write and hours to compute.
_RATE = re.compile(r"[0-9]{1,12}(?:[./][0-9]{1,12})?")


def frame_rate(value: str | int | float | Fraction) -> Fraction:
    """An exact frame rate from what people write: 25, "30000/1001", "29.97" (taken as
    30000/1001).

    Raises ValueError unless it is written in plain digits and 1 <= rate <= 120.
    """
    if isinstance(value, str):
        text = value.strip()
    elif isinstance(value, float):
        text = f"{value:g}"
    else:
        # Python refuses to write an integer of thousands of digits
        text = str(value) if -1000 < value < 1000 else "a number above 1000"
    try:
        if not _RATE.fullmatch(text):
            raise ValueError
        rate = _NTSC[text] if text in _NTSC else Fraction(text)
    except (ValueError, ZeroDivisionError):
        shown = text if len(text) <= 40 else f"{text[:40]}…"
        raise ValueError(f"{shown!r} is not a frame rate, such as 25, 29.97 or 30000/1001") from None
    if not 1 <= rate <= 120:
        raise ValueError(f"frame rate {text} is not between 1 and 120")
    return rate


def face_choice(value: object) -> str:
    """largest, left, right or a number from 1, as people write it. Raises ValueError."""
    text = str(value).strip().lower()
    if text in (LARGEST, "left", "right"):
        return text
    if text.isascii() and text.isdigit() and 1 <= int(text[:4]) <= MOST_FACES and len(text) <= 4:
        return str(int(text))
    raise ValueError(f"largest, left, right or a number from 1 to {MOST_FACES}, counted from the left")


def frame_count(samples: int, fps: Fraction) -> int:
    """Frames of a clip: ceil(samples * fps / 16000), in exact rational arithmetic."""
    return math.ceil(samples * fps / SAMPLE_RATE)


@dataclass(frozen=True, slots=True)
class Phone:
    """One spoken sound with its place in the speech.

    `symbol` is IPA ("" or punctuation is a pause); `start` and `end` are sample positions at
    SAMPLE_RATE from the start of the utterance.
    """

    symbol: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class SpeechChunk:
    """A piece of speech, twice: as engines hear it and as the clip keeps it.

    samples: float32 [n] at 16 kHz mono. voice: float32 [m, channels] at the voice's own rate.
    over a whole speech n == ceil(m * 16000 / rate). phones: what is said, for phones that start
    within these samples, or None if the text is not known (positions count from the start of
    the utterance).
    """

    samples: Samples
    voice: NDArray[np.float32]
    phones: tuple[Phone, ...] | None = None


@dataclass(frozen=True, slots=True)
class Speech:
    """A voice that can be heard from its start any number of times, chunk by chunk, without
    being held in memory.

    `chunks()` opens it anew. `voice_rate` (Hz) and `voice_channels` (1 or 2) describe
    `SpeechChunk.voice`. `seconds` is the container's claim (None if it makes none): good for a
    progress bar, never for frame times. `name` is for messages.
    """

    name: str
    voice_rate: int
    voice_channels: int
    seconds: float | None
    chunks: Callable[[], Iterator[SpeechChunk]]

    @staticmethod
    def from_samples(
        samples: NDArray[Any], rate: int, name: str = "speech", phones: Sequence[Phone] | None = None
    ) -> Speech:
        """An array as Speech; the clip keeps it at its own rate.

        samples: [n] or [n, channels]: float in [-1, 1] (limited to it), or int16, int32, uint8
            PCM. More than two channels are averaged.
        rate: Hz, 1000 to 768000.
        name: for messages.
        phones: what is said when, if that is known: positions at 16 kHz.

        Raises UnusableSpeech for no samples, another shape or type, an impossible rate, NaN or
        infinite samples.
        """
        from personare.media.audio import speech_from_samples

        return speech_from_samples(np.asarray(samples), rate, name, phones)


Source = Literal["portrait", "speech", "guide"]
"""What features are made from: who speaks, what is said, what shows how to move."""


@dataclass(frozen=True, slots=True)
class Guide:
    """Moving pictures that show what to do: a video, or a folder of pictures in natural order.

    `pictures()` opens it anew, so that it is seen any number of times without being held in
    memory.

    name: for messages.
    files: what its pictures come from, in order; their bytes are its content.
    size: (height, width) of its pictures.
    fps: pictures per second.
    frames: how many pictures there are.
    pictures: uint8 [H, W, 3] each, upright.
    sound: its own, if it has any.
    """

    name: str
    files: tuple[Path, ...]
    size: tuple[int, int]
    fps: Fraction
    frames: int
    pictures: Callable[[], Iterator[Image]]
    sound: Speech | None = None


@dataclass(frozen=True, slots=True)
class Frames:
    """Consecutive pictures of a performance.

    first: index of images[0] on the performance's timeline.
    images: uint8 [n, H, W, 3] RGB.
    utterance: number of the utterance that they belong to, from 1; 0 while nobody speaks. A
        picture of an utterance that was interrupted meanwhile is known by it.
    motion: float32 [n, width], what they show in the engine's space, if it has one.
    """

    first: int
    images: NDArray[np.uint8]
    utterance: int = 0
    motion: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True, slots=True)
class Feature:
    """The result of a stage: named arrays (read-only) and JSON metadata."""

    arrays: Mapping[str, NDArray[Any]]
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        return sum(a.nbytes for a in self.arrays.values())


@dataclass(frozen=True, slots=True)
class Avatar:
    """A portrait prepared for one engine.

    `keys` names the feature of every stage in the store; `features` are those features, by
    stage name. `portrait` is the blake3 digest of the portrait file's bytes, `portrait_file`
    where they are (for engines that show the template's own frames); `options` the engine
    options it was prepared with. `name` is "" if nobody named it. `consent` is the digest of
    what the person consented to, "" if nothing is kept of it.
    """

    engine: str
    options: Mapping[str, Any]
    portrait: str
    keys: Mapping[str, str]
    features: Mapping[str, Feature]
    name: str = ""
    portrait_file: Path | None = None
    consent: str = ""


Progress = Callable[[str, int, int | None], None]
"""progress(what, done, total): called often and cheaply; total None if not known.

what: a name and, behind its first comma, what changes from call to call: "tuning, loss 0.12".
Whoever shows it keeps one line for each name. A Progress may raise Cancelled to stop the work
that calls it (see personare.ground.progress).
"""


def no_progress(what: str, done: int, total: int | None) -> None:
    """The Progress of callers who do not want any."""
