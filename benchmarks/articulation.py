"""How well the mouth follows real speech: our streaming path against forced alignments.

    python benchmarks/articulation.py --labels DIR --audio DIR [--half 0|1] [--network FILE ...]
    [--voices NAME ...] [--json FILE]

--labels: a folder of JSON {"file", "phones": [[start s, end s, ARPAbet], ...], "unknown":
[[start s, end s], ...]} and, if there is one, closures_checked.json with the p/b/m that an
energy dip confirms. --audio: where the "file"s are, in any format that personare reads; those
that are missing are left out and counted. --half: half 0 of the files chose the network and its
thresholds, half 1 only reports. --network: other articulation networks to put in place of the
one bundled, judged in the same run. --voices: voices of `personare voices` that say five
sentences each, judged by their known phone times.

The figures are those of the network's own evaluation: frames near speech only, aperture
compared through a 110 ms Hann window, a contact found when prediction and reference overlap
within 30 ms and differ by at most 150 ms. Then what the viewer sees: the video frames of
MouthDrive at 25 fps.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from personare.engines.puppet.drive import MouthDrive
from personare.heads.head468 import head468
from personare.media.audio import open_speech
from personare.types import SAMPLE_RATE, Samples
from personare.voice import articulation
from personare.voice.articulation import NETWORK, ArticulationStream
from personare.voice.tts.speech import open_text
from personare.voice.visemes import VISEME, VISEMES, visemes_of

IPA_OF_ARPABET = {
    "AA": "ɑ", "AE": "æ", "AH": "ʌ", "AO": "ɔ", "AW": "aʊ", "AX": "ə", "AXR": "ɚ", "AY": "aɪ", "B": "b",
    "CH": "tʃ", "D": "d", "DH": "ð", "DX": "ɾ", "EH": "ɛ", "ER": "ɝ", "EY": "eɪ", "F": "f", "G": "ɡ",
    "HH": "h", "IH": "ɪ", "IX": "ɨ", "IY": "i", "JH": "dʒ", "K": "k", "L": "l", "M": "m", "N": "n",
    "NG": "ŋ", "OW": "oʊ", "OY": "ɔɪ", "P": "p", "R": "ɹ", "S": "s", "SH": "ʃ", "T": "t", "TH": "θ",
    "UH": "ʊ", "UW": "u", "V": "v", "W": "w", "Y": "j", "Z": "z", "ZH": "ʒ",
}  # fmt: skip
APERTURE = np.array([0, 0, 0.15, 0.25, 0.2, 0.3, 0.25, 0.15, 0.25, 0.3, 1, 0.6, 0.4, 0.65, 0.35])
"""A rough opening of each viseme, only used to compare curves."""
UNKNOWN = -1
HALF_0 = ("eng.wav", "eng2.wav", "AmyKlobuchar0_0.wav", "cards-1.wav", "cards-3.wav", "cards-5.wav")
"""The speakers of half 0; the one speaker with many short files ("ast-") is split by file name."""
SENTENCES = (
    "My name is Bob, and I'm probably the happiest member of the club.",
    "Please put the paper cup above the blue box before somebody bumps into it.",
    "Maybe we should combine both maps, simply because the public number is impossible to remember.",
    "Five very brave foxes jumped over a big muddy ramp, and nobody complained.",
    "Could you help me repair the amplifier, please? The problem began about a month ago.",
)
LEVEL_OF_OPEN = 0.15
TOLERANCE_FRAMES, LONGEST_DIFFERENCE_FRAMES = 3, 15
CLOSED_THRESHOLDS, LABIODENTAL_THRESHOLD = (0.55, 0.60, 0.65, 0.70), 0.45
CLOSED_AT = 0.65
"""The threshold that half 0 of the files asks for."""
SHUT_OPENING = 0.012
"""Eye distances (a millimetre): less looks shut."""

Event = tuple[int, int]


@dataclass(frozen=True)
class Reference:
    """One aligned file. classes: int [n] per 10 ms, UNKNOWN where nothing is known. scored:
    frames near speech. resting: frames 200 ms away from speech and more; they hold breaths,
    room and untranscribed sound.
    """

    name: str
    speech: Samples
    classes: NDArray[np.int64]
    scored: NDArray[np.bool_]
    resting: NDArray[np.bool_]
    closures: list[Event]
    doubtful: list[Event]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--audio", type=Path, required=True)
    parser.add_argument("--half", type=int, choices=(0, 1))
    parser.add_argument("--network", type=Path, nargs="*", default=[])
    parser.add_argument("--voices", nargs="*", default=[])
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    missing: list[str] = []
    references = [
        r
        for r in load(arguments.labels, arguments.audio, missing)
        if arguments.half in (None, half_of(r.name))
    ]
    if not references:
        parser.error(
            f"none of the {len(missing)} files that {arguments.labels} describes is in {arguments.audio}"
        )
    spoken = [said for voice in arguments.voices for said in synthetic(voice)]
    seconds = sum(len(reference.speech) for reference in references) / SAMPLE_RATE
    sys.stdout.write(f"{len(references)} files, {len(missing)} missing, {seconds:.1f} s\n")
    everything = {}
    for network in [NETWORK, *arguments.network]:
        put_in_place(network)
        figures = network_figures(references) | pause_figures() | video_figures(references)
        if spoken:
            figures |= {
                f"synthetic {name}": value
                for name, value in video_figures(spoken).items()
                if "seconds" not in name
            }
        everything[str(network)] = figures
    for name in everything[str(NETWORK)]:
        row = [figures.get(name, float("nan")) for figures in everything.values()]
        sys.stdout.write(f"{name:48s}" + "".join(f" {value:9.3f}" for value in row) + "\n")
    if arguments.json:
        arguments.json.write_text(json.dumps(everything, indent=1))


def half_of(name: str) -> int:
    if name.startswith("ast-"):
        return sum(map(ord, name)) % 2
    return 0 if name in HALF_0 else 1


def put_in_place(network: Path) -> None:
    """As if the package bundled this file."""
    articulation.NETWORK, articulation.NETWORK_SHA256 = (
        network,
        hashlib.sha256(network.read_bytes()).hexdigest(),
    )
    articulation._network.cache_clear()
    articulation._primed.cache_clear()


def synthetic(voice: str) -> Iterator[Reference]:
    """One reference per sentence, from the synthesiser's own phone times."""
    for number, sentence in enumerate(SENTENCES):
        chunks = list(open_text(sentence, voice).chunks())
        speech = np.concatenate([chunk.samples for chunk in chunks])
        phones = [
            [p.start / SAMPLE_RATE, p.end / SAMPLE_RATE, p.symbol]
            for chunk in chunks
            for p in chunk.phones or ()
        ]
        yield reference({"file": f"{voice} {number}", "phones": phones, "unknown": []}, speech, None)


