"""Which session is on which node, and where the next one fits: by measured cost, over all
nodes, where its avatar is warm before anywhere else.

The same class places the sessions of a cluster (live_actors.py) and of a simulation
(benchmarks/fleet.py). It has no clock, no thread and no network.
"""

from __future__ import annotations

import heapq
import itertools
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

from personare.errors import Busy
from personare.serve.live.admission import SHARE, TRANSPORT_CORES, UNKNOWN_CORES, lower

WARM = 64
"""Avatars that a node is taken to have at hand, the last used."""
LEAN = 0.25
"""How much fuller than the emptiest node, as a share of it, one may be to be taken because it
is warm: otherwise those that have the avatar everybody asks for would fill up first.
"""
_LOOKED_AT = 8
"""Nodes with a warm avatar that are looked at, those first that had it longest ago: each has
one actor or a few that wait.
"""

_SLACK = 1e-6
"""Shares are sums of floats."""


@dataclass
class _Node:
    """A node. gpus: those that sessions may have, None where there are none; shares: of them,
    by session. warm: avatars, the last used at the end.
    """

    capacity: float
    gpus: float | None = None
    held: dict[str, float] = field(default_factory=dict)
    shares: dict[str, float] = field(default_factory=dict)
    used: float = 0.0
    warm: OrderedDict[str, None] = field(default_factory=OrderedDict)
    drains: bool = False


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a session goes. warm: whether its avatar is at hand there. measure: whether the
    cost of its kind is not known yet. gpu: share of one that it has there.
    """

    node: str
    warm: bool
    measure: bool
    gpu: float = 0.0


class Drains:
    """Nodes that get no sessions, in a place that outlives a directory. In one thread."""

    def __init__(self) -> None:
        self._nodes: set[str] = set()

    def note(self, node: str, drains: bool) -> None:
        """A node drains, or does not any more."""
        (self._nodes.add if drains else self._nodes.discard)(node)

    def nodes(self) -> frozenset[str]:
        """All that drain."""
        return frozenset(self._nodes)


class Directory:
    """Places by measured cost on all nodes. In one thread."""

    def __init__(self, most: int | None = None, share: float = SHARE) -> None:
        """most: sessions at a time, whatever they cost. share: of a node's cores."""
        self._most, self._share = most, share
        self._nodes: dict[str, _Node] = {}
        self._where: dict[str, str] = {}
        self._kinds: dict[str, str] = {}
        self._known: dict[str, float] = {}
        self._warm: dict[str, OrderedDict[str, None]] = {}
        self._emptiest: list[tuple[float, str]] = []
        self._used = 0.0

    def join(self, node: str, cores: float, gpus: float | None = None) -> None:
        """A node is there; again does no harm. gpus: that sessions may have now; None where it
        has none.
        """
        if node not in self._nodes:
            self._nodes[node] = _Node(self._share * cores)
            self._offer(node)
        self._nodes[node].gpus = gpus

    def lose(self, node: str) -> list[str]:
        """A node is gone; the sessions that were there, which have no place now."""
        gone = self._nodes.pop(node, None)
        if gone is None:
            return []
        for avatar in gone.warm:
            self._forget(avatar, node)
        self._used -= gone.used
        for session in gone.held:
            del self._where[session], self._kinds[session]
        return list(gone.held)

    def drain(self, node: str, drains: bool = True) -> list[str]:
        """No session goes to a node any more (or again); those that are there."""
        found = self._nodes[node]
        found.drains = drains
        self._offer(node)
        return list(found.held)

    @property
    def nodes(self) -> list[str]:
        return list(self._nodes)

    @property
    def used(self) -> float:
        """Cores that are taken."""
        return self._used if self._where else 0.0  # sums of floats leave a little

    @property
    def capacity(self) -> float:
        """Cores that sessions may take."""
        return sum(node.capacity for node in self._nodes.values() if not node.drains)

    def known(self, kind: str) -> float | None:
        """What sessions of a kind cost, as `measured` takes it; None if nobody knows."""
        cores = self._known.get(kind)
        return None if cores is None else cores - TRANSPORT_CORES

    def where(self, session: str) -> str | None:
        """The node of a session; None if it has none."""
        return self._where.get(session)

    def enter(self, session: str, kind: str, avatar: str = "", gpu: float = 0.0) -> Placed:
        """A place for a session; one that it had is given back. kind: sessions that cost the
        same. gpu: share of one that it needs, where there are any. Raises Busy.
        """
        self.leave(session)
        if self._most is not None and len(self._where) >= self._most:
            raise Busy(f"{len(self._where)} sessions are all that this service takes", hint="try again later")
        cores = self._known.get(kind, UNKNOWN_CORES)
        gpu = gpu if any(node.gpus is not None for node in self._nodes.values()) else 0.0
        emptiest = self._with_gpu(cores, gpu) if gpu else self._with_room(cores)
        node = (
            emptiest if emptiest is None else self._warm_with_room(avatar, cores, emptiest, gpu) or emptiest
        )
        if node is None and gpu and self._with_room(cores) is not None:
            raise Busy(f"no GPU has {gpu:g} of it left", hint="try again later, or with device=cpu")
        if node is None:
            raise Busy(
                f"sessions take {self.used:.2f} of {self.capacity:.2f} cores, and this one needs {cores:.2f}",
                hint="try again later, with a smaller size, or with more nodes",
            )
        warm = avatar in self._nodes[node].warm
        self._hold(session, node, kind, gpu)
        self._note_warm(node, avatar)
        return Placed(node, warm, kind not in self._known, gpu)

    def put(self, session: str, node: str, kind: str, avatar: str = "", gpu: float = 0.0) -> None:
        """A session is on a node already: of one that was found there."""
        self.leave(session)
        if node in self._nodes:
            self._hold(session, node, kind, gpu)
            self._note_warm(node, avatar)

    def measured(self, session: str, kind: str, cores: float) -> None:
        """What a session that is in costs really. Raises Busy if it has to leave again."""
        node = self._where.get(session)
        gpu = 0.0 if node is None else self._nodes[node].shares.get(session, 0.0)
        self.leave(session)
        self.seen(kind, cores)
        if node is None:
            return
        found = self._nodes[node]
        if found.held and found.used + self._known[kind] > found.capacity:
            raise Busy(
                f"this session takes {self._known[kind]:.2f} cores, and its node has not so many left",
                hint="try again: the next one knows what it costs",
            )
        self._hold(session, node, kind, gpu)

    def seen(self, kind: str, cores: float) -> None:
        """What a session in play took while it spoke: the lowest figure of a kind counts, also
        for those that are in.
        """
        before, self._known[kind] = self._known.get(kind), lower(self._known.get(kind), cores)
        if before == self._known[kind]:
            return
        for session in [session for session, other in self._kinds.items() if other == kind]:
            node = self._where[session]
            gpu = self._nodes[node].shares.get(session, 0.0)
            self.leave(session)
            self._hold(session, node, kind, gpu)

    def leave(self, session: str) -> None:
        """Give a place back; twice does no harm."""
        node = self._where.pop(session, None)
        self._kinds.pop(session, None)
        if node is not None:
            found = self._nodes[node]
            cores = found.held.pop(session)
            found.shares.pop(session, None)
            found.used = found.used - cores if found.held else 0.0
            self._used -= cores
            self._offer(node)

    def room(self) -> Mapping[str, float]:
        """Node -> cores that are left for sessions."""
        return {name: node.capacity - node.used for name, node in self._nodes.items() if not node.drains}

    def _hold(self, session: str, node: str, kind: str, gpu: float) -> None:
        found, cores = self._nodes[node], self._known.get(kind, UNKNOWN_CORES)
        found.held[session] = cores
        if gpu:
            found.shares[session] = gpu
        found.used += cores
        self._used += cores
        self._where[session], self._kinds[session] = node, kind
        self._offer(node)

    def _fits(self, node: _Node, cores: float, gpu: float = 0.0) -> bool:
        if gpu and sum(node.shares.values()) + gpu > (node.gpus or 0.0) + _SLACK:
            return False
        # the first one of a node may come in whatever it costs
        return not node.drains and (not node.held or node.used + cores <= node.capacity)

    def _with_gpu(self, cores: float, gpu: float) -> str | None:
        fitting = [name for name, node in self._nodes.items() if self._fits(node, cores, gpu)]
        return min(fitting, key=self._share_used, default=None)

    def _warm_with_room(self, avatar: str, cores: float, emptiest: str, gpu: float) -> str | None:
        most = self._share_used(emptiest) + LEAN
        candidates = list(itertools.islice(self._warm.get(avatar, OrderedDict()), _LOOKED_AT))
        fitting = [name for name in candidates if self._fits(self._nodes[name], cores, gpu)]
        best = min(fitting, key=self._share_used, default=None)
        return best if best is not None and self._share_used(best) <= most else None

    def _with_room(self, cores: float) -> str | None:
        while self._emptiest:
            share, name = self._emptiest[0]
            node = self._nodes.get(name)
            if node is None or node.drains or share != self._share_used(name):
                heapq.heappop(self._emptiest)  # of an earlier time
                continue
            # the emptiest one; a larger node that is fuller may still have more room
            return name if self._fits(node, cores) else self._any_with_room(cores)
        return None

    def _any_with_room(self, cores: float) -> str | None:
        largest = max(self._nodes, key=lambda name: self._nodes[name].capacity - self._nodes[name].used)
        return largest if self._fits(self._nodes[largest], cores) else None

    def _share_used(self, name: str) -> float:
        node = self._nodes[name]
        return node.used / node.capacity

    def _offer(self, name: str) -> None:
        if not self._nodes[name].drains:
            heapq.heappush(self._emptiest, (self._share_used(name), name))

    def _note_warm(self, name: str, avatar: str) -> None:
        warm = self._nodes[name].warm
        warm[avatar] = None
        warm.move_to_end(avatar)
        self._warm.setdefault(avatar, OrderedDict())[name] = None
        self._warm[avatar].move_to_end(name)
        if len(warm) > WARM:
            oldest, _ = warm.popitem(last=False)
            self._forget(oldest, name)

    def _forget(self, avatar: str, node: str) -> None:
        self._warm[avatar].pop(node, None)
        if not self._warm[avatar]:
            del self._warm[avatar]
