"""Live sessions on many nodes, simulated with what one machine measured:

    python benchmarks/fleet.py [--sessions 10 100 1000 10000 100000] [--json FILE]
    python benchmarks/fleet.py --beside URL [--real 6]      the same arrivals on a real service

The places are given by the very class that a cluster uses (personare.cluster.directory):
admission by cost, warm nodes first, else the emptiest. Sessions come as a Poisson process, so
that on average as many are open as a column says, and last an exponential time. Nodes are lost
at random; their sessions are made anew elsewhere. Avatars are asked for by Zipf's law. The
clock is the simulation's; no engine runs.

Costs are those of puppet at 512x512 on cores of an AMD EPYC (docs/live.md, tests/cluster);
--costs FILE gives others as JSON.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import json
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from urllib.parse import urlsplit

from personare.cluster.directory import Directory
from personare.errors import Busy


@dataclass(frozen=True)
class Costs:
    """What was measured. Seconds, cores and dollars.

    draw_cores: of a session, pictures and encoding (what a session measures of itself).
    open_warm: from the request to the answer on an actor that waits, features on the node.
    open_cold: what an avatar costs beside that where the node has not got its features: from
        the remote, or computed.
    start_actor: until an actor is there that nobody had started.
    directory: of the directory for one session, its entering and leaving.
    front_cores: of a session in the front and in Serve's proxy (MJPEG on a WebSocket).
    node_hours: between two losses of a node.
    core_hour: what a core costs an hour, in dollars.
    """

    draw_cores: float = 0.46
    open_warm: float = 0.33
    open_cold: float = 0.25
    start_actor: float = 3.0
    directory: float = 0.003
    front_cores: float = 0.38
    node_hours: float = 24 * 30
    core_hour: float = 0.04


@dataclass(frozen=True)
class Load:
    """Who comes. minutes: of a session, on average. avatars: how many there are. spare: actors
    that wait on every node. headroom: nodes beyond what the average load fills. cores: of a
    node.
    """

    minutes: float = 6.0
    avatars: int = 2000
    zipf: float = 1.1
    spare: int = 1
    headroom: float = 1.25
    cores: int = 16


@dataclass
class Seen:
    """What came of it."""

    sessions: int
    nodes: int
    came: int
    turned_away: float
    warm: float
    start_p50: float
    start_p95: float
    start_p99: float
    directory_busy: float
    front_cores: float
    used: float
    lost: int
    dollars_hour: float
    simulated_minutes: float
    took: float


def simulate(sessions: int, costs: Costs = Costs(), load: Load = Load(), seed: int = 1) -> Seen:
    """About so many sessions at a time, for two of their lives, after one to fill the nodes."""
    began, random_ = time.perf_counter(), random.Random(seed)
    life = load.minutes * 60
    per_node = _sessions_per_node(costs, load)
    nodes = max(1, -(-round(sessions * load.headroom) // per_node))
    place = Directory()
    for node in range(nodes):
        place.join(f"n{node}", load.cores)
    place.enter("first", "kind", "")
    place.measured("first", "kind", costs.draw_cores)
    place.leave("first")
    weights = list(itertools.accumulate(1 / (rank + 1) ** load.zipf for rank in range(load.avatars)))
    spare_at: dict[str, list[float]] = {}
    events: list[tuple[float, int, str, str]] = []
    order = itertools.count()
    starts: list[float] = []
    came = away = warm = lost = 0
    directory_free = directory_busy = 0.0
    used = used_at = 0.0
    end, counted_from = 3 * life, life
    avatar_of: dict[str, str] = {}

    def push(at: float, what: str, who: str) -> None:
        heapq.heappush(events, (at, next(order), what, who))

    push(0.0, "comes", "")
    if costs.node_hours:
        push(random_.expovariate(nodes / (costs.node_hours * 3600)), "lost", "")
    number = 0
    while events and events[0][0] < end:
        now, _, what, who = heapq.heappop(events)
        if now > counted_from:
            used += place.used * (now - max(used_at, counted_from))
        used_at = now
        if what == "leaves":
            place.leave(who)
            avatar_of.pop(who, None)
        elif what == "lost":
            node = random_.choice(place.nodes)
            gone = place.lose(node)
            spare_at.pop(node, None)
            place.join(f"{node}+", load.cores)
            for session in gone:
                lost += 1
                try:
                    place.enter(session, "kind", avatar_of[session])
                except Busy:
                    avatar_of.pop(session)
            push(now + random_.expovariate(nodes / (costs.node_hours * 3600)), "lost", "")
        else:
            push(now + random_.expovariate(sessions / life), "comes", "")
            number += 1
            session = f"s{number}"
            avatar = f"a{random_.choices(range(load.avatars), cum_weights=weights)[0]}"
            counts = now > counted_from
            came += counts
            directory_free = max(directory_free, now) + costs.directory
            directory_busy += costs.directory if counts else 0.0
            waited = directory_free - now
            try:
                placed = place.enter(session, "kind", avatar)
            except Busy:
                away += counts
                continue
            avatar_of[session] = avatar
            actor = _spare(spare_at.setdefault(placed.node, [0.0] * load.spare), now, costs.start_actor)
            start = waited + actor + costs.open_warm + (0.0 if placed.warm else costs.open_cold)
            if counts:
                starts.append(start)
                warm += placed.warm
            push(now + start + random_.expovariate(1 / life), "leaves", session)
    starts.sort()
    minutes = (end - counted_from) / 60
    average = used / (end - counted_from)
    open_on_average = average / _cores(costs)
    return Seen(
        sessions=sessions,
        nodes=nodes,
        came=came,
        turned_away=away / max(came, 1),
        warm=warm / max(len(starts), 1),
        start_p50=_share(starts, 0.50),
        start_p95=_share(starts, 0.95),
        start_p99=_share(starts, 0.99),
        directory_busy=directory_busy / (end - counted_from),
        front_cores=open_on_average * costs.front_cores,
        used=average / place.capacity,
        lost=lost,
        dollars_hour=nodes * load.cores * costs.core_hour / max(open_on_average, 1e-9),
        simulated_minutes=minutes,
        took=time.perf_counter() - began,
    )


def _cores(costs: Costs) -> float:
    from personare.serve.live.admission import TRANSPORT_CORES

    return costs.draw_cores + TRANSPORT_CORES


def _sessions_per_node(costs: Costs, load: Load) -> int:
    from personare.serve.live.admission import SHARE

    return max(1, int(SHARE * load.cores / _cores(costs)))


def _spare(ready: list[float], now: float, start: float) -> float:
    """How long a session waits for an actor of its node: the first one that is ready is taken,
    and another one begun.
    """
    if not ready:
        return start
    first = heapq.heappop(ready)
    heapq.heappush(ready, now + start)
    return max(now, first) - now


def _share(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def arrivals(sessions: int, count: int, load: Load, seed: int = 1) -> Iterator[tuple[float, float]]:
    """Seconds at which so many come, and how long each stays."""
    random_, now = random.Random(seed), 0.0
    life = load.minutes * 60
    for _ in range(count):
        now += random_.expovariate(sessions / life)
        yield now, random_.expovariate(1 / life)


def real(url: str, count: int, sessions: int, load: Load, options: dict[str, object]) -> dict[str, float]:
    """The same arrivals on a service that runs: each session is opened, watched and ended."""
    import threading

    import httpx2 as httpx
    from websockets.sync.client import connect

    starts, first, away, lock = [], [], [0], threading.Lock()
    began = time.monotonic()

    def one(at: float, stays: float) -> None:
        time.sleep(max(0.0, began + at - time.monotonic()))
        asked = time.monotonic()
        made = httpx.post(f"{url}/v1/sessions", json={"options": options}, timeout=120)
        if made.status_code != 201:
            with lock:
                away[0] += 1
            return
        with lock:
            starts.append(time.monotonic() - asked)
        session = made.json()
        address = f"ws://{urlsplit(url).netloc}{session['ws']}?token={session['token']}&media=mjpeg"
        with connect(address, max_size=None) as socket:
            until = time.monotonic() + stays
            pictures = 0
            while time.monotonic() < until:
                data = socket.recv(timeout=30)
                if isinstance(data, bytes):
                    if not pictures:
                        with lock:
                            first.append(time.monotonic() - asked)
                    pictures += data[0] == 1
                    if data[0] == 2:
                        index = int.from_bytes(data[4:8], "little")
                        socket.send(json.dumps({"type": "shown", "index": index}))
        httpx.delete(f"{url}/v1/sessions/{session['id']}", timeout=60)

    threads = [threading.Thread(target=one, args=who) for who in arrivals(sessions, count, load)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    starts.sort()
    first.sort()
    return {
        "came": count,
        "turned_away": away[0] / count,
        "start_p50": _share(starts, 0.5),
        "start_p95": _share(starts, 0.95),
        "picture_p50": _share(first, 0.5),
        "picture_p95": _share(first, 0.95),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sessions", type=int, nargs="+", default=[10, 100, 1000, 10_000, 100_000])
    parser.add_argument("--costs", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--beside", metavar="URL")
    parser.add_argument("--real", type=int, default=6, help="sessions that really come, with --beside")
    for one in fields(Load):
        parser.add_argument(f"--{one.name}", type=type(one.default), default=one.default)
    given = parser.parse_args()
    costs = Costs(**json.loads(given.costs.read_text())) if given.costs else Costs()
    load = Load(**{one.name: getattr(given, one.name) for one in fields(Load)})
    if given.beside:
        seen = real(given.beside, given.real, given.sessions[0], load, {"size": 256})
        print(json.dumps({name: round(value, 3) for name, value in seen.items()}))
    rows = []
    places = "sessions  nodes   came  away  lost  warm"
    print(f"{places}    p50    p95    p99 s  directory  front cores  used  $/h   took")
    for sessions in given.sessions:
        seen = simulate(sessions, costs, load)
        rows.append(asdict(seen))
        print(
            f"{seen.sessions:8} {seen.nodes:6} {seen.came:6} {seen.turned_away:5.1%} {seen.lost:5} "
            f"{seen.warm:5.1%} "
            f"{seen.start_p50:6.2f} {seen.start_p95:6.2f} {seen.start_p99:6.2f} {seen.directory_busy:10.1%} "
            f"{seen.front_cores:12.1f} {seen.used:5.1%} {seen.dollars_hour:5.3f} {seen.took:6.1f}"
        )
    if given.json:
        given.json.write_text(
            json.dumps({"costs": asdict(costs), "load": asdict(load), "rows": rows}, indent=1)
        )


if __name__ == "__main__":
    main()
