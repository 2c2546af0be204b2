"""What a caller, an actor and a GPU may have in a service on a cluster."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2 as httpx
import pytest

from personare.cluster.live_host import Card
from personare.errors import Busy
from personare.serve.live.opened import Wanted
from tests.cluster.conftest import ours, until

SMALL = {"options": {"size": 256}}
MEMORY = 1 << 30
SHARE = 0.5


@pytest.fixture(scope="module")
def service(cluster, tmp_path_factory) -> Iterator[str]:
    """The address of a service with two callers: alice has one session at a time."""
    from personare.cluster.deployment import deployment_of, served

    folder = tmp_path_factory.mktemp("limits")
    (folder / "keys.toml").write_text(
        f'[alice]\nkey = "{"a" * 16}"\nsessions = 1\n[bob]\nkey = "{"b" * 16}"\n'
    )
    limits = {"job_memory_bytes": MEMORY}
    service = {"port": 0, "data": str(folder / "data"), "workers": 1, "limits": limits}
    given = {"spare": 1, "gpu": SHARE, "api_keys": "keys.toml", "service": service}
    with served(deployment_of(given, folder)) as url:
        until(lambda: httpx.get(f"{url}/healthz").status_code == 200)
        yield url


def ask(url: str, caller: str, method: str = "POST", path: str = "") -> httpx.Response:
    headers = {"Authorization": f"Bearer {caller[0] * 16}"}
    body = SMALL if method == "POST" else None
    return httpx.request(method, f"{url}/v1/sessions{path}", json=body, headers=headers, timeout=120)


def test_a_key_has_as_many_sessions_as_its_quota_also_after_the_front_was_lost(service):
    first = ask(service, "alice")
    assert first.status_code == 201, first.text
    refused = ask(service, "alice")
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "quota")
    (front,) = ours("ray::ServeReplica:personare:front")
    os.kill(front, signal.SIGKILL)
    until(lambda: _is_there(service, first.json()["id"]))
    assert ask(service, "alice").status_code == 429
    assert ask(service, "bob", "DELETE", f"/{first.json()['id']}").status_code == 404
    assert ask(service, "alice", "DELETE", f"/{first.json()['id']}").status_code == 200
    again = ask(service, "alice")
    assert again.status_code == 201, again.text
    ask(service, "alice", "DELETE", f"/{again.json()['id']}")


def _is_there(service: str, id: str) -> bool:
    """Whether a front that began anew knows the session."""
    try:
        return ask(service, "alice", "GET", f"/{id}").status_code == 200
    except httpx.HTTPError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells the limits of processes")
def test_actors_have_the_memory_that_a_worker_may_have(service):
    until(lambda: ours("ray::_LiveActor") and ours("ray::_MakerActor"))
    pids = {*ours("ray::_LiveActor"), *ours("ray::_MakerActor")}
    until(lambda: all(_limit(pid) is not None for pid in pids))
    for pid in pids:
        assert MEMORY < _limit(pid) < MEMORY + (8 << 30)  # and what Ray had before


def _limit(pid: int) -> int | None:
    lines = Path(f"/proc/{pid}/limits").read_text(encoding="ascii").splitlines()
    (soft,) = [line.split()[3] for line in lines if line.startswith("Max data size")]
    return None if soft == "unlimited" else int(soft)


def test_sessions_with_networks_share_gpus_and_clips_have_theirs(service, nodes, tmp_path):
    """The GPU is one by Ray's books alone."""
    import ray

    from personare import Settings
    from personare.cluster import actors, live_actors
    from personare.provenance.settings import MarksSettings

    directory = live_actors.known_directory()

    def asked(method: str, *given):
        return ray.get(getattr(directory, method).remote(*given), timeout=60)

    def card(name: str) -> Card:
        return Card(name, "token", "alice", "kind", Wanted(engine="musetalk"), SHARE)

    added = nodes.add_node(num_cpus=4, num_gpus=1, object_store_memory=96 << 20)
    try:
        until(lambda: asked("figures")["nodes"] == 2)
        (node,) = [one["NodeID"] for one in ray.nodes() if one["Alive"] and one["Resources"].get("GPU")]
        until(lambda: ray.available_resources().get("GPU") == 1)
        entered = [asked("enter", card(name)) for name in ("one", "two")]
        assert [ray.get(actor.node.remote(), timeout=60) for actor, _ in entered] == [node, node]
        until(lambda: not ray.available_resources().get("GPU"))
        refused = asked("enter", card("three"))
        assert isinstance(refused, Busy)
        assert "no GPU has" in str(refused)
        asked("leave", "one")
        until(lambda: asked("figures") and ray.available_resources().get("GPU") == SHARE)
        maker = actors.maker(Settings(cache_dir=tmp_path), MarksSettings(), actors.leases(), MEMORY, SHARE)
        until(lambda: not ray.available_resources().get("GPU"))
        time.sleep(1.2)  # the directory looks once a second
        assert isinstance(asked("enter", card("three")), Busy)
        ray.kill(maker)
        asked("leave", "two")
        until(lambda: asked("figures") and ray.available_resources().get("GPU") == 1)
    finally:
        nodes.remove_node(added)
    until(lambda: asked("figures")["nodes"] == 1)
