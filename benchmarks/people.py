"""How portraits move with real voices, beside how real people do: a part of quality.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
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
CURVE = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8)
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
    wanted = [(workshop.media / f"{name}.wav", start) for name, start in voices if workshop.media]
    found = [(path, start) for path, start in wanted if path.exists()]
    if not found:
        yield Figure("people", None, "", "", "not measured", "give --media DIR")
        return
    yield from moved_by(workshop, found)


def moved_by(workshop: Workshop, found: Sequence[tuple[Path, float]]) -> Iterator[Figure]:
    """Means and ends over the clips of every portrait with these voices, each from a second on."""
    seconds = min(QUICK_SECONDS, workshop.seconds) if workshop.quick else workshop.seconds
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
    which nothing was chosen. Then recall against precision at other thresholds, on either half.
    """
    names = ("p b m, real files, recall", "p b m, real files, precision")
    if workshop.labels is None or workshop.audio is None:
        yield from (Figure(name, None, "", "", "not measured", "give --labels, --audio") for name in names)
        return
    from articulation import CLOSED_AT, half_of, hear, lasting, load, matched  # needs scipy

    missing: list[str] = []
    files = list(load(workshop.labels, workshop.audio, missing))
    closed_by_file = [hear(file.speech)[1][: len(file.classes)] for file in files]

    def found(threshold: float, half: int) -> tuple[int, int, int, int]:
        """p, b and m said, of them found; closures predicted, of them right."""
        of_half = [pair for pair in zip(files, closed_by_file, strict=True) if half_of(pair[0].name) == half]
        counts = [
            matched(file.closures, lasting(closed > threshold, file.scored), file.doubtful)
            for file, closed in of_half
        ]
        said, seen, predicted, right = map(int, np.sum(counts, axis=0))
        return max(said, 1), seen, max(predicted, 1), right

    said, seen, predicted, right = found(CLOSED_AT, REPORT_HALF)
    note = f"closed > {CLOSED_AT}; {len(files)} files of both halves, {len(missing)} missing"
    yield at_least(names[0], seen / said, 0.82, "", f"{seen} of {said}; {note}")
    yield at_least(names[1], right / predicted, 0.82, "", f"{right} of {predicted}")
    for half, name in ((REPORT_HALF, "half that reports"), (1 - REPORT_HALF, "half that chooses")):
        curve = [(t, found(t, half)) for t in CURVE]
        points = [(t, seen / said, right / heard) for t, (said, seen, heard, right) in curve]
        reached = max((recall for _, recall, precision in points if precision >= 0.82), default=0.0)
        note = "; ".join(f"> {t:.2f}: {recall:.2f} at {precision:.2f}" for t, recall, precision in points)
        yield at_least(f"p b m, {name}, recall at a precision of .82", reached, 0.82, "", note)


def unseen(workshop: Workshop) -> Iterator[Figure]:
    """The rows about how people move, of recordings on which no constant was chosen."""
    found = sorted(workshop.unseen.glob("*.wav")) if workshop.unseen else []
    if not found:
        yield Figure("people, unseen voices", None, "", "", "not measured", "give --unseen DIR")
        return
    for row in moved_by(workshop, [(path, 0.0) for path in found]):
        yield replace(row, name=f"{row.name}, unseen voices")


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
