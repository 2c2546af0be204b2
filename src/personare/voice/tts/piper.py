"""Piper voices (https://github.com/OHF-Voice/piper1-gpl, VITS): NAME.onnx with NAME.onnx.json
beside it, run directly.

A voice's own licence is in its model card. Phonemes are written by espeak-ng, as the voices
were trained.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from personare.errors import UnknownName, WeightsMismatch, WeightsMissing
from personare.ground.paths import expanded
from personare.voice.tts.backends import CatalogueVoice
from personare.voice.tts.neural_voice import NeuralVoice, Phonemizer, Said, open_graph, run, voice_folders

NEEDED = "put NAME.onnx and NAME.onnx.json into a folder named by PERSONARE_VOICES"
LATE_SECONDS = 0.040
"""Found by correlating energy dips of p, b and m with the durations (shared/articulation: 40
ms).
"""
_DURATIONS = "/Ceil_output_0"
_HOP = 256
_LARGEST_CONFIG = 1 << 22
Ids = list[Annotated[int, Field(ge=0, lt=100_000)]]


class _Audio(BaseModel):
    sample_rate: Annotated[int, Field(ge=8000, le=48000)]


class _Espeak(BaseModel):
    voice: Annotated[str, Field(pattern=r"^[\w+-]{1,40}$")]


class _Inference(BaseModel):
    noise_scale: Annotated[float, Field(ge=0, le=2)] = 0.667
    length_scale: Annotated[float, Field(gt=0.1, le=5)] = 1.0
    noise_w: Annotated[float, Field(ge=0, le=2)] = 0.8


class PiperConfig(BaseModel):
    """The voice's .onnx.json, as far as it is used."""

    model_config = ConfigDict(extra="ignore")

    audio: _Audio
    espeak: _Espeak
    inference: _Inference = _Inference()
    phoneme_type: str = "espeak"
    phoneme_id_map: dict[str, Ids]
    num_speakers: Annotated[int, Field(ge=1)] = 1


@dataclass(frozen=True, slots=True)
class PiperFound:
    """A voice on this disk."""

    name: str
    path: Path
    language: str
    description: str


def on_disk() -> list[PiperFound]:
    """Piper voices in the voice folders, by name; the first folder wins, and files that are no
    voice are left out.
    """
    found: dict[str, PiperFound] = {}
    for folder in voice_folders():
        for path in sorted(folder.rglob("*.onnx")) if folder.is_dir() else ():
            if path.stem in found or not path.with_name(path.name + ".json").is_file():
                continue
            try:
                config = read_config(path)
            except WeightsMismatch:
                continue
            language = config.espeak.voice.partition("-")[0]
            found[path.stem] = PiperFound(path.stem, path, language, f"{path.stem} ({config.espeak.voice})")
    return sorted(found.values(), key=lambda voice: voice.name)


def choose(name: str, ipa: Phonemizer) -> tuple[PiperVoice, str, CatalogueVoice]:
    """The voice of that name. Raises UnknownName or, where there is none at all,
    WeightsMissing.
    """
    voices = on_disk()
    for voice in voices:
        if voice.name.lower() == name.strip().lower():
            return voice_at(str(voice.path), ipa)
    if not voices:
        raise WeightsMissing(f"there is no Piper voice {name!r} on this disk", hint=NEEDED)
    raise UnknownName(
        f"no Piper voice named {name!r}", hint=f"there are: {', '.join(v.name for v in voices)}"
    )


def voice_at(path: str, ipa: Phonemizer) -> tuple[PiperVoice, str, CatalogueVoice]:
    """The voice in an .onnx file with its .onnx.json beside it. Raises WeightsMissing,
    WeightsMismatch.
    """
    file = expanded(path)
    if not file.is_file():
        raise WeightsMissing(f"there is no voice {file}", hint=NEEDED)
    voice = PiperVoice(file, ipa)
    return voice, "", voice.voice


def read_config(path: Path) -> PiperConfig:
    """The configuration beside a voice. Raises WeightsMismatch."""
    config = path.with_name(path.name + ".json")
    try:
        with config.open("rb") as file:
            read = PiperConfig.model_validate_json(file.read(_LARGEST_CONFIG))
    except OSError as error:
        raise WeightsMismatch(
            f"{config} cannot be read: {error.strerror}", hint="it belongs beside the voice"
        ) from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise WeightsMismatch(
            f"{config} is not that of a Piper voice: {where}: {first['msg']}", hint="fetch it again"
        ) from None
    if read.phoneme_type != "espeak":
        raise WeightsMismatch(
            f"{config}: phonemes of type {read.phoneme_type!r} are not supported", hint="use another voice"
        )
    return read


@dataclass(frozen=True)
class PiperVoice(NeuralVoice):
    """One Piper voice; speaker 0 where it has several."""

    path: Path
    phonemizer: Phonemizer = field(compare=False)
    late_seconds = LATE_SECONDS

    @cached_property
    def config(self) -> PiperConfig:
        return read_config(self.path)

    @property
    def name(self) -> str:  # type: ignore[override]
        return f"Piper {self.path.stem}"

    @property
    def rate(self) -> int:  # type: ignore[override]
        return self.config.audio.sample_rate

    @property
    def voice(self) -> CatalogueVoice:  # type: ignore[override]
        return CatalogueVoice(self.path.stem, "", ((1, self.config.espeak.voice.lower()),), self.rate)

    def say(self, texts: Sequence[str]) -> Iterator[Said]:
        graph = open_graph(self.path, _DURATIONS)
        for ipa in self.phonemizer(texts, self.config.espeak.voice):
            symbols, ids = self._ids(ipa)
            if len(symbols) <= 2:
                continue
            tuning = self.config.inference
            feed = {
                "input": np.array([ids], np.int64),
                "input_lengths": np.array([len(ids)], np.int64),
                "scales": np.array([tuning.noise_scale, tuning.length_scale, tuning.noise_w], np.float32),
            }
            if self.config.num_speakers > 1:
                feed["sid"] = np.array([0], np.int64)
            sound, lengths = run(graph, self.name, feed, _DURATIONS)
            seconds = lengths.reshape(-1).astype(np.float64) * _HOP / self.rate
            if len(seconds) != len(ids):
                raise WeightsMismatch(
                    f"{self.path} has no durations per phoneme", hint="export the voice again with Piper"
                )
            yield Said(
                sound.reshape(-1).astype(np.float32), _by_id(symbols, self.config.phoneme_id_map), seconds
            )

    def _ids(self, ipa: str) -> tuple[list[str], list[int]]:
        """Symbols as the voice knows them, and the ids with padding between them: ^ _ a _ b _ $
        as in training.
        """
        table = self.config.phoneme_id_map
        known = [letter for letter in unicodedata.normalize("NFD", ipa) if letter in table]
        symbols = ["^", *known, "$"]
        ids: list[int] = []
        for symbol in symbols:
            ids += table.get(symbol, [])
            if symbol != "$":
                ids += table.get("_", [])
        return symbols, ids


def _by_id(symbols: Sequence[str], table: dict[str, Ids]) -> list[str]:
    """One symbol per id: "" for the ends; padding is a mark that belongs to the sound before."""
    spread: list[str] = []
    for symbol in symbols:
        spread += ["" if symbol in "^$" else symbol] * len(table.get(symbol, []))
        if symbol != "$":
            spread += ["ː"] * len(table.get("_", []))
    return spread