def load(labels: Path, audio: Path, missing: list[str]) -> Iterator[Reference]:
    checked_file = labels / "closures_checked.json"
    checked = json.loads(checked_file.read_text())["events"] if checked_file.exists() else None
    for path in sorted(labels.glob("*.json")):
        label = json.loads(path.read_text())
        if not isinstance(label, dict) or not label.get("phones"):
            continue
        sound = audio / label["file"]
        if not sound.exists():
            missing.append(label["file"])
            continue
        speech = np.concatenate([chunk.samples for chunk in open_speech(sound).chunks()])
        yield reference(
            label, speech, [e for e in checked if e["file"] == label["file"]] if checked else None
        )


def reference(label: dict, speech: Samples, checked: list[dict] | None) -> Reference:
    classes = np.full(len(speech) // 160, VISEME["sil"])
    for start, end, phone in label["phones"]:
        done = 0.0
        for viseme, share in visemes_of(
            IPA_OF_ARPABET.get(phone.upper(), "") if phone.isascii() and phone.isupper() else phone
        ):
            span = [round_half_up(100 * (start + (end - start) * part)) for part in (done, done + share)]
            classes[max(span[0], 0) : max(span[1], 0)] = viseme
            done += share
    for start, end in label["unknown"]:
        classes[int(start * 100) : int(np.ceil(end * 100))] = UNKNOWN
    certain = ~near(classes == UNKNOWN, 5)
    scored = certain & near(classes > VISEME["sil"], 30)
    resting = certain & ~near(classes != VISEME["sil"], 20)
    if checked is None:
        closures, doubtful = runs(classes == VISEME["PP"]), []
    else:
        closures, doubtful = ([frames_of(e) for e in checked if e["ok"] == ok] for ok in (True, False))
    return Reference(label["file"], speech, classes, scored, resting, closures, doubtful)


def frames_of(event: dict) -> Event:
    first = round(event["start"] * 100)
    return first, max(round(event["end"] * 100), first + 1)


def round_half_up(x: float) -> int:
    return int(np.floor(x + 0.5))


def near(mask: NDArray[np.bool_], frames: int) -> NDArray[np.bool_]:
    return np.convolve(mask, np.ones(2 * frames + 1), "same") > 0


def runs(mask: NDArray[np.bool_]) -> list[Event]:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(int), [0]])))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def smooth(curve: NDArray[np.float64]) -> NDArray[np.float64]:
    window = np.hanning(13)[1:-1]
    return np.convolve(curve, window / window.sum(), "same")


