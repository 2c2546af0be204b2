"""Who may come in: sessions are counted by what they cost while they speak, not by their
number, so that all may speak at once.
"""

from __future__ import annotations

from personare.errors import Busy

SHARE = 0.9
"""Of the cores, for sessions; the rest keeps the service answering. (puppet at 512 on two cores
with AVX2 is measured as 0.43 to 0.52, and 0.08 for its transport: three that all speak have 25
pictures a second each and come in, a fourth does not.)
"""
TRANSPORT_CORES = 0.08
"""What a session costs beside its pictures: hearing, packets, the server's own part."""
UNKNOWN_CORES = 0.5
"""What a session is taken to cost until it was measured."""


class Admission:
    """Places by measured cost. In one thread."""

    def __init__(self, cores: float, most: int | None = None) -> None:
        """most: sessions at a time whatever they cost."""
        self.capacity = SHARE * cores
        self._most = most
        self._known: dict[str, float] = {}
        self._held: dict[str, float] = {}

    @property
    def used(self) -> float:
        """Cores that are taken."""
        return sum(self._held.values())

    def knows(self, kind: str) -> bool:
        """Whether the cost of such sessions was measured. kind: engine and options."""
        return kind in self._known

    def enter(self, session: str, kind: str) -> None:
        """Take a place. Raises Busy."""
        self._take(session, self._known.get(kind, UNKNOWN_CORES))

    def measured(self, session: str, kind: str, cores: float) -> None:
        """What a session that is in costs really. Raises Busy if it has to leave again."""
        self._known[kind] = cores + TRANSPORT_CORES
        del self._held[session]
        self._take(session, self._known[kind])

    def leave(self, session: str) -> None:
        """Give a place back; twice does no harm."""
        self._held.pop(session, None)

    def _take(self, session: str, cores: float) -> None:
        if self._most is not None and len(self._held) >= self._most:
            raise Busy(f"{len(self._held)} sessions are all that this service takes", hint="try again later")
        # the first one of an unknown cost may come in anywhere: it is measured
        if self._held and self.used + cores > self.capacity:
            raise Busy(
                f"sessions take {self.used:.2f} of {self.capacity:.2f} cores, and this one needs {cores:.2f}",
                hint="try again later, with a smaller size, or on a larger machine",
            )
        self._held[session] = cores
