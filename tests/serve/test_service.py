"""A service as its callers use it: our own API by personare.Client and plain HTTP, OpenAI's
face by its official SDK, kill -9 in the middle.
"""

from __future__ import annotations

import json
import os
import signal
import urllib.request
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from personare.serve.jobs.store import TRIES
from tests.conftest import write_wav
from tests.serve.conftest import Running, needs_children, refusal, until

pytestmark = pytest.mark.slow
SMALL = {"size": 256}


@pytest.fixture(scope="module")
def anna(running, portrait) -> str:
    """An avatar of the running service."""
    avatar = running.client.create_avatar(
        "anna",
        portrait,
        options=SMALL,
        consent="A model; she signed on 2026-11-01.",
        consent_until="2999-12-31",
    )
    assert (avatar["status"], avatar["engine"]) == ("ready", "puppet")
    assert avatar["photo"]["faces"] == 1
    assert avatar["consent"].startswith("A model")
    assert avatar["consent_until"] == "2999-12-31"
    kept = json.loads(next(running.folder.rglob("avatar.json")).read_text())
    assert kept["consent"] == {"text": avatar["consent"], "until": "2999-12-31"}
    return "anna"


@pytest.fixture(scope="module")
def long_voice(voice_samples, tmp_path_factory) -> Path:
    return write_wav(tmp_path_factory.mktemp("long") / "long.wav", np.resize(voice_samples, 16000 * 300))


def frames_of(clip: Path) -> int:
    with av.open(str(clip)) as container:
        return sum(1 for _ in container.decode(video=0))


def events_of(url: str, job_id: str) -> list[tuple[str, dict]]:
    """Every event of a job until its end."""
    with urllib.request.urlopen(f"{url}/v1/jobs/{job_id}/events", timeout=120) as stream:
        assert stream.headers["X-Accel-Buffering"] == "no"
        text = stream.read().decode()
    found = []
    for block in text.strip().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if lines:
            found.append((lines["event"], json.loads(lines["data"])))
    return found


def test_orders_of_every_kind(running, anna, portrait, voice, tmp_path):
    client = running.client
    curves, told = tmp_path / "curves.json", []
    report = client.speak(anna, voice, output=tmp_path / "a.mp4", curves=curves, progress=told.append)
    assert (report["avatar"], report["width"]) == ("anna", 256)
    assert frames_of(tmp_path / "a.mp4") == report["frames"] == len(json.loads(curves.read_text())["frames"])
    assert told[-1]["progress"] == 100
    client.speak(portrait, text="Hi.", voice="en-us", options=SMALL, output=tmp_path / "b.mp4")
    guided = client.speak(anna, guide=tmp_path / "b.mp4", output=tmp_path / "c.mp4")
    moved = client.speak(anna, motion=curves, output=tmp_path / "d.mp4")
    assert guided["frames"] == frames_of(tmp_path / "b.mp4")
    assert moved["frames"] == report["frames"]


def test_progress_by_events_downloads_and_what_is_not_there(running, anna, voice, tmp_path):
    client = running.client
    job = client.start(avatar=anna, speech=voice, curves="csv", motion_out=None)
    events = events_of(running.url, job["id"])
    shown = [data["progress"] for _, data in events]
    assert shown == sorted(shown)
    assert [name for name, _ in events] == ["progress"] * (len(events) - 1) + ["done"]
    assert all((data["progress"] == 100) == (data["status"] == "completed") for _, data in events)
    assert events[-1][1]["report"]["audio_seconds"] > 1
    client.download(job["id"], tmp_path / "thumbnail.jpg", "thumbnail")
    assert (tmp_path / "thumbnail.jpg").read_bytes()[:2] == b"\xff\xd8"
    client.download(job["id"], tmp_path / "curves.csv", "curves")
    assert "JawOpen" in (tmp_path / "curves.csv").read_text().splitlines()[0]
    part = urllib.request.Request(
        f"{running.url}/v1/jobs/{job['id']}/content", headers={"Range": "bytes=4-7"}
    )
    with urllib.request.urlopen(part) as answer:
        assert (answer.status, answer.read()) == (206, b"ftyp")
    missing = refusal(lambda: client.download(job["id"], tmp_path / "x", "motion"))
    assert (missing.status, missing.hint) == (404, "ask for them with the job: motion_out")
    client.delete(job["id"])
    assert refusal(lambda: client.job(job["id"])).status == 404


