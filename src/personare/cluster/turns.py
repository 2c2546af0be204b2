"""One computation of a feature on all machines that share a remote tier.

The store's own locks hold within one folder. Here an actor of the cluster holds a lease for
each key under way: whoever computes renews it, one that died lets it run out, and whoever
waited finds the feature on the remote. Where the actor cannot be reached nobody waits: a
feature that is computed twice comes to the same bytes.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from personare.cache.recipe import Stage
from personare.types import Progress

log = logging.getLogger(__name__)

LEASE_SECONDS = 10.0
RENEW_SECONDS = 2.0
_ASK_SECONDS = 0.2


class Leases:
    """Who computes which key. In one thread. now: seconds of a clock that never falls."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._held: dict[str, tuple[str, float]] = {}

    def take(self, key: str, who: str) -> bool:
        """A key is to be computed, or still is; False if somebody else is at it."""
        holder, until = self._held.get(key, (who, 0.0))
        if holder != who and until > self._now():
            return False
        self._held[key] = (who, self._now() + LEASE_SECONDS)
        return True

    def leave(self, key: str, who: str) -> None:
        """It is computed, or will not be; that of somebody else stays."""
        if self._held.get(key, ("", 0.0))[0] == who:
            del self._held[key]

    def count(self) -> int:
        """How many are under way."""
        return sum(until > self._now() for _, until in self._held.values())


Take = Callable[[str, str], bool]
Leave = Callable[[str, str], None]


class Turn:
    """The turn of one process, as `FeatureStore.take_turns` asks for it.

    take, leave: those of the one `Leases`; may raise whatever a connection raises.
    """

    def __init__(self, take: Take, leave: Leave) -> None:
        self._take, self._leave = take, leave

    @contextmanager
    def __call__(self, stage: Stage, key: str, progress: Progress) -> Iterator[None]:
        """Raises what the progress raises."""
        who = secrets.token_hex(8)
        while not self._taken(key, who):
            progress(f"{stage.name} (another machine)", 0, None)
            time.sleep(_ASK_SECONDS)
        over = threading.Event()
        beat = threading.Thread(target=self._renew, args=(key, who, over), daemon=True)
        beat.start()
        try:
            yield
        finally:
            over.set()
            beat.join()
            try:
                self._leave(key, who)
            except Exception as error:
                log.debug("a lease was not given back: %s", error)

    def _taken(self, key: str, who: str) -> bool:
        try:
            return self._take(key, who)
        except Exception as error:
            log.warning("features are not computed in turn: %s", " ".join(str(error).split())[:200])
            return True

    def _renew(self, key: str, who: str, over: threading.Event) -> None:
        while not over.wait(RENEW_SECONDS):
            self._taken(key, who)
