"""How portraits move with real voices, beside how real people do: a part of quality.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from personare.media.audio import open_speech
from personare.media.video import VideoSource
from personare.score.battery import rows
from personare.score.figures import Figure, at_least, at_most, within
from personare.score.opening import FaceSeen, watch
from personare.score.sound import listen
from personare.types import SAMPLE_RATE

if TYPE_CHECKING:
    from quality import Workshop

FPS = Fraction(25)
FOREIGN = ("english-1", "english-2", "english-3", "chinese-1", "japanese-1")
PEOPLE_VOICES = (*((name, 0.0) for name in FOREIGN), ("english-1", 30.0))
"""Real voices, and from which second on they are heard."""
PEOPLE_SECONDS = 12.0
QUICK_PEOPLE_VOICES, QUICK_SECONDS = (("english-1", 0.0), ("chinese-1", 0.0)), 8.0
ENOUGH_PORTRAITS, ENOUGH_VOICES = 8, 6
REPORT_HALF = 1
PEOPLE_ROWS = (
    "yaw, standard deviation",
    "pitch, standard deviation",
    "roll, standard deviation",
    "head speed, median",
    "head motion above 1 Hz, share",
    "brows, standard deviation",
    "brows raised",
    "opening with width, r",
    "opening with chin, r",
    "opening, 95th percentile",
    "opening speed, 95th percentile",
    "lips seen shut",
    "mouth corners, height difference, standard deviation",
    "lip-sync (THEval)",
    "opening in silence, median",
    "opening in silence, median absolute deviation",
    "skin, single-frame spikes",
    "flicker, 95th percentile",
)
"""Rows of a score of which the mean over portraits and voices has to be like people's."""


def people(workshop: Workshop) -> Iterator[Figure]:
    """How portraits move with real voices, beside how people do: every portrait with every
    voice, or with as many as are wanted, in turn; its number is the seed. The note tells both
    ends of the range.
    """
    voices = QUICK_PEOPLE_VOICES if workshop.quick else PEOPLE_VOICES
    seconds = min(QUICK_SECONDS, workshop.seconds) if workshop.quick else workshop.seconds
    wanted = [(workshop.media / f"{name}.wav", start) for name, start in voices if workshop.media]
    found = [(path, start) for path, start in wanted if path.exists()]
    if not found:
        yield Figure("people", None, "", "", "not measured", "give --media DIR")
        return
    each = []
    heard = min(workshop.voices or len(found), len(found))
    for seed, portrait in enumerate(workshop.portraits):
        for path, start in (found[(seed * heard + i) % len(found)] for i in range(heard)):
            voice = np.concatenate([chunk.samples for chunk in open_speech(path).chunks()])
            samples = voice[round(start * SAMPLE_RATE) :][: round(seconds * SAMPLE_RATE)]
            clip = workshop.clip("people", samples, None, portrait, seed=seed)
            row = named(rows(look(clip), listen(open_speech(clip)), FPS))
            each.append({**row, "voice": f"{portrait.stem}, {path.stem} {start:g} s"})
    portraits = len(workshop.portraits)
    few = "" if portraits >= ENOUGH_PORTRAITS and len(found) >= ENOUGH_VOICES else "; too few for the docs"
    yield Figure(
        "clips", float(len(each)), "", "", "pass", f"{portraits} portraits, {len(found)} voices{few}"
    )
    for name in PEOPLE_ROWS:
        measured = [row for row in each if row[name].value is not None]
        if not measured:
            continue
        values = [row[name].value for row in measured]
        ends = (measured[int(np.argmin(values))], measured[int(np.argmax(values))])
        note = " to ".join(f"{row[name].value:.3f} ({row['voice']})" for row in ends)
        yield judged(measured[0][name], float(np.mean(values)), note)


def real(workshop: Workshop) -> Iterator[Figure]:
    """p, b and m in real voices, heard as the mouth hears them: those of the report half, of
    which nothing was chosen.
    """
    names = ("p b m, real files, recall", "p b m, real files, precision")
    if workshop.labels is None or workshop.audio is None:
        yield from (Figure(name, None, "", "", "not measured", "give --labels, --audio") for name in names)
        return
    from articulation import CLOSED_AT, half_of, hear, lasting, load, matched  # needs scipy

    missing: list[str] = []
    files = [r for r in load(workshop.labels, workshop.audio, missing) if half_of(r.name) == REPORT_HALF]
    counts = np.zeros(4, int)
    for file in files:
        closed = hear(file.speech)[1][: len(file.classes)]
        counts += matched(file.closures, lasting(closed > CLOSED_AT, file.scored), file.doubtful)
    said, found, predicted, right = map(int, counts)
    note = f"closed > {CLOSED_AT}; {len(files)} files, {len(missing)} of both halves missing"
    yield at_least(names[0], found / max(said, 1), 0.82, "", f"{found} of {said}; {note}")
    yield at_least(names[1], right / max(predicted, 1), 0.82, "", f"{right} of {predicted}")


def judged(like: Figure, value: float, note: str) -> Figure:
    """A row with the name, unit and bar of another, and a value and note of its own."""
    words = like.bar.split()
    if words[0] == ">=":
        return at_least(like.name, value, float(words[1]), like.unit, note)
    if words[0] == "<=":
        return at_most(like.name, value, float(words[1]), like.unit, note)
    return within(like.name, value, float(words[0]), float(words[2]), like.unit, note)


def look(clip: Path, wanted: Callable[[float], bool] | None = None) -> FaceSeen:
    """The pictures of a clip, measured; of a long one only those at the wanted seconds."""
    return watch(frame for frame in VideoSource(clip).frames() if wanted is None or wanted(frame.seconds))


def named(found: Iterator[Figure]) -> dict[str, Figure]:
    return {row.name: row for row in found}