def same_event(a: Event, b: Event) -> bool:
    overlap = a[0] < b[1] + TOLERANCE_FRAMES and a[1] > b[0] - TOLERANCE_FRAMES
    return overlap and abs((a[1] - a[0]) - (b[1] - b[0])) <= LONGEST_DIFFERENCE_FRAMES


def matched(said: Sequence[Event], heard: Sequence[Event], doubtful: Sequence[Event]) -> NDArray[np.int64]:
    """(events in the reference, of them found, events predicted, of them right)"""

    def known(event: Event, among: Sequence[Event]) -> bool:
        return any(same_event(event, other) for other in among)

    heard = [event for event in heard if known(event, said) or not known(event, doubtful)]
    return np.array(
        [len(said), sum(known(e, heard) for e in said), len(heard), sum(known(e, said) for e in heard)]
    )


def network_figures(references: Sequence[Reference]) -> dict[str, float]:
    """ArticulationStream in pieces of 20 ms."""
    right, wanted, heard, open_at_rest = [], [], [], []
    contacts = {f"closed > {t:.2f}": np.zeros(4, int) for t in CLOSED_THRESHOLDS}
    bites = np.zeros(4, int)
    for real in references:
        n, scored = len(real.classes), real.scored
        visemes, closed, labiodental = (answer[:n] for answer in hear(real.speech))
        right.append((visemes.argmax(axis=1) == real.classes)[scored])
        wanted.append(smooth(APERTURE[np.maximum(real.classes, 0)])[scored])
        heard.append(smooth(visemes @ APERTURE)[scored])
        open_at_rest.append((visemes @ APERTURE > LEVEL_OF_OPEN)[real.resting])
        for threshold, name in zip(CLOSED_THRESHOLDS, contacts, strict=True):
            contacts[name] += matched(real.closures, lasting(closed > threshold, scored), real.doubtful)
        lip_on_teeth = runs(real.classes == VISEME["FF"])
        bites += matched(lip_on_teeth, lasting(labiodental > LABIODENTAL_THRESHOLD, scored), [])
    figures: dict[str, float] = {
        "scored frames": len(np.concatenate(right)),
        f"accuracy, {len(VISEMES)} classes": float(np.concatenate(right).mean()),
        "aperture r": float(np.corrcoef(np.concatenate(wanted), np.concatenate(heard))[0, 1]),
        "open at rest (breaths, room)": float(np.concatenate(open_at_rest).mean()),
    }
    for name, (said, found, predicted, good) in {**contacts, f"f/v > {LABIODENTAL_THRESHOLD}": bites}.items():
        figures[f"{name}: recall"] = float(found / said)
        figures[f"{name}: precision"] = float(good / max(predicted, 1))
    figures["p/b/m in the reference"] = float(contacts[f"closed > {CLOSED_THRESHOLDS[0]:.2f}"][0])
    return figures