def test_complaint_09_a_cancelled_job_frees_its_worker(running, anna, voice, long_voice, tmp_path):
    client = running.client
    long, after = client.start(avatar=anna, speech=long_voice), client.start(avatar=anna, speech=voice)
    until(lambda: client.job(long["id"])["stage"] == "speaking")
    early = refusal(lambda: client.download(long["id"], tmp_path / "x.mp4"))
    assert (early.status, early.code) == (409, "conflict")
    assert client.job(after["id"])["status"] == "queued"
    assert client.cancel(long["id"])["status"] == "cancelled"
    assert client.wait(after["id"])["status"] == "completed"
    assert refusal(lambda: client.cancel(long["id"])).status == 409
    assert refusal(lambda: client.wait(long["id"])).code == "cancelled"
    for job in (long, after):
        client.delete(job["id"])


def test_complaint_11_what_fails_says_why_at_once(running, anna, tmp_path):
    client = running.client
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"no sound at all")
    job = client.start(avatar=anna, speech=broken)
    error = refusal(lambda: client.wait(job["id"]))
    assert error.code == "unreadable-media"
    assert error.hint
    assert str(running.folder) not in error.message
    assert client.job(job["id"])["attempts"] == 1, "what the input is at fault for is not tried again"
    client.delete(job["id"])
    nobody = refusal(lambda: client.create_avatar("nobody", write_wav(tmp_path / "x.wav", np.zeros(99))))
    assert nobody.message
    assert refusal(lambda: client.avatar("nobody")).status == 404, "the name is free again"


def test_a_photo_is_looked_at_before_it_is_used(running, portrait, tmp_path):
    photo = running.client.check_photo(portrait)
    assert (photo["faces"], photo["person"], photo["width"]) == (1, True, 512)
    assert isinstance(photo["advice"], list)
    wall = tmp_path / "wall.png"
    cv2.imwrite(str(wall), np.full((300, 300, 3), 200, np.uint8))
    error = refusal(lambda: running.client.check_photo(wall))
    assert (error.code, bool(error.hint)) == ("no-face-found", True)
    assert [job for job in jobs(running) if job["kind"] == "photo"] == []


def jobs(running) -> list[dict]:
    with urllib.request.urlopen(f"{running.url}/v1/jobs") as answer:
        return json.load(answer)["data"]


def test_avatars_are_shown_and_their_names_taken_once(running, anna, portrait):
    client = running.client
    assert [avatar["name"] for avatar in client.avatars()] == [anna]
    with urllib.request.urlopen(f"{running.url}/v1/avatars/{anna}/preview.jpg") as answer:
        assert answer.headers["Content-Type"] == "image/jpeg"
        assert answer.read(2) == b"\xff\xd8"
    taken = refusal(lambda: client.create_avatar(anna, portrait))
    assert (taken.status, taken.code) == (409, "conflict")
    client.create_avatar("otto", portrait, options=SMALL)
    client.delete_avatar("otto")
    assert refusal(lambda: client.avatar("otto")).status == 404


def test_the_same_key_gives_the_same_job(running, anna, voice, tmp_path):
    client = running.client
    first = client.start(idempotency_key="k1", avatar=anna, speech=voice)
    assert client.start(idempotency_key="k1", avatar=anna, speech=voice)["id"] == first["id"]
    other = refusal(lambda: client.start(idempotency_key="k1", avatar=anna, text="Other."))
    assert (other.status, other.code) == (422, "idempotency-key-reused")
    client.delete(first["id"])


