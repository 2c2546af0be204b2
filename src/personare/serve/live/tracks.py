"""What a WebRTC connection sends: pictures as the worker encoded them, sound as Opus, both on
one clock. Each packet's pts is the time at which it is to be seen or heard; each leaves when it
is due.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av.packet
import numpy as np
from aiortc import MediaStreamTrack
from av.audio.frame import AudioFrame

from personare.serve.live.encoders import VIDEO_CLOCK
from personare.serve.live.wire import Packet
from personare.types import SAMPLE_RATE

SOUND_CLOCK = Fraction(1, SAMPLE_RATE)
PIECE_SAMPLES = SAMPLE_RATE // 50
_SOUND_PIECES = 50
_PICTURES = 25
_JUMP_SECONDS = 0.5
_LESS_LATE_SECONDS = 0.0005
_MOST_HELD_SECONDS = 0.04
_OPUS_BITS = 48_000
_NTP_SECONDS = 2_208_988_800
"""From 1900 to 1970."""


class Timeline:
    """Ticks on a connection's clock. It never goes back."""

    def __init__(self, fps: Fraction) -> None:
        self._fps = fps
        self._loop = asyncio.get_running_loop()
        self._wall = Fraction(time.time() - self._loop.time())  # kept: a clock that is set moves nothing
        self._origin: float | None = None
        self._stood = Fraction(0)

    def of(self, index: int) -> Fraction:
        """Seconds of a tick that came now: the session's, but where time stood still for the
        session, this clock goes on, as the receiver's does.
        """
        at, now = index / self._fps, self._loop.time()
        if self._origin is None:
            self._origin = now - float(at)
        behind = now - self._origin - float(at + self._stood)
        if behind > _JUMP_SECONDS:
            self._stood += round(behind * self._fps) / self._fps
        return at + self._stood

    def ntp(self, at: Fraction) -> int:
        """NTP's 32.32 seconds for a time of this clock: one line for pictures and sound,
        whenever they leave.
        """
        return round((_NTP_SECONDS + self._wall + Fraction(self._origin or 0.0) + at) * 2**32)


class Even:
    """What comes at uneven times -> times to leave at, as even as its own and hardly later."""

    def __init__(self) -> None:
        self._late = -math.inf

    def late(self, position: float, now: float) -> float:
        """Seconds that what belongs at `position`, and came now, leaves after its time: as the
        latest of the last ones did, less and less, and never more than 40 ms from now.
        """
        late = now - position
        self._late = max(late, min(self._late - _LESS_LATE_SECONDS, late + _MOST_HELD_SECONDS))
        return self._late


@dataclass(frozen=True, slots=True)
class _Waiting:
    """due: when it leaves, on the loop's clock."""

    packet: av.packet.Packet[Any]
    generation: int
    due: float


class Track(MediaStreamTrack):
    """Encoded packets, each at its time."""

    def __init__(self) -> None:
        super().__init__()
        self._queued: deque[_Waiting] = deque()
        self._filled = asyncio.Event()
        self._taken: Fraction | None = None
        self.left: Fraction | None = None
        """Seconds on the connection's clock of the last packet that has left; None: none has,
        or one is leaving.
        """

    def void(self, generation: int) -> None:
        """What is older is dropped."""
        self._queued = deque(one for one in self._queued if one.generation >= generation)

    async def recv(self) -> av.packet.Packet[Any]:
        self.left = self._taken  # aiortc asks for the next one when it has sent the last one
        loop = asyncio.get_running_loop()
        while not self._queued or self._queued[0].due > loop.time():
            if self._queued:
                await asyncio.sleep(self._queued[0].due - loop.time())
            else:
                self._filled.clear()
                await self._filled.wait()
        packet = self._queued.popleft().packet
        assert packet.pts is not None
        self.left, self._taken = None, packet.pts * packet.time_base
        return packet

    def _wait(self, packet: av.packet.Packet[Any], generation: int, due: float) -> None:
        self._queued.append(_Waiting(packet, generation, due))
        self._filled.set()


class Pictures(Track):
    """Encoded pictures, as they are."""

    kind = "video"

    def __init__(self, ask_for_key: Callable[[], None]) -> None:
        super().__init__()
        self._ask_for_key = ask_for_key
        self._waits_for_key = True

    def put(self, packet: Packet, at: Fraction, due: float) -> None:
        """A picture. One that builds on a picture that was left out is left out, too. Each
        generation begins with a key picture.
        """
        if packet.key:
            self._waits_for_key = False
        elif len(self._queued) >= _PICTURES and not self._waits_for_key:
            self._queued.clear()
            self._waits_for_key = True
            self._ask_for_key()
        if not self._waits_for_key:
            encoded = av.Packet(packet.payload)
            encoded.pts, encoded.time_base = round(at / VIDEO_CLOCK), VIDEO_CLOCK
            self._wait(encoded, packet.generation, due)


class Sound(Track):
    """The sound of each picture, in pieces of 20 ms, each at its time: if two leave at once
    every 40 ms, the browser takes the network for an uneven one, keeps 100 ms in hand and lets
    the pictures wait as long.
    """

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._rest = np.zeros(0, np.int16)
        self._codec: Any = av.CodecContext.create("libopus", "w")
        self._codec.sample_rate, self._codec.format, self._codec.layout = SAMPLE_RATE, "s16", "mono"
        self._codec.time_base, self._codec.bit_rate = SOUND_CLOCK, _OPUS_BITS
        self._codec.options = {"application": "voip", "frame_duration": "20"}

    def put(self, packet: Packet, at: Fraction, due: float) -> None:
        """The sound that begins at `at` and leaves from `due` on."""
        before = len(self._rest)
        samples = np.concatenate([self._rest, np.frombuffer(packet.payload, "<i2")])
        whole = len(samples) // PIECE_SAMPLES * PIECE_SAMPLES
        self._rest = samples[whole:]
        for start in range(0, whole, PIECE_SAMPLES):
            later = start - before  # samples after `at`
            frame = AudioFrame.from_ndarray(
                samples[None, start : start + PIECE_SAMPLES], format="s16", layout="mono"
            )
            frame.sample_rate, frame.time_base = SAMPLE_RATE, SOUND_CLOCK
            frame.pts = round(at * SAMPLE_RATE) + later
            for encoded in self._codec.encode(frame):  # one; its pts is what decoders make of it
                self._wait(encoded, packet.generation, due + later / SAMPLE_RATE)
        while len(self._queued) > _SOUND_PIECES:
            self._queued.popleft()

    def void(self, generation: int) -> None:
        super().void(generation)
        self._rest = self._rest[:0]
