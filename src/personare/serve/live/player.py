"""The thread that ticks, encodes and sends."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from personare.errors import PersonareError
from personare.provenance.visible import Badge
from personare.serve.live.encoders import Encoder
from personare.serve.live.pace import Pace
from personare.serve.live.session import Interrupted, Session, Tick
from personare.serve.live.spent import Spent
from personare.serve.live.wire import Event, Packet, State

log = logging.getLogger(__name__)

STATS_SECONDS = 5


class Player:
    """Runs a session in real time for one watcher at a time. Between watchers, and while it is
    paused, time stands still.
    """

    def __init__(
        self,
        session: Session,
        pace: Pace,
        send: Callable[[Sequence[Packet]], None],
        tell: Callable[[Event], None],
        failed: Callable[[str], None],
        badge: Badge | None = None,
        spent: Callable[[float], None] | None = None,
    ) -> None:
        """send: takes the packets of one tick, in order; called under the session's lock.
        failed: takes why the session cannot go on; called once.
        badge: is drawn on every picture.
        spent: takes the cores that speaking has taken, now and then.
        """
        self.session, self.pace = session, pace
        self.curves = False
        """Whether the motion of every picture is told."""
        self._send, self._tell, self._failed, self._badge = send, tell, failed, badge
        self._spent = Spent(session.fps, spent or (lambda _: None))
        self._encoder: Encoder | None = None
        self._wanted: Encoder | None = None
        self._paused = False
        self._closed = False
        self._changed = threading.Condition()
        self._milliseconds: deque[float] = deque(maxlen=round(STATS_SECONDS * session.fps))
        self._thread = threading.Thread(target=self._run, name="personare-live", daemon=True)
        self._thread.start()

    def watch(self, encoder: Encoder | None) -> None:
        """Play for a watcher, from a picture where his decoder may begin; None: for nobody."""
        with self._changed:
            self._wanted = encoder
            self._changed.notify()
        self.pace.clock.wake()

    def pause(self, paused: bool) -> None:
        """Let time stand still, or go on."""
        with self._changed:
            self._paused = paused
            self._changed.notify()

    def interrupt(self) -> Interrupted:
        """As the session's; the first picture of what comes next does not wait for its time."""
        interrupted = self.session.interrupt()
        self.pace.clock.wake()
        return interrupted

    def ask_for_key(self) -> None:
        """The next picture is to be one where a decoder may begin."""
        if (encoder := self._encoder) is not None:
            encoder.key = True
            self.session.awake()

    def close(self) -> None:
        """End the thread and the session."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self.session.interrupt()
        self.pace.clock.wake()
        self._thread.join()
        self.session.close()

    def _run(self) -> None:
        try:
            while self._ready():
                self.pace.wait(self.session.index)
                self._play()
        except PersonareError as error:
            self._failed(error.message)
        except Exception as error:
            log.exception("a session failed")
            self._failed(f"unexpected {type(error).__name__}")
        finally:
            if self._encoder is not None:
                self._encoder.close()

    def _ready(self) -> bool:
        """Wait for a watcher; False at the end."""
        stood = False
        with self._changed:
            while not self._closed and (self._paused or self._wanted is None):
                stood = True
                self._changed.wait()
            if self._wanted is not self._encoder:
                if self._encoder is not None:
                    self._encoder.close()
                self._encoder, stood = self._wanted, True
        if stood:
            self.session.awake()
            self.pace.begin(self.session.index)
            self._spent.begin()
        return not self._closed

    def _play(self) -> None:
        encoder = self._encoder
        assert encoder is not None
        began = self.pace.clock.now()
        tick = self._marked(self.session.tick())
        packets = encoder.encode(tick)
        if not self.session.leave(tick, lambda: self._left(tick, packets)):
            encoder.key = True  # what a decoder would build on never left
        self._milliseconds.append(1e3 * (self.pace.clock.now() - began))
        self._spent.tick(tick.state is State.SPEAKING)
        if tick.index % round(STATS_SECONDS * self.session.fps) == 0:
            self._tell(self._stats(tick))

    def _marked(self, tick: Tick) -> Tick:
        if self._badge is None or tick.image is None:
            return tick
        return replace(tick, image=self._badge.draw(tick.image.copy()))  # the engine may show it again

    def _left(self, tick: Tick, packets: Sequence[Packet]) -> None:
        if self.curves and tick.motion is not None:
            values = [round(float(value), 4) for value in tick.motion]
            self._tell({"type": "curves", "index": tick.index, "values": values})
        self._send(packets)

    def _stats(self, tick: Tick) -> dict[str, Any]:
        taken = sorted(self._milliseconds)
        return {
            "type": "stats",
            "index": tick.index,
            "tick_ms": [round(taken[int(share * (len(taken) - 1))], 1) for share in (0.5, 0.95)],
            "slips": self.pace.slips,
        }