def test_what_there_is(running):
    client = running.client
    (puppet,) = [engine for engine in client.engines() if engine["engine"] == "puppet"]
    assert puppet["ready"]
    assert puppet["options"]["size"]["default"] == 512
    assert "en-us" in [voice["name"] for voice in client.voices() if voice["ready"]]
    with urllib.request.urlopen(f"{running.url}/metrics") as answer:
        text = answer.read().decode()
    assert 'personare_requests_total{method="GET",route="/v1/engines",status="200"}' in text
    assert "personare_workers 1.0" in text
    with urllib.request.urlopen(f"{running.url}/readyz") as answer:
        assert json.load(answer)["engines"] == ["puppet"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the SDK's own, of its videos API
def test_the_official_sdk_goes_its_whole_round(running, anna, voice, portrait, tmp_path):
    openai = pytest.importorskip("openai")
    with openai.OpenAI(api_key="none", base_url=f"{running.url}/v1", max_retries=0) as sdk:
        sdk_round(openai, sdk, running.client, anna, voice, portrait, tmp_path)


def sdk_round(openai, sdk, client, anna, voice, portrait, tmp_path):
    others = [video.id for video in sdk.videos.list()]  # of tests before
    sound = ("hello.wav", voice.read_bytes(), "audio/wav")
    made = sdk.videos.create_and_poll(
        prompt="", model="puppet", size="256x256", input_reference=sound, extra_body={"avatar": anna},
        poll_interval_ms=200,
    )  # fmt: skip
    assert (made.status, made.progress, made.size, made.model) == ("completed", 100, "256x256", "puppet")
    assert float(made.seconds) > 1
    clip = tmp_path / "sdk.mp4"
    clip.write_bytes(sdk.videos.download_content(made.id).read())
    assert frames_of(clip) > 25
    assert sdk.videos.download_content(made.id, variant="thumbnail").read()[:2] == b"\xff\xd8"
    photo = ("me.jpg", portrait.read_bytes(), "image/jpeg")
    key = {"Idempotency-Key": "sdk"}
    spoken = sdk.videos.create(prompt="Hi.", size="256x256", input_reference=photo, extra_headers=key)
    assert spoken.prompt == "Hi."
    again = sdk.videos.create(prompt="Hi.", size="256x256", input_reference=photo, extra_headers=key)
    assert again.id == spoken.id
    assert sdk.videos.poll(spoken.id, poll_interval_ms=200).status == "completed"
    assert [video.id for video in sdk.videos.list(limit=1)][:2] == [spoken.id, made.id]
    otto = sdk.videos.create_character(name="otto", video=photo)
    found = sdk.videos.get_character(otto.id)
    assert (otto.name, found.name, found.created_at) == ("otto", "otto", otto.created_at)
    with pytest.raises(openai.NotFoundError):
        sdk.videos.get_character("nobody")
    for broken in (sound[1], sound):
        with pytest.raises(openai.UnprocessableEntityError, match="input_reference"):
            sdk.videos.create(prompt="", extra_body={"avatar": anna, "audio": broken})
    with pytest.raises(openai.NotFoundError):
        sdk.videos.retrieve("video_none")
    with pytest.raises(openai.UnprocessableEntityError, match="no engine named"):
        sdk.videos.create(prompt="Hi.", model="sora-2", extra_body={"avatar": anna})
    client.wait(client.avatar("otto")["job"])
    client.delete_avatar("otto")
    for video in (made, spoken):
        assert sdk.videos.delete(video.id).deleted
    assert [video.id for video in sdk.videos.list()] == others


@needs_children
def test_complaint_08_server_and_worker_are_killed_and_the_same_job_completes(
    tmp_path, portrait, voice_samples
):
    service = Running(tmp_path).start()
    voice = write_wav(tmp_path / "voice.wav", np.resize(voice_samples, 16000 * 3))
    job = service.client.start(portrait=portrait, speech=voice, options=SMALL)
    waiting = service.client.start(portrait=portrait, text="Hi.", options=SMALL)
    until(lambda: service.client.job(job["id"])["stage"] == "speaking")
    before = service.client.job(job["id"])
    assert service.end(kill=True) == -signal.SIGKILL

    service.start()
    assert service.client.job(job["id"])["progress"] >= before["progress"]
    until(lambda: service.client.job(job["id"])["stage"] == "speaking")
    (worker,) = children(service.process.pid)
    os.kill(worker, signal.SIGKILL)
    done = service.client.wait(job["id"])
    assert (done["progress"], done["attempts"]) == (100, TRIES)
    assert service.client.wait(waiting["id"])["attempts"] == 1
    service.client.download(job["id"], tmp_path / "out.mp4")
    assert frames_of(tmp_path / "out.mp4") == 75
    until(lambda: not list((tmp_path / "home" / "serve" / "jobs" / job["id"]).glob(".*")))
    assert service.end() == 0, service.log()
    assert "Hi." not in service.log(), "texts are not logged"


def children(pid: int) -> list[int]:
    """Worker processes of a server."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
            command = path.with_name("cmdline").read_bytes()
        except OSError:
            continue
        if int(fields[1]) == pid and b"spawn_main" in command:
            found.append(int(path.parent.name))
    return found
