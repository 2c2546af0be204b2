"""What travels between worker, server and page: packets with an eight-byte head, and messages.

    u8 kind | u8 state | u16 generation | u32 index | payload          little endian

Picture `index` is shown while the sound of the same index is heard. The generation is the low
16 bits of the session's.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from personare.errors import InvalidOption

_HEAD = struct.Struct("<BBHI")
HEAD_BYTES = _HEAD.size
TEXT_CHARACTERS = 5000
"""Of one `say`."""
VOICE_NAME = r"^[A-Za-z0-9][A-Za-z0-9_+:-]{0,79}$"
"""A language or a voice by name; never a path, as `piper:` would take one."""
Media = Literal["mjpeg", "fmp4", "sound", "h264", "vp8", "rgb"]
"""What a watcher gets. sound: no pictures, for those who draw a head of their own from curves.
rgb: pictures as they are, uint8 [H, W, 3]; on this machine only.
"""


class Kind(IntEnum):
    """What a packet holds."""

    PICTURE = 1  # JPEG, or H.264, VP8, RGB (between worker and server)
    SOUND = 2  # s16, 16 kHz mono, of one tick
    VOICE = 3  # from the page: s16 mono; the index is the rate in Hz, 0 for 16000
    MP4_VIDEO = 4
    MP4_SOUND = 5


class State(IntEnum):
    """What the face does in a tick."""

    IDLE = 0
    SPEAKING = 1
    STARVED = 2  # the voice is late: silence is fed and played


@dataclass(frozen=True, slots=True)
class Packet:
    """A piece of media on its way out.

    generation: of the session, in full.
    key: whether a decoder may begin here.
    """

    kind: Kind
    state: State
    generation: int
    index: int
    payload: bytes
    key: bool = True

    def to_bytes(self) -> bytes:
        """As it goes to the page."""
        head = _HEAD.pack(self.kind, self.state, self.generation & 0xFFFF, self.index & 0xFFFFFFFF)
        return head + self.payload


@dataclass(frozen=True, slots=True)
class VoicePiece:
    """A piece of voice from the page. generation: what the page took for the newest, if it
    says so; a piece of an older one is void.
    """

    samples: bytes
    rate: int
    generation: int | None


def read_voice(data: bytes) -> VoicePiece:
    """A binary message of a page: `state` 1 says that the generation counts.

    Raises InvalidOption for anything but whole samples of a voice at 8000 to 48000 Hz.
    """
    if len(data) < HEAD_BYTES:
        raise InvalidOption("a binary message is shorter than its head", hint="docs/live.md has the format")
    kind, counts, generation, rate = _HEAD.unpack_from(data)
    samples = data[HEAD_BYTES:]
    if kind != Kind.VOICE or len(samples) % 2:
        raise InvalidOption("a binary message is not voice (kind 3, then s16)", hint="docs/live.md")
    rate = rate or 16000
    if not 8000 <= rate <= 48000:
        raise InvalidOption(f"a voice at {rate} Hz", hint="8000 to 48000 Hz")
    return VoicePiece(samples, rate, generation if counts else None)


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Append(_Message):
    """Voice, as base64 of s16 mono."""

    type: Literal["input_audio_buffer.append"]
    audio: str
    rate: Annotated[int, Field(ge=8000, le=48000)] = 16000
    generation: int | None = None


class Say(_Message):
    """A text, by any voice of `GET /v1/voices`."""

    type: Literal["say"] = "say"
    text: Annotated[str, Field(min_length=1, max_length=TEXT_CHARACTERS)]
    voice: Annotated[str, Field(pattern=VOICE_NAME)] | None = None


class Shown(_Message):
    """The page has come to this index."""

    type: Literal["shown"]
    index: Annotated[int, Field(ge=0, le=0xFFFFFFFF)]


class Curves(_Message):
    """Whether the motion of every frame is told as well."""

    type: Literal["curves"]
    on: bool = True


class Word(_Message):
    """What needs no more than its name. follow: the session's guide is played."""

    type: Literal[
        "input_audio_buffer.commit", "input_audio_buffer.clear", "interrupt", "pause", "resume", "follow"
    ]


Message = Append | Say | Shown | Curves | Word
_MESSAGES: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="type")])


def read_message(text: str) -> Message:
    """A text message of a page. Raises InvalidOption, in one line."""
    try:
        return _MESSAGES.validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:])
        wrong = f"{where}: {first['msg']}" if where else first["msg"]
        raise InvalidOption(f"a message: {wrong}", hint="docs/live.md has all messages") from None


Facts = dict[str, Any]
Event = dict[str, Any]
"""A message to the page: JSON with a `type`."""
