"""The battery: sound and picture of one clip, measured apart and compared.

Everything is measured on decoded pictures by our own perception, so ours and a rival's clips
are judged alike; what that perception cannot see, nobody gets blamed for. Formulas after THEval
(CVPR 2026) where it has them; docs/quality.md says what each row means and where its bar is
from.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from av.stream import Stream
from numpy.typing import NDArray

from personare.errors import NoFaceFound, UnreadableMedia
from personare.media.audio import open_speech
from personare.media.demux import opened_container
from personare.media.local import shown
from personare.media.video import VideoSource, has_video
from personare.score.figures import Figure, Score, at_least, at_most, within
from personare.score.life import agrees, lives, rests, speaks
from personare.score.opening import FaceSeen, watch
from personare.score.sound import FRAME_SECONDS, SoundHeard, Span, listen
from personare.types import Phone, Progress, Speech, no_progress

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

SHUT_PERCENTILE, SHUT_SPREAD, SHUT_AT_MOST = 2, 1.6, 0.07
"""Landmarks part lips that are shut, more in a smile, and by up to this factor more or less
with pose and expression (measured on portraits whose lips are known to be shut: 2nd to 98th
percentile .041 to .066 and .013 to .020).
"""
CLOSED_SHARE = 0.10
LIP_TO_TEETH_SHARE = 0.25
OPEN_SHARE = 0.25
TOLERANCE_SECONDS = 0.040
SPIKE_PX = 3.0
LAG_RANGE_SECONDS = 0.30
_LAG_STEP_SECONDS = 0.01
LEAST_MATCH = 0.3
"""A mouth that follows the sound less than this at any shift has no lag."""
SILENCE_SETTLES_SECONDS, SILENCE_ENDS_SECONDS = 0.20, 0.10
"""Of a silence, the mouth may take so long to close, and open so long before the next sound."""
MINUTE = 60.0
_LONG_ENOUGH_SECONDS = 1.0
_FEWEST_FRAMES = 10


@dataclass(frozen=True, slots=True)
class Mouth:
    """How far a mouth is open and how wide, where it was seen. seconds: float64 [n] of the
    sound. opening: gap above what landmarks show of shut lips; reach: its 95th percentile.
    """

    seconds: Floats
    gap: Floats
    opening: Floats
    width: Floats
    floor: float
    reach: float

    def between(self, start: float, end: float) -> Mask:
        return np.asarray((self.seconds >= start) & (self.seconds <= end))


def score_clip(
    clip: Path,
    speech: Path | None = None,
    phones: Sequence[Phone] | None = None,
    progress: Progress = no_progress,
) -> Score:
    """Measure one clip of one talking face.

    speech: the voice, if it is not the clip's own sound. phones: what is spoken when, positions
    at 16 kHz from the start of the voice. Memory does not grow with the clip but for about 150
    bytes a picture and 32 bytes per 10 ms. Raises UnreadableMedia for a clip without pictures
    or without sound, NoFaceFound for one without a face, UnusableSpeech.
    """
    if not has_video(clip):
        raise UnreadableMedia(
            f"{shown(clip)} has no moving pictures",
            hint="give a clip of a talking face (mp4, mov, webm, mkv)",
        )
    voice = open_speech_of(clip) if speech is None else open_speech(speech)
    heard = listen(voice, phones, progress)
    source = VideoSource(clip)
    expected = None if source.seconds is None else round(source.seconds * float(source.fps))
    seen = watch(source.frames(), lambda done: progress("looking", done, expected))
    if not seen.seen.any():
        raise NoFaceFound(
            f"{shown(clip)}: no face in any of {len(seen)} pictures",
            hint="give a clip of one face, seen from the front",
        )
    offset = picture_offset_seconds(clip) if speech is None else 0.0
    return Score(
        clip=str(clip),
        speech=str(speech or clip),
        frames=len(seen),
        fps=round(float(source.fps), 3),
        width=source.size[1],
        height=source.size[0],
        seconds=round(len(seen) / float(source.fps), 3),
        rows=tuple(rows(seen, heard, source.fps, offset)),
    )


def open_speech_of(clip: Path) -> Speech:
    """The clip's own sound. Raises UnreadableMedia."""
    try:
        return open_speech(clip)
    except UnreadableMedia as error:
        raise UnreadableMedia(error.message, hint="give its voice with --speech WAV") from None


def picture_offset_seconds(clip: Path) -> float:
    """How much later than its sound the first picture of a clip begins."""
    with opened_container(clip, "video") as container:
        picture, sound = (_start_seconds(container.streams.best(kind)) for kind in ("video", "audio"))
    return picture - max(sound, 0.0)  # an encoder's priming lies before 0 and is not heard


def _start_seconds(stream: Stream | None) -> float:
    if stream is None or stream.start_time is None or stream.time_base is None:
        return 0.0
    return float(stream.start_time * stream.time_base)


