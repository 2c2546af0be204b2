"""The quality table of puppet: clips are made, decoded and scored; one line per figure, with
its bar.

    python benchmarks/quality.py [--portrait PHOTO] [--portraits DIR] [--media DIR]
        [--labels DIR --audio DIR] [--unseen DIR] [--seconds S] [--voices N] [--quick]
        [--only NAME ...] [--markdown FILE] [--json FILE]

--portraits: a folder of portraits for the rows about how people move, eight or more for the
    figures of docs/quality.md; the one of --portrait without it.
--media: a folder with english-*.wav, chinese-*.wav, japanese-*.wav for the rows about real
    voices; without it they are skipped and said to be.
--labels, --audio: forced alignments of real speech and its files, as for articulation.py, for
    the rows about p, b and m in real voices; likewise.
--unseen: a folder of real recordings (.wav) on which no constant was chosen, for the rows about
    how people move with voices that nobody has tuned for.
--seconds: of each clip of the rows about how people move, 12 without it.
--voices: so many of the six voices with each portrait, in turn; all of them without it.
--quick: three portraits, two voices each, eight seconds a clip, and neither minutes nor speed:
    to see whether a change helps, in a tenth of the time.
--only: people, unseen, closures, unseen-closures, teeth, real, foreign, minutes, vowels, speed.

Everything is measured on decoded pictures, as `personare score` does; docs/quality.md explains
each figure. Timings are of one machine: compare ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from people import FOREIGN, FPS, PEOPLE_SECONDS, look, named, people, real, unseen
from teeth import teeth
from voices import HELD_OUT_VOICES, UNSEEN_VOICES, held_vowels, spoken, with_silences, write_wav

from personare.media.audio import open_speech, speech_from_samples
from personare.score.battery import (
    CLOSED_SHARE,
    LIP_TO_TEETH_SHARE,
    MINUTE,
    lag_seconds,
    meets,
    mouth_of,
    parts,
    rows,
)
from personare.score.figures import Figure, at_least, at_most, value_text, within
from personare.score.sound import listen
from personare.studio.settings import Settings
from personare.studio.studio import Studio
from personare.types import SAMPLE_RATE, Feature, Phone, Samples

VOICE = "en-us+Annie"
TEN_MINUTES = 600
QUICK_PORTRAITS, QUICK_VOICES = 3, 2


class Workshop:
    """Makes clips of one portrait and measures them."""

    def __init__(self, given: argparse.Namespace, folder: Path) -> None:
        self.portrait, self.media, self.folder = given.portrait, given.media, folder
        self.labels, self.audio, self.unseen = given.labels, given.audio, given.unseen
        self.quick, self.seconds, self.voices = given.quick, given.seconds, given.voices
        portraits = [given.portrait] if given.portraits is None else sorted(given.portraits.iterdir())
        self.portraits = portraits[:QUICK_PORTRAITS] if given.quick else portraits
        self._studio = Studio(Settings(cache_dir=folder / "features"))

    def clip(
        self,
        name: str,
        samples: Samples,
        phones: Sequence[Phone] | None,
        portrait: Path | None = None,
        **options: object,
    ) -> Path:
        path = self.folder / f"{name}.mp4"
        cast = self._studio.cast(portrait or self.portrait, None, options)
        self._studio.speak(cast, speech_from_samples(samples, SAMPLE_RATE, phones=phones), path)
        return path

    def features(self, portrait: Path) -> Mapping[str, Feature]:
        """What the engine prepared of a portrait, by stage."""
        return self._studio.prepare(self._studio.cast(portrait, None, {}))[0].features

    def speak(self, voice: Path, output: str, *options: str) -> dict:
        """The report of one `personare speak` in a process of its own."""
        command = [sys.executable, "-m", "personare", "speak", self.portrait, voice, "--no-clip-cache"]
        command += ["-o", self.folder / output]
        command += ["--cache-dir", self.folder / "features", "--json", *options]
        before = _children_cpu_seconds()
        report = json.loads(
            subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True).stdout
        )
        return {**report, "cpu_seconds": _children_cpu_seconds() - before}


def _children_cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--portrait", type=Path, default=Path(str(files("personare") / "assets" / "portrait.jpg"))
    )
    parser.add_argument("--portraits", type=Path)
    parser.add_argument("--media", type=Path)
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--audio", type=Path)
    parser.add_argument("--unseen", type=Path)
    parser.add_argument("--seconds", type=float, default=PEOPLE_SECONDS)
    parser.add_argument("--voices", type=int, default=0)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="+", choices=list(PARTS))
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    made: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder:
        workshop = Workshop(arguments, Path(folder))
        for name in arguments.only or [part for part in PARTS if not (arguments.quick and part in LONG)]:
            for row in PARTS[name](workshop):
                made.append(row)
                print(
                    f"{row.name:62s} {value_text(row):24s} {row.bar:26s} {row.verdict:13s} {row.note}",
                    flush=True,
                )
    text = markdown(made)
    print(f"\n{text}")
    if arguments.markdown:
        arguments.markdown.write_text(text + "\n", encoding="utf-8")
    if arguments.json:
        arguments.json.write_text(
            json.dumps({"machine": machine(), "rows": [asdict(row) for row in made]}, indent=1),
            encoding="utf-8",
        )


# ---------------------------------------------------------------- lips against known sounds


def closures(workshop: Workshop, voices: Sequence[str] = tuple(HELD_OUT_VOICES)) -> Iterator[Figure]:
    """Held-out synthetic voices, whose phone times are known: with the phones given to puppet,
    and by ear.
    """
    for by, given, bar in (("text known", True, 98), ("by ear", False, 95)):
        shut, bitten, parted, each = [], [], [], []
        for voice in voices[: QUICK_VOICES if workshop.quick else None]:
            samples, phones = spoken(voice)
            clip = workshop.clip("closures", samples, phones if given else None)
            seen, heard = look(clip), listen(open_speech(clip), phones)
            mouth = mouth_of(seen)
            shut.append(meets(mouth, heard.closures or (), CLOSED_SHARE))
            bitten.append(meets(mouth, heard.bites or (), LIP_TO_TEETH_SHARE))
            parted.append(parts(mouth, heard.open_vowels or ()))
            each.append({**named(rows(seen, heard, FPS)), "voice": voice})
        yield pooled(f"p b m closed, {by}", shut, bar)
        yield pooled(f"f v lip to teeth, {by}", bitten, 95 if given else 80)
        yield pooled(f"open vowels open, {by}", parted, 90 if given else 80)
        if given:
            yield at_least(
                f"opening follows the phones, {by}, r",
                mean(each, "opening follows articulation, r"),
                0.8,
                note=worst(each, "opening follows articulation, r"),
            )
        reach = mean(each, "opening, 95th percentile")
        note = worst(each, "opening, 95th percentile")
        yield within(f"opening, 95th percentile, {by}", reach, 0.14, 0.22, "ed", note)
        name = "mouth width, standard deviation"
        yield at_least(f"{name}, {by}", mean(each, name), 0.03, "ed", worst(each, name))
        lags = [row["lag"].value for row in each]
        yield at_most(f"lag, {by}, worst voice", max(lags, key=abs), 1.0, "frames")


def unseen_closures(workshop: Workshop) -> Iterator[Figure]:
    """The same with voices, and a text, that nobody has tuned for."""
    for row in closures(workshop, tuple(UNSEEN_VOICES)):
        yield replace(row, name=f"{row.name}, unseen voices")


def foreign(workshop: Workshop) -> Iterator[Figure]:
    """Real voices by ear, with silences put in."""
    wanted = [workshop.media / f"{name}.wav" for name in FOREIGN] if workshop.media else []
    found = [path for path in wanted if path.exists()][: QUICK_VOICES if workshop.quick else None]
    if not found:
        yield Figure("foreign voices", None, "", "", "not measured", "give --media DIR")
        return
    each, rests, steady = [], [], []
    for path in found:
        samples = with_silences(np.concatenate([chunk.samples for chunk in open_speech(path).chunks()]))
        clip = workshop.clip("foreign", samples, None)
        row = named(rows(look(clip), listen(open_speech(clip)), FPS))
        each.append({**row, "voice": path.stem})
        rests.append(row["opening in silence, median"].value)
        steady.append(row["opening in silence, median absolute deviation"].value)
    for name, bar, unit in (
        ("opening follows articulation, r", 0.8, ""),
        ("mouth width, standard deviation", 0.03, "ed"),
    ):
        yield at_least(f"{name}, {len(each)} foreign voices", mean(each, name), bar, unit, worst(each, name))
    yield at_most("opening in inserted silences, median", max(rests), 0.11, "ed", "people .09; worst voice")
    yield at_most("opening there, median absolute deviation", max(steady), 0.03, "ed", "worst voice")
    yield at_most(
        "lag, foreign, worst voice", max((row["lag"].value for row in each), key=abs), 1.0, "frames"
    )
    yield at_most(
        "skin, single-frame spikes, all of these clips",
        sum(row["skin, single-frame spikes"].value for row in each),
        0,
    )
    yield at_most(
        "flicker, 95th percentile",
        max(row["flicker, 95th percentile"].value for row in each),
        1.0,
        "grey levels",
        "worst voice",
    )


# ---------------------------------------------------------------- length, stillness, cost


def minutes(workshop: Workshop) -> Iterator[Figure]:
    """Ten minutes against ten seconds."""
    samples, _ = spoken(VOICE)
    voice = np.concatenate([samples, np.zeros(SAMPLE_RATE // 2, np.float32)])
    short, long = (
        write_wav(workshop.folder / f"{s}.wav", np.resize(voice, s * SAMPLE_RATE)) for s in (10, TEN_MINUTES)
    )
    peak_short = workshop.speak(short, "short.mp4")["peak_memory_mb"]
    report = workshop.speak(long, "long.mp4")
    peak_long = report["peak_memory_mb"]
    seen = look(workshop.folder / "long.mp4", lambda s: s < MINUTE or s >= TEN_MINUTES - MINUTE)
    mouth, heard = mouth_of(seen), listen(open_speech(workshop.folder / "long.mp4"))
    first = lag_seconds(mouth, heard, end=MINUTE)
    tenth = lag_seconds(mouth, heard, start=TEN_MINUTES - MINUTE)
    if first is None or tenth is None:
        raise SystemExit("the ten-minute clip has no speech to measure a lag on")
    yield at_most("lag, first minute", first * float(FPS), 1.0, "frames")
    yield at_most(
        "lag, tenth minute", tenth * float(FPS), 1.0, "frames", f"drift {(tenth - first) * 1000:+.0f} ms"
    )
    yield at_most("peak memory, 10 minutes", peak_long, 700, "MB", f"10 s: {peak_short:.0f} MB")
    yield at_most("memory, 10 minutes more than 10 s", peak_long - peak_short, 50, "MB")
    yield at_least("speed, 10 minutes", report["realtime_factor"], 3, "x real time")


def vowels(workshop: Workshop) -> Iterator[Figure]:
    """Vowels held for 1.5 s at a steady pitch; and what the perception makes of a clip that
    does not move at all.
    """
    samples, phones = held_vowels(1.5)
    clip = workshop.clip("vowels", samples, phones)
    seen, heard = look(clip), listen(open_speech(clip), phones)
    row = named(rows(seen, heard, FPS))
    lips = row["lips in steady vowels, single-frame spikes"]
    yield at_most("lips in steady vowels, single-frame spikes", lips.value, 0, "", lips.note)
    yield at_most(
        "skin, single-frame spikes",
        row["skin, single-frame spikes"].value,
        0,
        "",
        row["skin, single-frame spikes"].note,
    )
    silence = workshop.clip("still", np.zeros(4 * SAMPLE_RATE, np.float32), None)
    still = look(silence)
    yield at_most(
        "noise floor: gap of a resting mouth, standard deviation",
        float(still.gap.std()),
        0.02,
        "ed",
        "the head moves, the lips do not",
    )


def speed(workshop: Workshop) -> Iterator[Figure]:
    """30 s at 512x512: cold, then warm; and how soon the first frame is there."""
    samples, _ = spoken(VOICE)
    voice = write_wav(workshop.folder / "30.wav", np.resize(samples, 30 * SAMPLE_RATE))
    cold = workshop.speak(voice, "cold.mp4", "--refresh")
    warm = workshop.speak(voice, "warm.mp4")
    prepare = {
        name: sum(report["timings"][stage] for stage in report["cache"]["stages"])
        for name, report in (("cold", cold), ("warm", warm))
    }
    best = max(cold["realtime_factor"], warm["realtime_factor"])
    cpu = min(cold["cpu_seconds"], warm["cpu_seconds"]) / 30
    load = f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    yield at_least(
        "speed, 30 s, render + encode + mux", best, 3, "x real time", f"the better of two runs, {load}"
    )
    yield at_most(
        "processor time, imports and all",
        cpu,
        2 / 3,
        "s per s of clip",
        "two cores that share it evenly reach 3x at 0.67",
    )
    yield at_most(
        "warm preparation over cold",
        100 * prepare["warm"] / prepare["cold"],
        5,
        "%",
        f"{prepare['cold']:.2f} s and {prepare['warm'] * 1000:.0f} ms",
    )
    yield at_most("first frame, warm avatar, after imports", first_frame_seconds(workshop, samples), 0.5, "s")


def first_frame_seconds(workshop: Workshop, samples: Samples) -> float:
    """From an opened engine to the first picture, in a process of its own."""
    np.save(workshop.folder / "voice.npy", samples[: 2 * SAMPLE_RATE])
    command = [
        sys.executable,
        "-c",
        _FIRST_FRAME,
        workshop.portrait,
        workshop.folder / "voice.npy",
        workshop.folder / "features",
    ]
    return float(subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True).stdout)


_FIRST_FRAME = """
import sys, time
import numpy as np
import personare.studio.studio
import personare.engines.puppet.drive, personare.engines.puppet.engine, personare.engines.puppet.motion
import personare.engines.puppet.prepare, personare.engines.puppet.draw.face
samples = np.load(sys.argv[2])
began = time.perf_counter()
engine = personare.studio.open_engine("puppet", cache_dir=sys.argv[3])
performance = engine.perform(engine.prepare(sys.argv[1]))
next(frames for at in range(0, len(samples), 320) for frames in performance.feed(samples[at:at + 320]))
print(time.perf_counter() - began)
"""

PARTS: dict[str, Callable[[Workshop], Iterator[Figure]]] = {
    "people": people, "unseen": unseen, "closures": closures, "unseen-closures": unseen_closures,
    "teeth": teeth, "real": real, "foreign": foreign, "minutes": minutes, "vowels": vowels, "speed": speed,
}  # fmt: skip
LONG = ("minutes", "speed")
"""Parts that --quick leaves out."""


# ---------------------------------------------------------------- figures


def mean(each: Sequence[dict], name: str) -> float:
    return float(np.mean([row[name].value for row in each]))


def worst(each: Sequence[dict], name: str) -> str:
    least = min(each, key=lambda row: row[name].value)
    return f"least {least[name].value:.3f}" + (f" ({least['voice']})" if "voice" in least else "")


def pooled(name: str, met: Sequence[NDArray[np.bool_]], bar: float) -> Figure:
    sounds = np.concatenate(met)
    return at_least(
        name, 100 * float(sounds.mean()), bar, "%", f"{int(sounds.sum())} of {len(sounds)} sounds"
    )


def machine() -> str:
    """What the figures were taken on."""
    python, day = platform.python_version(), time.strftime("%Y-%m-%d")
    return f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}, Python {python}, {day}"


def markdown(made: Sequence[Figure]) -> str:
    lines = [f"Machine: {machine()}.", "", "| what | measured | bar | | note |", "|---|---|---|---|---|"]
    lines += [f"| {row.name} | {value_text(row)} | {row.bar} | {row.verdict} | {row.note} |" for row in made]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
