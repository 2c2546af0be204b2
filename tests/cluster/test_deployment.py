"""A service on a cluster, and what it loses: actors, the directory, the front, a node."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2 as httpx
import numpy as np
import pytest
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from personare import Client
from personare.serve.live.admission import SHARE
from tests.cluster.conftest import ours, until
from tests.conftest import write_wav
from tests.serve.live_clients import Seen

SMALL = {"options": {"size": 256}}


@pytest.fixture(scope="module")
def service(cluster, tmp_path_factory) -> Iterator[str]:
    """The address of a service with a spare actor on every node."""
    from personare.cluster.deployment import Deployment, served

    data = tmp_path_factory.mktemp("service")
    given = {"spare": 1, "service": {"port": 0, "data": data, "workers": 1}}
    with served(Deployment.model_validate(given)) as url:
        until(lambda: httpx.get(f"{url}/healthz").status_code == 200)
        yield url


@pytest.fixture
def directory(service):
    from personare.cluster.live_actors import known_directory

    return known_directory()


def asked(actor, method: str, *given):
    import ray

    return ray.get(getattr(actor, method).remote(*given), timeout=60)


@contextmanager
def session(url: str, **wanted: object) -> Iterator[dict]:
    made = httpx.post(f"{url}/v1/sessions", json={**SMALL, **wanted}, timeout=120)
    assert made.status_code == 201, made.text
    try:
        yield made.json()
    finally:
        httpx.delete(f"{url}/v1/sessions/{made.json()['id']}", timeout=60)


@contextmanager
def watched(url: str, made: dict) -> Iterator[Seen]:
    address = url.replace("http", "ws") + made["ws"]
    with connect(f"{address}?token={made['token']}&media=mjpeg", max_size=None) as socket:
        yield Seen(socket)


def speaks(seen: Seen) -> int:
    """Have it say something; the generation of what is heard."""
    seen.send("say", text="One two three.")
    place = len(seen.packets)
    seen.until("utterance.started")
    seen.until("utterance.finished")
    assert np.abs(seen.sound().astype(int)).max() > 500
    return seen.packets[max(place, len(seen.packets) - 1)][2]


def pid_of(directory, made: dict) -> int:
    (found,) = [state.pid for _, state in asked(directory, "sessions") if state.card.id == made["id"]]
    return found


def test_a_killed_actor_s_session_speaks_again(service, directory, record_property):
    with session(service) as made, watched(service, made) as seen:
        seen.send("say", text="one two three four five six seven eight nine ten")
        started = seen.until("utterance.started")
        pid = pid_of(directory, made)
        os.kill(pid, signal.SIGKILL)
        began = time.monotonic()
        lost = seen.until("error")["error"]
        assert (lost["code"], lost["resumed"], lost["generation"]) == ("worker_lost", True, 1)
        finished = [message for message in seen.messages if message["type"] == "utterance.finished"]
        assert [(one["id"], one["interrupted"]) for one in finished] == [(started["id"], True)]
        assert speaks(seen) == 1
        record_property("spoken again after, seconds", round(time.monotonic() - began, 1))
        assert pid_of(directory, made) != pid
        assert httpx.get(f"{service}/v1/sessions/{made['id']}").json()["generation"] == 1
    until(lambda: asked(directory, "figures")["cores_used"] == 0)


def test_an_actor_that_died_while_it_waited_is_not_given(service, directory):
    until(lambda: sum(asked(directory, "spares").values()))
    for pid in ours("ray::_LiveActor"):
        os.kill(pid, signal.SIGKILL)
    with session(service) as made, watched(service, made) as seen:
        assert speaks(seen) == 0
    until(lambda: asked(directory, "figures")["cores_used"] == 0)


def test_sessions_outlive_the_directory(service, directory, record_property):
    import ray

    with session(service) as made, watched(service, made) as seen:
        seen.pictures(2)
        used = asked(directory, "figures")["cores_used"]
        before = ours("ray::_DirectoryActor")
        ray.kill(directory, no_restart=False)
        began = time.monotonic()
        until(lambda: set(ours("ray::_DirectoryActor")) - set(before))
        until(lambda: _figures(directory).get("cores_used"))
        record_property("directory knows all again after, seconds", round(time.monotonic() - began, 1))
        assert _figures(directory)["cores_used"] == pytest.approx(used)
        assert speaks(seen) == 0
        pid = pid_of(directory, made)
        ray.kill(directory, no_restart=False)  # and both at once, as where their node goes
        os.kill(pid, signal.SIGKILL)
        assert _begun_anew(seen) == 1
    until(lambda: _figures(directory).get("cores_used") == 0)


def _figures(directory) -> dict:
    import ray

    try:
        return asked(directory, "figures")
    except ray.exceptions.RayError:
        return {}


def test_sessions_and_jobs_outlive_the_front(
    service, directory, portrait, voice_samples, tmp_path, record_property
):
    voice = write_wav(tmp_path / "voice.wav", np.resize(voice_samples, 16000 * 8))
    client = Client(service, "")
    job = client.start(portrait=portrait, speech=voice, options={"size": 256})
    with session(service) as made:
        pid = pid_of(directory, made)
        with watched(service, made) as seen:
            seen.pictures(2)
            (front,) = ours("ray::ServeReplica:personare:front")
            os.kill(front, signal.SIGKILL)
            began = time.monotonic()
            with pytest.raises(WebSocketException):
                seen.until("what never comes")
        again = None
        while again is None:
            try:
                with watched(service, made) as seen:
                    if seen.until("session.ready")["id"] == made["id"]:
                        again = speaks(seen)
            except (WebSocketException, OSError):
                assert time.monotonic() - began < 120
                time.sleep(0.2)
        record_property("spoken again after, seconds", round(time.monotonic() - began, 1))
        assert pid_of(directory, made) == pid  # the very same performance
    done = client.wait(job["id"])
    assert (done["status"], done["attempts"]) == ("completed", 2)
    client.download(job["id"], tmp_path / "out.mp4")


@contextmanager
def deploys(*switches: str, told: str) -> Iterator[None]:
    """The command line does something with a node; what it says at the end."""
    command = [sys.executable, "-m", "personare", "deploy", *switches]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        yield
        out, complaints = running.communicate(timeout=120)
    assert running.returncode == 0, complaints
    assert told in out


def test_a_node_comes_drains_and_goes(service, directory, nodes, record_property):
    import ray

    (head,) = asked(directory, "spares")
    began = time.monotonic()
    added = nodes.add_node(num_cpus=2, object_store_memory=96 << 20)
    until(lambda: asked(directory, "figures")["nodes"] == 2)
    until(lambda: all(asked(directory, "spares").values()))
    record_property("an actor waits on a new node after, seconds", round(time.monotonic() - began, 1))
    (node,) = asked(directory, "spares").keys() - {head}
    with deploys("--drain", head, told="0 are still there"):
        pass
    before = ours("ray::_DirectoryActor")
    ray.kill(directory, no_restart=False)  # and the next one knows
    until(lambda: set(ours("ray::_DirectoryActor")) - set(before))
    until(lambda: _figures(directory).get("nodes") == 2)
    assert asked(directory, "figures")["cores"] == pytest.approx(SHARE * 2)
    with session(service) as made, watched(service, made) as seen:  # so it is on the new one
        seen.pictures(2)
        with deploys("--undrain", head, told="sessions go there again"):
            pass
        with deploys("--drain", node, "--move", told="1 begin anew elsewhere"):
            assert _begun_anew(seen) == 1
        asked(directory, "drain", node, False, False)
        asked(directory, "drain", head, True, True)
        assert _begun_anew(seen) == 2
        asked(directory, "drain", head, False, False)
        began = time.monotonic()
        nodes.remove_node(added)
        assert _begun_anew(seen) == 3
        record_property("spoken again after, seconds", round(time.monotonic() - began, 1))
    until(lambda: asked(directory, "figures")["nodes"] == 1)


def _begun_anew(seen: Seen) -> int:
    """The generation in which a session speaks that has lost its place."""
    lost = seen.until("error")["error"]
    assert (lost["code"], lost["resumed"]) == ("worker_lost", True)
    assert speaks(seen) == lost["generation"]
    generation: int = lost["generation"]
    return generation


def test_more_than_the_cores_can_draw_is_503(service, directory):
    made = []
    try:
        while len(made) < 20:
            # large ones: small ones that nobody watches would have ended before so many came
            answer = httpx.post(f"{service}/v1/sessions", json={}, timeout=120)
            if answer.status_code != 201:
                break
            made.append(answer.json()["id"])
        assert (answer.status_code, "retry-after" in answer.headers) == (503, True), answer.text
        assert json.loads(answer.text)["detail"].startswith("sessions take")
        figures = asked(directory, "figures")
        assert figures["cores_used"] <= figures["cores"]
    finally:
        for id in made:
            httpx.delete(f"{service}/v1/sessions/{id}", timeout=60)