def rows(seen: FaceSeen, heard: SoundHeard, fps: Fraction, offset_seconds: float = 0.0) -> Iterator[Figure]:
    """All figures. offset_seconds: when the first picture is shown, after the start of the
    sound.
    """
    visible = seen.seen
    mouth = mouth_of(seen, offset_seconds)
    share = float(1 - visible.mean())
    yield at_most("face lost", 100 * share, 0.0, "%", f"{int((~visible).sum())} of {len(seen)} pictures")
    yield at_most(
        "shut lips as seen",
        mouth.floor,
        SHUT_AT_MOST,
        "ed",
        "2nd percentile of the gap; the openings below are above it",
    )
    yield from _follows(mouth, heard)
    yield from _lags(mouth, heard, fps)
    yield from _rests(mouth, heard)
    yield from _expresses(mouth, heard)
    yield from _closes(mouth, heard)
    yield from _stays(seen, heard, offset_seconds)
    yield from speaks(seen, mouth.opening, _spoken(mouth, heard), fps)
    yield from lives(seen, fps)


def mouth_of(seen: FaceSeen, offset_seconds: float = 0.0) -> Mouth:
    visible = seen.seen
    gap, width = seen.gap[visible], seen.width[visible]
    floor = float(np.percentile(gap, SHUT_PERCENTILE))
    opening = np.maximum(gap - min(floor * SHUT_SPREAD, SHUT_AT_MOST), 0)
    return Mouth(
        seen.seconds[visible] + offset_seconds, gap, opening, width, floor, float(np.percentile(opening, 95))
    )


# ---------------------------------------------------------------- sound and mouth


def _follows(mouth: Mouth, heard: SoundHeard) -> Iterator[Figure]:
    spoken = _spoken(mouth, heard)
    why = "" if spoken.sum() >= _FEWEST_FRAMES else "no speech"
    by = "our articulation network" if heard.closures is None else "the phones"
    target, loudness = at(heard.target, mouth.seconds), at(heard.loudness, mouth.seconds)
    yield at_least(
        "opening follows articulation, r",
        _correlation(mouth.opening, target, spoken),
        0.8,
        note=why or f"of {by}",
    )
    yield agrees(mouth.opening, loudness, spoken)


def _expresses(mouth: Mouth, heard: SoundHeard) -> Iterator[Figure]:
    spoken = _spoken(mouth, heard)
    enough = spoken.sum() >= _FEWEST_FRAMES
    widest = float(np.percentile(mouth.gap[spoken], 95)) - mouth.floor if enough else None
    note = "while speaking" if enough else "no speech"
    people = f"people .17 to .20; {note}; above the clip's 2nd"
    yield within("opening, 95th percentile", widest, 0.14, 0.22, "ed", people)
    yield at_least(
        "mouth width, standard deviation",
        float(mouth.width[spoken].std()) if enough else None,
        0.03,
        "ed",
        note,
    )


def _spoken(mouth: Mouth, heard: SoundHeard) -> Mask:
    """The pictures within 0.3 s of speech."""
    return at(heard.spoken.astype(np.float64), mouth.seconds) > 0.5


def at(curve: Floats, seconds: Floats) -> Floats:
    """A curve at 100 Hz, sampled at any times; its ends hold."""
    centres = (np.arange(len(curve)) + 0.5) * FRAME_SECONDS
    return np.asarray(np.interp(seconds, centres, curve))


def _correlation(a: Floats, b: Floats, where: Mask) -> float | None:
    a, b = a[where], b[where]
    if len(a) < _FEWEST_FRAMES or a.std() < 1e-9 or b.std() < 1e-9:
        return None
    return float(np.corrcoef(a, b)[0, 1])


def _lags(mouth: Mouth, heard: SoundHeard, fps: Fraction) -> Iterator[Figure]:
    frame = float(1 / fps)
    end = float(mouth.seconds[-1])
    stretches = {
        "lag": (-np.inf, np.inf),
        "lag, first minute": (-np.inf, MINUTE),
        "lag, last minute": (end - MINUTE, np.inf),
    }
    lags: dict[str, float | None] = {}
    for name, (start, stop) in stretches.items():
        late = lag_seconds(mouth, heard, start, stop)
        lags[name] = late
        note = "the mouth follows no speech" if late is None else f"{late * 1000:+.0f} ms; + is a late mouth"
        yield at_most(name, None if late is None else late / frame, 1.0, "frames", note)
    first, last = lags["lag, first minute"], lags["lag, last minute"]
    long = end > 2 * MINUTE and first is not None and last is not None
    drift = (last - first) / frame if long and first is not None and last is not None else None
    yield at_most("lag, drift", drift, 1.0, "frames", "" if long else "clip shorter than two minutes")


