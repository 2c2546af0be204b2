"""Real speech in Debian packages, with its text -> shards, by forced alignment.

    apt-get download asterisk-core-sounds-{fr,it,ru}{,-g722} fillets-ng-data{,-cs,-nl}; for d in
    *.deb; do dpkg -x $d packages; done PYTHONPATH=src python tools/articulation/recordings.py
    net.pt --packages packages --out DIR

Telephone prompts of three speakers (16 kHz) and the dialogues of a game by its Czech and Dutch
actors. English and Spanish prompts are left out: their speaker is in the evaluation. espeak-ng
writes the sounds of each text; a transcript does not say what was left out or slurred, so the
least certain eighth of each source goes, and so does what the network cannot hear at all.
"""

from __future__ import annotations

import argparse
import gzip
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import torch
from alignment import align
from network import Network, hear, load_network
from shards import Utterance, mel_power, save

from personare.types import SAMPLE_RATE, Samples

PROMPTS = {"fr": ("fr_CA_f_June", "fr-fr"), "it": ("it_IT_m_Carlo", "it"), "ru": ("ru_RU_f_IvrvoiceRU", "ru")}
"""Language of the package: folder of the speaker, espeak voice."""
ACTORS = {"cs": "cs", "nl": "nl"}
_FONT_VOICES = {"font_big": 1, "font_small": 2}
_LINE = re.compile(r'dialogId\("([^"]+)",\s*"([^"]*)",[^\n]*\n\s*dialogStr\("((?:[^"\\]|\\.)*)"\)')
_NOT_SPOKEN = re.compile(r"[\d(\[{]")
_LANGUAGE_SWITCH = re.compile(r"\([a-z-]+\)")
SHORTEST_SECONDS, LONGEST_SECONDS = 0.5, 25
WORST_SHARE, LEAST_QUALITY = 12, -1.45


@dataclass(frozen=True)
class Recording:
    """voice: a number per speaker as far as known. espeak: the espeak voice that reads the
    text.
    """

    sound: Path
    text: str
    voice: int
    espeak: str


def prompts(packages: Path, language: str) -> Iterator[Recording]:
    folder, espeak = PROMPTS[language]
    [listing] = (packages / "usr/share/doc").glob(
        f"asterisk-core-sounds-{language}/core-sounds-{language}.txt.gz"
    )
    with gzip.open(listing, "rt", encoding="utf-8-sig") as lines:
        for line in lines:
            name, colon, text = line.partition(":")
            sound = packages / "usr/share/asterisk/sounds" / folder / f"{name.strip()}.g722"
            if (
                colon
                and text.strip()
                and not line.startswith(";")
                and not _NOT_SPOKEN.search(text)
                and sound.exists()
            ):
                yield Recording(sound, text.strip(), 0, espeak)


def actors(packages: Path, language: str) -> Iterator[Recording]:
    game = packages / "usr/share/games/fillets-ng"
    for script in sorted((game / "script").glob(f"*/dialogs_{language}.lua")):
        for name, font, text in _LINE.findall(script.read_text(encoding="utf-8")):
            sound = game / "sound" / script.parent.name / language / f"{name}.ogg"
            if sound.exists() and not _NOT_SPOKEN.search(text):
                yield Recording(sound, text.replace("\\", ""), _FONT_VOICES.get(font, 3), ACTORS[language])


def words_of(text: str, espeak: str) -> list[list[str]]:
    """IPA sounds per word."""
    told = text.replace("…", ", ").replace("...", ", ")
    ipa = subprocess.run(
        ["espeak-ng", "-q", "--ipa", "--sep=_", "-v", espeak, told],
        capture_output=True,
        text=True,
        check=True,
    )
    return [
        [sound for sound in word.split("_") if sound] for word in _LANGUAGE_SWITCH.sub("", ipa.stdout).split()
    ]


def samples_of(sound: Path) -> Samples:
    """16 kHz mono. g722 has no header, so its decoder must be named."""
    with av.open(str(sound), format="g722" if sound.suffix == ".g722" else None) as container:
        resampler = av.AudioResampler("s16", "mono", SAMPLE_RATE)
        frames = [
            out for frame in container.decode(audio=0) for out in resampler.resample(frame)
        ] + resampler.resample(None)
        parts = [frame.to_ndarray().ravel() for frame in frames]
    return np.concatenate(parts).astype(np.float32) / 32768


def heard(recordings: Iterator[Recording], network: Network) -> list[Utterance]:
    rng = np.random.default_rng(0)
    utterances, qualities = [], []
    for recording in recordings:
        samples = samples_of(recording.sound)
        if not SHORTEST_SECONDS <= len(samples) / SAMPLE_RATE <= LONGEST_SECONDS:
            continue
        power = mel_power(samples + rng.normal(0, 1e-4, len(samples)).astype(np.float32))
        aligned = align(hear(network, power), power, words_of(recording.text, recording.espeak))
        if aligned is not None:
            utterances.append(Utterance(power, aligned.label, recording.voice))
            qualities.append(aligned.quality)
    least = max(float(np.percentile(qualities, WORST_SHARE)), LEAST_QUALITY)
    return [utterance for utterance, quality in zip(utterances, qualities, strict=True) if quality > least]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("weights", type=Path)
    parser.add_argument("--packages", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    network = load_network(arguments.weights)
    arguments.out.mkdir(parents=True, exist_ok=True)
    listed = [("prompts", language, prompts(arguments.packages, language)) for language in PROMPTS]
    listed += [("actors", language, actors(arguments.packages, language)) for language in ACTORS]
    for source, language, recordings in listed:
        utterances = heard(recordings, network)
        save(arguments.out / f"{source}_{language}.npz", source, utterances)
        print(
            f"{source} {language}: {len(utterances)} utterances, "
            f"{sum(len(u.label) for u in utterances) / 100:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