def hear(speech: Samples) -> list[NDArray[np.float32]]:
    """Visemes [n, 15], closed [n] and labiodental [n] of one utterance, streamed."""
    stream = ArticulationStream()
    parts = [stream.push(speech[at : at + 320]) for at in range(0, len(speech), 320)] + [stream.finish()]
    return [
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("visemes", "closed", "labiodental")
    ]


def pause_figures() -> dict[str, float]:
    """Share of open frames in ten seconds of nothing but noise, from the very start."""
    noise = np.random.default_rng(0).standard_normal(10 * SAMPLE_RATE)
    slow = lfilter([1], [1, -0.995], noise)
    sounds = {f"white {dbfs} dBFS": noise * 10 ** (dbfs / 20) for dbfs in (-70, -60, -50, -40)}
    sounds |= {f"rumble {dbfs} dBFS": slow / slow.std() * 10 ** (dbfs / 20) for dbfs in (-45, -35)}
    return {
        f"open in {name}": float((hear(sound.astype(np.float32))[0] @ APERTURE > LEVEL_OF_OPEN).mean())
        for name, sound in sounds.items()
    }


def lasting(mask: NDArray[np.bool_], scored: NDArray[np.bool_]) -> list[Event]:
    return [(a, b) for a, b in runs(mask) if b - a >= 2 and scored[a:b].any()]


def video_figures(references: Sequence[Reference]) -> dict[str, float]:
    """MouthDrive at 25 fps, fed everything at once; opening of the inner lips of the bundled
    head, in eye distances.
    """
    deltas = head468().deltas
    opening_of_unit = deltas[:, 13, 1] - deltas[:, 14, 1]
    openings, wanted, shown, wrong, at_rest = [], [], [], [], []
    started = time.process_time()
    for real in references:
        drive = MouthDrive(Fraction(25), 1.0)
        frames = drive.push(real.speech) + drive.finish()
        opening = np.stack([frame.curves for frame in frames]) @ opening_of_unit
        middle = np.minimum(4 * np.arange(len(frames)) + 2, len(real.classes) - 1)
        aperture = smooth(APERTURE[np.maximum(real.classes, 0)])
        openings.append(opening[real.scored[middle]])
        wanted.append(aperture[middle][real.scored[middle]])
        for first, last in real.closures:
            seen = opening[max(first - 2, 0) // 4 : (last + 2) // 4 + 1]
            shown.append(bool(len(seen) and seen.min() < SHUT_OPENING))
        contact = np.isin(real.classes, [UNKNOWN, VISEME["sil"], VISEME["PP"], VISEME["FF"]])
        parted = real.scored & ~near(contact, 8)
        wrong.append(opening[parted[middle]] < SHUT_OPENING)
        at_rest.append(opening[real.resting[middle]] > SHUT_OPENING)
    spent = time.process_time() - started
    pooled = np.concatenate(openings)
    return {
        "video: opening r": float(np.corrcoef(pooled, np.concatenate(wanted))[0, 1]),
        "video: opening, median": float(np.median(pooled)),
        "video: opening, 95th percentile": float(np.percentile(pooled, 95)),
        f"video: p/b/m shown shut, of {len(shown)}": float(np.mean(shown)),
        "video: shut where nothing closes": float(np.mean(np.concatenate(wrong))),
        "video: open at rest": float(np.concatenate(at_rest).mean()),
        "video: CPU seconds per second of speech": spent
        / sum(len(r.speech) / SAMPLE_RATE for r in references),
        "video: look-ahead, seconds": MouthDrive.lookahead_seconds,
    }


if __name__ == "__main__":
    main()
