"""What waits for one watcher on a WebSocket. Pictures are left out for one who is slow; sound
never is, so the session waits for him.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from personare.serve.live.wire import Event, Kind, Packet

PICTURES_UNDER_WAY = 8
"""Ticks between the last picture sent and the last one shown, by the watcher's own word."""
SOUND_UNDER_WAY = 25
"""The same of sound: beyond it, time stands still for him."""
_PICTURES = (Kind.PICTURE, Kind.MP4_VIDEO)


class Outlet:
    """A queue in the event loop, for one who takes from it.

    hold: told when the session is to wait for him, and when it may go on.
    ask_for_key: told when pictures that build on each other were left out.
    ended: why nothing comes any more; close codes of WebSockets.
    """

    def __init__(self, hold: Callable[[bool], None], ask_for_key: Callable[[], None]) -> None:
        self.ended: int | None = None
        self.left_out = 0
        self._hold, self._ask_for_key = hold, ask_for_key
        self._items: deque[Packet | Event] = deque()
        self._filled = asyncio.Event()
        self._sounds = 0
        self._newest = 0
        self._shown: int | None = None
        self._waits_for_key = False
        self._held = False
        self._held_since = 0.0

    def packets(self, packets: Sequence[Packet]) -> None:
        """Those of one tick."""
        for packet in packets:
            if packet.kind in _PICTURES:
                if not self._takes(packet):
                    continue
            else:
                self._sounds += 1
                self._newest = packet.index
            self._items.append(packet)
        self._balance()
        self._filled.set()

    def event(self, event: Event) -> None:
        """A message."""
        self._items.append(event)
        self._filled.set()

    def void(self, generation: int) -> None:
        """Media of older generations is dropped."""
        kept = [item for item in self._items if not isinstance(item, Packet) or item.generation >= generation]
        self._items = deque(kept)
        self._sounds = sum(isinstance(item, Packet) and item.kind not in _PICTURES for item in kept)
        self._shown = None if self._shown is None else self._newest
        self._balance()

    def close(self, code: int) -> None:
        """What waits is still taken, then comes the end."""
        self.ended = code
        self._filled.set()

    def shown(self, index: int) -> None:
        """How far the watcher has come."""
        self._shown = min(index, self._newest)
        self._balance()

    def is_too_slow(self, seconds: float) -> bool:
        """Whether time has stood still for him for so long."""
        return self._held and asyncio.get_running_loop().time() - self._held_since > seconds

    async def take(self) -> Packet | Event | None:
        """The next thing to send; None at the end."""
        while not self._items:
            if self.ended is not None:
                return None
            self._filled.clear()
            await self._filled.wait()
        item = self._items.popleft()
        if isinstance(item, Packet) and item.kind not in _PICTURES:
            self._sounds -= 1
            self._balance()
        return item

    def _takes(self, picture: Packet) -> bool:
        behind = self._behind() >= PICTURES_UNDER_WAY
        if picture.kind == Kind.PICTURE:
            self.left_out += behind
            return not behind
        if behind or (self._waits_for_key and not picture.key):
            self.left_out += 1
            if not behind or not self._waits_for_key:
                self._ask_for_key()
            self._waits_for_key = True
            return False
        self._waits_for_key = False
        return True

    def _behind(self) -> int:
        """Ticks that are under way or wait."""
        return self._sounds if self._shown is None else max(self._sounds, self._newest - self._shown)

    def _balance(self) -> None:
        behind = self._behind()
        if not self._held and behind > SOUND_UNDER_WAY:
            self._held = True
            self._held_since = asyncio.get_running_loop().time()
            self._hold(True)
        elif self._held and behind <= PICTURES_UNDER_WAY:
            self._held, self._held_since = False, 0.0
            self._hold(False)
