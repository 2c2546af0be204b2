"""One Ray cluster for all tests of this folder, started here. Without ray they are skipped."""

from __future__ import annotations

import gc
import importlib.util
import os
import secrets
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from personare.cluster.joined import joined
from personare.work.workers import Capacity

PATIENCE_SECONDS = 120.0
HAS_RAY = importlib.util.find_spec("ray") is not None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.skipif(not HAS_RAY, reason="ray is not installed"))
            # ray warns of its own ways
            item.add_marker(pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"))


@pytest.fixture(scope="session")
def nodes(tmp_path_factory):
    """Ray nodes of this machine: `add_node(num_cpus=2)` and `remove_node`, as Ray's own tests
    do. The head has two cores.
    """
    os.environ["PERSONARE_HOME"] = str(tmp_path_factory.mktemp("cluster"))
    os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    os.environ["RAY_AUTH_MODE"] = "token"  # nodes that are begun this way would have none otherwise
    from ray.cluster_utils import Cluster as Nodes

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = Nodes(
            initialize_head=True,
            head_node_args={
                "num_cpus": 2,
                "object_store_memory": 128 << 20,
                "include_dashboard": False,
            },
        )
        os.environ["RAY_ADDRESS"] = found.address
        yield found
        found.shutdown()
        del os.environ["RAY_ADDRESS"]
        gc.collect()  # ray kills its processes and does not wait for them: Popen says so


@pytest.fixture(scope="session")
def cluster(nodes) -> Iterator[Capacity]:
    """The same, joined."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with joined("ray") as found:
            yield found


def until(happened: Callable[[], object], seconds: float = PATIENCE_SECONDS) -> None:
    """Wait for something. Raises AssertionError if it does not happen."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def ours(title: str) -> list[int]:
    """Processes of this cluster whose title begins so, as Ray sets it."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and (process / "cmdline").read_bytes().startswith(title.encode()):
                environment = (process / "environ").read_bytes()
                if f"RAY_AUTH_TOKEN={os.environ['RAY_AUTH_TOKEN']}".encode() in environment:
                    found.append(int(process.name))
        except OSError:
            continue
    return found
