"""Engines with networks behind the service, from tiny checkpoints in the released layout."""

from __future__ import annotations

import pytest

from tests.conftest import write_wav
from tests.serve.conftest import Running
from tests.serve.live_clients import session, watched

pytestmark = [pytest.mark.neural, pytest.mark.slow]


@pytest.fixture(scope="module")
def service(weights, tmp_path_factory):
    folder = tmp_path_factory.mktemp("neural")
    service = Running(folder, "--weights", weights).start()
    yield service
    assert service.end() == 0, service.log()
    assert "Traceback" not in service.log()


def test_jobs_of_engines_with_networks(service, portrait, voice_samples, tmp_path):
    client = service.client
    ready = {engine["engine"] for engine in client.engines() if engine["ready"]}
    assert {"artalk", "float", "musetalk"} <= ready
    short = write_wav(tmp_path / "short.wav", voice_samples[:3200])
    flown = client.speak(portrait, short, engine="float", output=tmp_path / "float.mp4")
    assert (flown["engine"], flown["frames"]) == ("float", 5)
    job = client.wait(client.start(speech=short, engine="artalk", motion_out="npz")["id"])
    assert set(job["files"]) == {"video", "thumbnail", "motion"}
    assert client.download(job["id"], tmp_path / "motion.npz", "motion").stat().st_size > 0


@pytest.mark.nightly  # a process of its own imports torch and diffusers
def test_musetalk_speaks_live_and_its_first_word_is_not_taken_for_a_hang(service):
    streaming = {"audio": "streaming"}
    with (
        session(service, engine="musetalk", options=streaming) as made,
        watched(service, made) as seen,
    ):
        seen.pictures(1)
        seen.send("say", text="No.", voice="en-us")
        finished = seen.until("utterance.finished")
    assert not finished["interrupted"]
    assert [told["type"] for told in seen.messages if told["type"] == "error"] == []
    assert seen.sound().any()
