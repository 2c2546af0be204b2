"""A Ray cluster: joined where one runs, else started on this machine for as long as it is
needed.

    ray                     the one that RAY_ADDRESS names; else one is started here
    ray://head:10001        that one, by Ray's own client
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from personare.errors import EngineError, InvalidOption
from personare.ground.machine import machine
from personare.types import Progress, no_progress
from personare.work.workers import Capacity, shares_in

NAMESPACE = "personare"
_STORE_BYTES = 256 << 20
"""Of a cluster that is started here, for files on their way."""
_ASK_SECONDS = 1.0
_ADDRESS = re.compile(r"ray|ray://[A-Za-z0-9.\-\[\]:]+:\d{1,5}")
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def check_address(address: str) -> None:
    """Raises InvalidOption for what is no address of a cluster."""
    if not _ADDRESS.fullmatch(address):
        raise InvalidOption(f"--on {address[:80]!r} is no cluster", hint="ray, or ray://HOST:PORT")


def ray_module() -> Any:
    """The library. Raises EngineError where it is not installed."""
    try:
        before = {number: signal.getsignal(number) for number in _SIGNALS}
        import ray
    except ImportError:
        raise EngineError("a cluster needs ray", hint="pip install 'personare[cluster]'") from None
    _answer_as(before)
    return ray


def send_token(address: str) -> None:
    """Have Ray's client (ray://) send the token that this machine has, before ray is imported:
    it would only if a mode is set, while clusters use theirs without one.
    """
    if not (os.environ.get("RAY_ADDRESS", "") if address == "ray" else address).startswith("ray://"):
        return
    named = os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH")
    if named or (Path.home() / ".ray" / "auth_token").is_file():
        os.environ.setdefault("RAY_AUTH_MODE", "token")


@contextmanager
def joined(address: str, progress: Progress = no_progress, *, cores: int | None = None) -> Iterator[Capacity]:
    """A cluster, while the block runs. cores: of one that is started here; None for all.

    Raises InvalidOption for an address that is none, EngineError where ray is not installed,
    the cluster does not answer, or its machines have another personare.
    """
    check_address(address)
    send_token(address)
    ray = ray_module()
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    progress("joining the cluster", 0, None)
    try:
        # what ray says of itself goes to stderr otherwise, some of it ten times a second
        quiet = {"log_to_driver": False, "logging_level": logging.ERROR, "namespace": NAMESPACE}
        if address != "ray" or os.environ.get("RAY_ADDRESS"):
            ray.init(None if address == "ray" else address, **quiet)
        else:
            _start_here(ray, cores or machine().cores, quiet)
    except Exception as error:  # its own kinds, and those of grpc
        reason = " ".join(str(error).split())[:200]
        raise EngineError(
            f"the cluster {address} cannot be joined: {reason}",
            hint="is it up? ray status; it needs the version and the token of this machine (docs/scale.md)",
        ) from None
    finally:
        _answer_as(before)
    try:
        _check_same(ray)
        yield found()
    finally:
        ray.shutdown()
        _answer_as(before)


def found() -> Capacity:
    """What the joined cluster has now."""
    nodes = [node["Resources"] for node in ray_module().nodes() if node["Alive"]]
    gpus = tuple(node["GPU"] for node in nodes if node.get("GPU"))
    return Capacity(max(1, int(sum(node.get("CPU", 0) for node in nodes))), max(1, len(nodes)), gpus)


def free_gpus(share: float) -> dict[str, float]:
    """Node -> shares of GPUs that nobody has, in GPUs, of nodes that have any."""
    from ray._private.state import available_resources_per_node, total_resources_per_node

    left, free = available_resources_per_node(), {}
    for node, there in total_resources_per_node().items():
        if gpus := there.get("GPU"):
            taken = round((gpus - left.get(node, {}).get("GPU", 0.0)) / share)
            free[node] = (shares_in(gpus, share) - taken) * share
    return free


def following(now: Callable[[], float] = time.monotonic) -> Callable[[], Capacity]:
    """What the joined cluster has, asked once a second at most; the last answer where it gives
    none. From one thread. now: seconds of a clock that never falls.
    """
    last, asked_at = found(), now()

    def there() -> Capacity:
        nonlocal last, asked_at
        if now() - asked_at >= _ASK_SECONDS:
            asked_at = now()
            with suppress(Exception):  # those of ray and grpc: its head begins anew, say
                last = found()
        return last

    return there


def _start_here(ray: Any, cores: int, quiet: dict[str, Any]) -> None:
    # a token of its own, so that nothing is written into the user's home; its ports are open on
    # all addresses, whatever ray is told
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    ray.init(
        "local",  # not one that somebody else has started here
        num_cpus=cores,
        include_dashboard=False,
        object_store_memory=_STORE_BYTES,
        **quiet,
    )


def _check_same(ray: Any) -> None:
    """What a machine with another personare makes would not be the same clip."""
    ours = version("personare")
    try:
        theirs = ray.get(ray.remote(num_cpus=0)(_version).remote(), timeout=120)
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise EngineError(
            f"the machines of the cluster cannot run personare: {reason}",
            hint="install the same personare on all of them",
        ) from None
    if theirs != ours:
        raise EngineError(
            f"the cluster has personare {theirs}, this machine {ours}", hint="install the same on all"
        )


def _version() -> str:
    return version("personare")


def _answer_as(handlers: dict[signal.Signals, Any]) -> None:
    """ray puts handlers of its own in place of the program's."""
    for number, handler in handlers.items():
        if handler is not None:
            try:
                signal.signal(number, handler)
            except ValueError:  # not in the main thread
                return
