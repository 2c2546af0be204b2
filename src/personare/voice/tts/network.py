"""Voices that a service on the network speaks: gTTS (Google Translate) and edge-tts (Microsoft
Edge), extras of ours.

The text leaves the machine, and the services may change or refuse at any time. They give sound
without phone times, so the engine listens.
"""

from __future__ import annotations

import asyncio
import importlib.util
import io
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from personare.errors import EngineError, PersonareError, WeightsMissing
from personare.media.audio import open_speech
from personare.types import SAMPLE_RATE
from personare.voice.tts.backends import BackEnd, Catalogue, CatalogueVoice, Settled, Sound
from personare.voice.tts.text import sentences

TIMEOUT_SECONDS = 30
_MODULES = {"gtts": ("gtts", "gTTS"), "edge": ("edge_tts", "edge-tts")}
_EXAMPLES = {"gtts": "en", "edge": "en-US-AriaNeural"}
KINDS = tuple(_MODULES)


def listed() -> list[tuple[str, str, str, str]]:
    """(kind, example of a name, what it is, what is needed)."""
    return [(kind, _EXAMPLES[kind], _MODULES[kind][1], needed(kind)) for kind in KINDS]


def needed(kind: str) -> str:
    module, package = _MODULES[kind]
    return (
        ""
        if importlib.util.find_spec(module)
        else f"pip install {package} (or the extra [network-voices]; the text leaves the machine)"
    )


def choose(kind: str, name: str) -> tuple[NetworkVoice, str, CatalogueVoice]:
    """A voice of a service; whether the service knows the name shows when it speaks. Raises
    WeightsMissing.
    """
    if missing := needed(kind):
        raise WeightsMissing(f"voices of {_MODULES[kind][1]} are not installed", hint=missing)
    voice = NetworkVoice(kind, name or _EXAMPLES[kind])
    return voice, voice.voice_name, CatalogueVoice(voice.voice_name, voice.voice_name, (), SAMPLE_RATE)


@dataclass(frozen=True)
class NetworkVoice(BackEnd):
    """One voice of one service; heard at 16 kHz."""

    kind: str
    voice_name: str
    has_phones = False

    @property
    def name(self) -> str:  # type: ignore[override]
        return f"{_MODULES[self.kind][1]} {self.voice_name}"

    def catalogue(self) -> Catalogue:
        return Catalogue((CatalogueVoice(self.voice_name, self.voice_name, (), SAMPLE_RATE),), ())

    def speak(self, texts: Sequence[str], identifier: str) -> Iterator[Sound | Settled]:  # noqa: ARG002
        fetch: Callable[[str], bytes] = self._google if self.kind == "gtts" else self._edge
        for text in texts:
            for sentence in sentences(text):
                try:
                    encoded = fetch(sentence)
                except PersonareError:
                    raise
                except (
                    Exception
                ) as error:  # whatever these clients raise, the reason is the service or the way to it
                    reason = " ".join(str(error).split())[:160] or type(error).__name__
                    hint = (
                        "check the network and the voice's name, or use an offline voice: `personare voices`"
                    )
                    raise EngineError(f"{self.name} gave no sound: {reason}", hint=hint) from None
                yield from self._decoded(encoded)
                yield Settled()

    def _google(self, sentence: str) -> bytes:
        from gtts import gTTS

        sound = io.BytesIO()
        gTTS(sentence, lang=self.voice_name, timeout=TIMEOUT_SECONDS).write_to_fp(sound)
        return sound.getvalue()

    def _edge(self, sentence: str) -> bytes:
        import edge_tts

        async def collect() -> bytes:
            parts = [
                part["data"]
                async for part in edge_tts.Communicate(sentence, self.voice_name).stream()
                if part["type"] == "audio"
            ]
            return b"".join(parts)

        return asyncio.run(asyncio.wait_for(collect(), TIMEOUT_SECONDS))

    def _decoded(self, encoded: bytes) -> Iterator[Sound]:
        if not encoded:
            raise EngineError(f"{self.name} gave no sound", hint="check the voice's name: `personare voices`")
        with tempfile.TemporaryDirectory(prefix="personare-") as folder:
            file = Path(folder) / "sound.mp3"
            file.write_bytes(encoded)
            for chunk in open_speech(file).chunks():
                yield Sound(np.rint(np.clip(chunk.samples, -1, 1) * 32767).astype(np.int16), SAMPLE_RATE)