def lag_seconds(mouth: Mouth, heard: SoundHeard, start: float = -np.inf, end: float = np.inf) -> float | None:
    """By how much the mouth comes after what the sound asks for: argmax of the
    cross-correlation, to 10 ms.

    None where the mouth follows nothing, or not for half a second.
    """
    inside = mouth.between(start, end)
    if inside.sum() * np.median(np.diff(mouth.seconds, prepend=0.0)) < _LONG_ENOUGH_SECONDS / 2:
        return None
    steps = round(LAG_RANGE_SECONDS / _LAG_STEP_SECONDS)
    lags = np.asarray(np.arange(-steps, steps + 1) * _LAG_STEP_SECONDS, np.float64)
    matches = [_correlation(mouth.opening, at(heard.target, mouth.seconds - lag), inside) for lag in lags]
    found = [match for match in matches if match is not None]
    if len(found) < len(matches) or max(found) < LEAST_MATCH:
        return None
    return float(lags[int(np.argmax(found))])


def _rests(mouth: Mouth, heard: SoundHeard) -> Iterator[Figure]:
    openings, deviations = [], []
    for start, end in heard.silences:
        inside = mouth.between(
            start + (SILENCE_SETTLES_SECONDS if start > 0 else 0), end - SILENCE_ENDS_SECONDS
        )
        if inside.any():
            openings.append(mouth.opening[inside])
            deviations.append(np.abs(mouth.gap[inside] - mouth.gap[inside].mean()))
    yield from rests(openings, deviations)


def _closes(mouth: Mouth, heard: SoundHeard) -> Iterator[Figure]:
    for name, spoken, share in (
        ("p b m closed", heard.closures, CLOSED_SHARE),
        ("f v lip to teeth", heard.bites, LIP_TO_TEETH_SHARE),
    ):
        met = meets(mouth, spoken or (), share)
        note = "phones not known" if spoken is None else f"{len(met)} sounds" if len(met) else "none spoken"
        yield at_least(name, 100 * float(met.mean()) if len(met) else None, 95, "%", note)
    parted = parts(mouth, heard.open_vowels or ())
    note = (
        "phones not known"
        if heard.open_vowels is None
        else f"{len(parted)} vowels; so that lips that never part do not pass"
    )
    yield at_least("open vowels open", 100 * float(parted.mean()) if len(parted) else None, 90, "%", note)


def parts(mouth: Mouth, spoken: Sequence[Span]) -> Mask:
    """For each vowel of which a picture was seen: whether the opening exceeds OPEN_SHARE of its
    95th percentile.
    """
    widest = [
        mouth.opening[inside].max() for inside in (mouth.between(*span) for span in spoken) if inside.any()
    ]
    return np.array(widest) > OPEN_SHARE * mouth.reach


def meets(mouth: Mouth, spoken: Sequence[Span], share: float) -> Mask:
    """For each sound of which a picture was seen: whether the opening falls below this share of
    its 95th percentile.
    """
    least = (least_opening(mouth, span) for span in spoken)
    return np.array([opening < share * mouth.reach for opening in least if opening is not None], bool)


def least_opening(mouth: Mouth, span: Span) -> float | None:
    """The smallest opening within a sound, give or take 40 ms; None if no picture falls there."""
    inside = mouth.between(span[0] - TOLERANCE_SECONDS, span[1] + TOLERANCE_SECONDS)
    return float(mouth.opening[inside].min()) if inside.any() else None


# ---------------------------------------------------------------- the picture


def _stays(seen: FaceSeen, heard: SoundHeard, offset_seconds: float) -> Iterator[Figure]:
    skin = seen.skin_spike_px[seen.seen]
    yield at_most(
        "skin, single-frame spikes",
        int((skin > SPIKE_PX).sum()),
        0,
        "",
        f"largest {skin.max():.1f} px; more than 3 px at 512 count",
    )
    steady = np.zeros(len(seen), bool)
    for start, end in heard.steady_vowels or ():
        steady |= (seen.seconds + offset_seconds > start + 0.1) & (seen.seconds + offset_seconds < end - 0.1)
    lips = seen.lip_spike_px[steady & seen.seen]
    note = (
        "phones not known"
        if heard.steady_vowels is None
        else f"largest {lips.max():.1f} px"
        if len(lips)
        else "no steady vowel"
    )
    yield at_most(
        "lips in steady vowels, single-frame spikes",
        int((lips > SPIKE_PX).sum()) if len(lips) else None,
        0,
        "",
        note,
    )
    sharp, bright = seen.sharpness[seen.seen], seen.brightness[seen.seen]
    held = float(np.percentile(sharp, 5) / max(np.median(sharp), 1e-6))
    yield at_least(
        "sharpness, least over usual",
        held,
        0.8,
        "",
        f"usual {np.median(sharp):.1f} grey levels, between eyes and mouth",
    )
    change = np.abs(np.diff(bright, 2)) / 2 if len(bright) > 2 else np.array([0.0])
    yield at_most(
        "flicker, 95th percentile",
        float(np.percentile(change, 95)),
        1.0,
        "grey levels",
        "between eyes and mouth",
    )
