"""What neural voices share: a graph that tells its durations, sentences one after another, and
phonemes from durations.
"""

from __future__ import annotations

import os
import unicodedata
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from platformdirs import user_data_path

from personare.errors import EngineError, WeightsMismatch
from personare.ground.onnx import Session, open_session
from personare.ground.paths import expanded
from personare.voice.tts.backends import BackEnd, Catalogue, CatalogueVoice, Phoneme, Settled, Sound
from personare.voice.tts.text import sentences

VARIABLE = "PERSONARE_VOICES"
"""Environment variable: folders with neural voices, separated like PATH."""
SEED = 7
PAUSE_SECONDS = 0.30
"""Between sentences; long enough to cut the speech there."""
SHORTEST_GAP_SECONDS = 0.12
"""A shorter gap between words belongs to the sound before it."""
_STRESS = frozenset("ˈˌ")
_PAUSES = frozenset(' ,.;:!?—…¡¿"()“”')
_LARGEST_GRAPH = 2 << 30


def voice_folders() -> list[Path]:
    """Folders in which neural voices are looked for, those of PERSONARE_VOICES first."""
    named = [expanded(part) for part in os.environ.get(VARIABLE, "").split(os.pathsep) if part]
    home = os.environ.get("PERSONARE_HOME")
    own = expanded(home) if home else user_data_path("personare", appauthor=False)
    return [*named, own / "voices"]


def open_graph(path: Path, durations: str) -> Session:
    """The graph, with the inner value `durations` as one more output; its noise starts from the
    same seed each time.

    An ONNX file is a protobuf message, and appending to a message merges into it (protobuf.dev,
    "Encoding", last one wins and merges): a ModelProto that holds one graph output, appended,
    adds just that. Raises WeightsMismatch.
    """
    try:
        if path.stat().st_size > _LARGEST_GRAPH:
            raise WeightsMismatch(
                f"{path} is too large for a voice", hint="give the .onnx file of a Piper or Kokoro voice"
            )
        raw = path.read_bytes()
        output = _field(7, _field(12, _field(1, durations.encode())))  # ModelProto.graph.output.name
        return open_session(raw + output, threads=max(1, (os.cpu_count() or 2) - 1), seed=SEED)
    except OSError as error:
        raise WeightsMismatch(f"{path} cannot be read: {error.strerror}", hint="check the path") from None
    except WeightsMismatch:
        raise
    except Exception as error:  # onnxruntime raises classes of its own for each kind of damage
        reason = " ".join(str(error).split())[:120]
        raise WeightsMismatch(
            f"{path} is not a voice that onnxruntime can run: {reason}", hint="fetch the file again"
        ) from None


def _field(number: int, payload: bytes) -> bytes:
    """A length-delimited protobuf field; payloads here are shorter than 128 bytes."""
    if len(payload) > 127:
        raise ValueError("too long for one length byte")
    return bytes([number << 3 | 2, len(payload)]) + payload


class Phonemizer(Protocol):
    """Writes texts in IPA, with stress marks and punctuation, as espeak's voice for a language
    tag would say them.
    """

    def __call__(self, texts: Sequence[str], language: str) -> list[str]: ...


@dataclass(frozen=True, slots=True)
class Said:
    """One sentence. samples: float32 [n] in [-1, 1]. symbols: what was said, one per duration;
    seconds: their lengths.
    """

    samples: NDArray[np.float32]
    symbols: Sequence[str]
    seconds: NDArray[np.float64]


class NeuralVoice(BackEnd):
    """A voice that says sentence after sentence, each of them whole; heard as soon as it is
    said.
    """

    has_phones = True
    reports_units = False
    rate: int
    late_seconds: float
    """By how much the graph's durations put every sound too late."""
    voice: CatalogueVoice

    def catalogue(self) -> Catalogue:
        return Catalogue((self.voice,), ())

    @abstractmethod
    def say(self, texts: Sequence[str]) -> Iterator[Said]:
        """Each text as one sentence. Raises EngineError, WeightsMismatch."""

    def speak(self, texts: Sequence[str], identifier: str) -> Iterator[Sound | Phoneme | Settled]:  # noqa: ARG002
        spoken = [sentence for text in texts for sentence in sentences(text)]
        pause = np.zeros(round(PAUSE_SECONDS * self.rate), np.int16)
        began = 0
        for said in self.say(spoken):
            if not np.isfinite(said.samples).all():
                raise EngineError(f"{self.name} gave no sound but NaN", hint="fetch the voice again")
            sound = np.rint(np.clip(said.samples, -1, 1) * 32767).astype(np.int16)
            yield Sound(np.concatenate([sound, pause]), self.rate)
            for second, symbol in phoneme_starts(said, self.late_seconds):
                yield Phoneme(began + min(round(second * self.rate), len(sound)), symbol)
            began += len(sound) + len(pause)
            yield Phoneme(began - len(pause), "")
            yield Phoneme(began, "")
            yield Settled()


def phoneme_starts(said: Said, late_seconds: float) -> list[tuple[float, str]]:
    """(second, IPA symbol) where each sound starts; "" is a pause.

    Marks have time of their own in these graphs: a stress mark is shared by its neighbours, a
    length mark, a tie and padding belong to the sound before, and so does a gap between words
    that is no pause.
    """
    ends = np.cumsum(said.seconds)
    starts = ends - said.seconds
    found: list[tuple[float, str]] = []
    moved: float | None = None
    for symbol, start, end in zip(said.symbols, starts, ends, strict=True):
        if symbol in _STRESS:
            moved = float(start + end) / 2
        elif symbol in _PAUSES or symbol == "":
            if (symbol not in ("", " ") or end - start >= SHORTEST_GAP_SECONDS or not found) and (
                not found or found[-1][1]
            ):
                found.append((float(start), ""))
        elif unicodedata.category(symbol[0]) in ("Lm", "Mn", "Sk", "Sm") and found:
            continue
        else:
            found.append((float(start) if moved is None else moved, symbol))
            moved = None
    return [(max(0.0, second - late_seconds), symbol) for second, symbol in found]


def run(session: Session, name: str, feed: dict[str, Any], durations: str) -> tuple[Any, Any]:
    """Sound and durations of one sentence. Raises EngineError."""
    try:
        sound_name = session.get_outputs()[0].name
        sound, lengths = session.run([sound_name, durations], feed)
    except Exception as error:
        reason = " ".join(str(error).split())[:120]
        raise EngineError(
            f"{name} could not say the text: {reason}", hint="try another text or voice"
        ) from None
    return sound, lengths
