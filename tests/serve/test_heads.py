"""HEAD answers what GET would, without a body."""

from __future__ import annotations

import pytest

from tests.serve.test_safety import is_problem


@pytest.mark.parametrize("path", ["/", "/page/", "/healthz", "/v1/jobs", "/none"])
def test_head_is_get_without_a_body(answering, path):
    client = answering()
    got = client.get(path, follow_redirects=False)
    head = client.head(path, follow_redirects=False)
    assert head.content == b""
    assert (head.status_code, dict(head.headers)) == (got.status_code, dict(got.headers))


def test_head_of_a_clip_reads_no_file(answering, monkeypatch):
    client = answering()
    wanted = {"text": "Hi.", "options": {"look": "mesh"}}
    job = client.post("/v1/jobs", json=wanted).json()["id"]
    clip = client.house.jobs.folder / job / "clip.mp4"
    clip.write_bytes(b"a clip")
    client.house.jobs.begin(job)
    client.house.jobs.complete(job, {}, 6)
    url = f"/v1/jobs/{job}/content"
    assert client.get(url).content == b"a clip"
    monkeypatch.setattr("starlette.responses.anyio.open_file", None)
    head = client.head(url)
    assert (head.status_code, head.content) == (200, b"")
    assert (head.headers["content-length"], head.headers["content-type"]) == ("6", "video/mp4")
    is_problem(client.get(f"/v1/jobs/{job}x"), 404)


@pytest.mark.parametrize("kind", ["jobs", "videos"])
def test_head_of_events_does_not_wait_for_them(answering, kind):
    client = answering()
    job = client.post("/v1/jobs", json={"text": "Hi.", "options": {"look": "mesh"}}).json()["id"]
    head = client.head(f"/v1/{kind}/{job}/events")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"].startswith("text/event-stream")
    assert "content-length" not in head.headers
    assert client.house.changes._listeners == {}, "nobody listens any more"
    assert client.head(f"/v1/{kind}/{job}x/events").status_code == 404
    client.house.cancel_job(job)
    got = client.get(f"/v1/{kind}/{job}/events")
    assert dict(got.headers) == dict(head.headers)
