"""The installed synthesisers, and what they have in common: a list of voices, and sound with
phonemes from text.
"""

from __future__ import annotations

import ctypes.util
import importlib.util
import json
import os
import re
import shutil
import struct
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from personare.errors import EngineError
from personare.voice.tts import espeak_worker
from personare.voice.tts.child import HINT, Child, run_child

VARIABLE = "PERSONARE_ESPEAK"
"""Environment variable: path of an espeak-ng library or program to use instead of looking for
one, or `none`.
"""

SILENCE_SECONDS = 20.0
"""A back end that gives nothing for so long is taken to hang."""

ESPEAK_RATE = 22050
"""Hz; what espeak-ng gives, whatever the voice."""

_LONGEST_MESSAGE = 1 << 20
_PROGRAM_PIECE = 1 << 14
_OTHER_LANGUAGE = re.compile(r"\(([\w-]+) (\d+)\)")


@dataclass(frozen=True, slots=True)
class CatalogueVoice:
    """A voice as a back end lists it. languages: (priority, lower-case tag), lower numbers
    match better. rate: Hz.
    """

    name: str
    identifier: str
    languages: tuple[tuple[int, str], ...]
    rate: int = ESPEAK_RATE


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Voices of a back end; any `variant` can be added to any voice as in "en-us+f3"."""

    voices: tuple[CatalogueVoice, ...]
    variants: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sound:
    """A piece of synthesised speech. samples: int16 [n] at `rate` Hz."""

    samples: NDArray[np.int16]
    rate: int


@dataclass(frozen=True, slots=True)
class Phoneme:
    """Where the synthesiser says that a phoneme starts, in samples from the start of the
    utterance.
    """

    sample: int
    symbol: str


@dataclass(frozen=True, slots=True)
class Settled:
    """All phonemes of the sound so far are given, and it ends in a pause: it can be heard now."""


class BackEnd(ABC):
    """One installed synthesiser. Hashable: a catalogue is read once per process."""

    name: str
    has_phones: bool
    reports_units: bool = True
    """Whether phonemes start where espeak's recorded units do; see timing.py. False: where the
    sounds do.
    """
    reads_kanji: bool = True

    @abstractmethod
    def catalogue(self) -> Catalogue:
        """All voices. Raises EngineError if the back end does not work."""

    @abstractmethod
    def speak(self, texts: Sequence[str], identifier: str) -> Iterator[Sound | Phoneme | Settled]:
        """Speak the texts as one utterance. A phoneme comes after the sound that holds its
        start.

        Raises EngineError if the back end crashes, hangs or sends nonsense.
        """


@dataclass(frozen=True)
class EspeakLibrary(BackEnd):
    """libespeak-ng in a child process. `worker` is the command that runs espeak_worker.py."""

    name: str
    library: str
    data: str | None = None
    worker: tuple[str, ...] = (sys.executable, "-I", espeak_worker.__file__)
    silence_seconds: float = SILENCE_SECONDS
    has_phones = True
    reads_kanji = False

    def catalogue(self) -> Catalogue:
        for kind, payload in self._ask({}):
            if kind == b"V":
                return _read_catalogue(payload, self.name)
            raise _nonsense(self.name)
        raise _nonsense(self.name)

    def speak(self, texts: Sequence[str], identifier: str) -> Iterator[Sound | Phoneme]:
        rate = 0
        for kind, payload in self._ask({"voice": identifier, "texts": list(texts)}):
            if kind == b"R" and len(payload) == 4:
                (rate,) = struct.unpack("<I", payload)
                if not 8000 <= rate <= 192000:
                    raise _nonsense(self.name)
            elif kind == b"A" and rate and len(payload) % 2 == 0:
                yield Sound(np.frombuffer(payload, dtype=np.int16), rate)
            elif kind == b"P" and rate:
                yield from _read_phonemes(payload, self.name)
            else:
                raise _nonsense(self.name)

    def ipa(self, texts: Sequence[str], identifier: str) -> list[str]:
        """The texts as this voice would say them, in IPA with stress marks and punctuation.
        Raises EngineError as `speak`.
        """
        for kind, payload in self._ask({"voice": identifier, "texts": list(texts), "ipa": True}):
            if kind == b"I":
                return [str(written) for written in _read_json(payload, list, self.name)]
            raise _nonsense(self.name)
        raise _nonsense(self.name)

    def _ask(self, request: Mapping[str, Any]) -> Iterator[tuple[bytes, bytes]]:
        """Messages of one child (see espeak_worker) up to the complete end."""
        body = json.dumps({"library": self.library, "data": self.data, **request}).encode()
        with run_child(self.worker, body, self.name, self.silence_seconds) as child:
            while True:
                kind, payload = self._message(child)
                if kind == b"Z":
                    return
                if kind == b"E":
                    raise EngineError(
                        f"{self.name}: {_read_json(payload, dict, self.name).get('message')}", hint=HINT
                    )
                yield kind, payload

    def _message(self, child: Child) -> tuple[bytes, bytes]:
        kind, length = espeak_worker.HEADER.unpack(child.read_exactly(espeak_worker.HEADER.size))
        if length > _LONGEST_MESSAGE:
            raise _nonsense(self.name)
        return kind, child.read_exactly(length)


@dataclass(frozen=True)
class EspeakProgram(BackEnd):
    """An installed `espeak-ng` or `espeak` command: sound without phone times."""

    name: str
    program: str
    silence_seconds: float = SILENCE_SECONDS
    has_phones = False
    reads_kanji = False

    def catalogue(self) -> Catalogue:
        listed = tuple(_read_voice_table(self._run(["--voices"])))
        if not listed:
            raise EngineError(f"{self.name} lists no voices: it is no espeak-ng", hint=HINT)
        return Catalogue(
            voices=listed,
            variants=tuple(
                v.identifier.removeprefix("!v/") for v in _read_voice_table(self._run(["--voices=variant"]))
            ),
        )

    def speak(self, texts: Sequence[str], identifier: str) -> Iterator[Sound | Phoneme]:
        command = [self.program, "-v", identifier, "-b", "1", "--stdin", "--stdout"]
        with run_child(command, "\n".join(texts).encode(), self.name, self.silence_seconds) as child:
            header = child.read_exactly(44)
            # sizes in the header are placeholders: the program does not know them when it
            # starts
            channels, rate, _, _, bits = struct.unpack("<HIIHH", header[22:36])
            if header[:4] != b"RIFF" or header[36:40] != b"data" or channels != 1 or bits != 16 or not rate:
                raise _nonsense(self.name)
            while piece := child.read(_PROGRAM_PIECE):
                yield Sound(np.frombuffer(piece[: len(piece) // 2 * 2], dtype="<i2").astype(np.int16), rate)
            child.expect_success()

    def _run(self, arguments: list[str]) -> str:
        with run_child([self.program, *arguments], b"", self.name, self.silence_seconds) as child:
            table = child.read(_LONGEST_MESSAGE).decode("utf-8", "replace")
            child.expect_success()
        return table


def find_back_ends(environment: Mapping[str, str] = os.environ) -> tuple[BackEnd, ...]:
    """Installed synthesisers, best first; nothing is started. `environment` may name one in
    PERSONARE_ESPEAK.
    """
    chosen = environment.get(VARIABLE, "")
    if chosen:
        return () if chosen == "none" else (_named(chosen),)
    found: list[BackEnd] = []
    if importlib.util.find_spec("espeakng_loader"):
        import espeakng_loader

        found.append(
            EspeakLibrary(
                "espeakng_loader", espeakng_loader.get_library_path(), espeakng_loader.get_data_path()
            )
        )
    if library := ctypes.util.find_library("espeak-ng"):
        found.append(EspeakLibrary("libespeak-ng", library))
    for command in ("espeak-ng", "espeak"):
        if program := shutil.which(command):
            found.append(EspeakProgram(command, program))
    return tuple(found)


def _named(path: str) -> BackEnd:
    if os.access(path, os.X_OK) and not {".so", ".dylib", ".dll"} & set(Path(path).suffixes):
        return EspeakProgram(Path(path).name, path)
    return EspeakLibrary(Path(path).name, path)


def _nonsense(name: str) -> EngineError:
    return EngineError(f"{name} sent what is not speech", hint=HINT)


def _read_json(payload: bytes, kind: type, name: str) -> Any:
    try:
        value = json.loads(payload)
    except ValueError:
        raise _nonsense(name) from None
    if not isinstance(value, kind):
        raise _nonsense(name)
    return value


def _read_phonemes(payload: bytes, name: str) -> Iterator[Phoneme]:
    for entry in _read_json(payload, list, name):
        match entry:
            case [int(sample), str(symbol)] if sample >= 0:
                yield Phoneme(sample, symbol)
            case _:
                raise _nonsense(name)


def _read_catalogue(payload: bytes, name: str) -> Catalogue:
    value = _read_json(payload, dict, name)
    try:
        listed = tuple(
            CatalogueVoice(
                v["name"], v["identifier"], tuple((priority, tag) for priority, tag in v["languages"])
            )
            for v in value["voices"]
        )
        return Catalogue(listed, tuple(value["variants"]))
    except (KeyError, TypeError, ValueError):
        raise _nonsense(name) from None


def _read_voice_table(table: str) -> Iterator[CatalogueVoice]:
    """Rows of `espeak-ng --voices`: priority, language, age/gender, name (_ for space), file,
    (language priority)...
    """
    for row in table.splitlines()[1:]:
        columns = row.split()
        if len(columns) < 5 or not columns[0].isdigit():
            continue
        others = [(int(priority), tag.lower()) for tag, priority in _OTHER_LANGUAGE.findall(row)]
        yield CatalogueVoice(
            columns[3].replace("_", " "), columns[4], ((int(columns[0]), columns[1].lower()), *others)
        )
