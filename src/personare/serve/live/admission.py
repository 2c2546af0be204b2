"""Who may come in: sessions are counted by what they cost while they speak, not by their
number, so that all may speak at once.
"""

from __future__ import annotations

from personare.errors import Busy
from personare.serve.live.wire import Media

SHARE = 0.9
"""Of the cores, for sessions; the rest keeps the service answering. (puppet at 512 on two cores
with AVX2 is measured as 0.43 to 0.52, and 0.08 for its transport: three that all speak have 25
pictures a second each and come in, a fourth does not.)
"""
TRANSPORT_CORES = 0.08
"""What a session costs beside its pictures: hearing, packets, the server's own part."""
WEBRTC_CORES = 0.04
"""What the server does for one over WebRTC beyond that (0.12 in all; over a WebSocket 0.03)."""
UNKNOWN_CORES = 0.5
"""What a session is taken to cost until it was measured."""


class Admission:
    """Places by measured cost. In one thread.

    A figure that was taken beside other work is too high: the lowest of its kind counts, those
    that are in play tell theirs, and it counts for all that are in as well.
    """

    def __init__(self, cores: float, most: int | None = None) -> None:
        """most: sessions at a time whatever they cost."""
        self.capacity = SHARE * cores
        self._most = most
        self._known: dict[str, float] = {}
        self._held: dict[str, str] = {}

    @property
    def used(self) -> float:
        """Cores that are taken."""
        return sum(self._cost(kind) for kind in self._held.values())

    def knows(self, kind: str) -> bool:
        """Whether the cost of such sessions was measured. kind: engine, options and media."""
        return kind in self._known

    def enter(self, session: str, kind: str) -> None:
        """Take a place. Raises Busy."""
        cores = self._cost(kind)
        if self._most is not None and len(self._held) >= self._most:
            raise Busy(f"{len(self._held)} sessions are all that this service takes", hint="try again later")
        # the first one of an unknown cost may come in anywhere: it is measured
        if self._held and self.used + cores > self.capacity:
            raise Busy(
                f"sessions take {self.used:.2f} of {self.capacity:.2f} cores, and this one needs {cores:.2f}",
                hint="try again later, with a smaller size, or on a larger machine",
            )
        self._held[session] = kind

    def measured(self, session: str, kind: str, cores: float) -> None:
        """What a session that is in costs really. Raises Busy if it has to leave again."""
        del self._held[session]
        self.seen(kind, cores)
        self.enter(session, kind)

    def seen(self, kind: str, cores: float) -> None:
        """What a session in play took while it spoke."""
        self._known[kind] = lower(self._known.get(kind), cores)

    def leave(self, session: str) -> None:
        """Give a place back; twice does no harm."""
        self._held.pop(session, None)

    def _cost(self, kind: str) -> float:
        return self._known.get(kind, UNKNOWN_CORES)


def with_sending(cores: float, media: Media) -> float:
    """What a worker takes, and what its media cost the server beyond TRANSPORT_CORES."""
    return cores + (WEBRTC_CORES if media in ("h264", "vp8") else 0.0)


def lower(known: float | None, cores: float) -> float:
    """What a kind is known to cost, transport and all, after another figure without it."""
    whole = cores + TRANSPORT_CORES
    return whole if known is None else min(known, whole)
