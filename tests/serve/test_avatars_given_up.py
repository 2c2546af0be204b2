"""Avatars that are cancelled, deleted or lost while they are prepared belong to nobody
afterwards, whenever that happens; and those that stay are seen by their caller alone.
"""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime

import pytest

from personare.serve.database import Database
from personare.serve.jobs.pool import JobPool
from personare.serve.jobs.store import TRIES
from personare.serve.keys import api_key
from personare.shelf.manifest import MANIFEST, AvatarManifest, folder_name, manifest_text
from personare.work.queue import Ended
from personare.work.tasks import Creation
from tests.serve.test_safety import KEY, OTHER, is_problem

ANNA, OTTO = ({"Authorization": f"Bearer {key}"} for key in (KEY, OTHER))
REPORT = {"photo": {"faces": 1}}


class Service:
    """A service without workers; a test does what a worker would."""

    def __init__(self, client, portrait) -> None:
        self.client, self.house, self.portrait = client, client.house, portrait
        self.pool = JobPool(self.house.jobs, self.house.avatars, lambda name: None)

    def asked(self, name="anna") -> str:
        """An avatar is wanted; the id of its job."""
        files = {"portrait": ("me.jpg", self.portrait.read_bytes())}
        answer = self.client.post("/v1/avatars", data={"name": name}, files=files, headers=ANNA)
        assert answer.status_code == 202, answer.text
        return answer.json()["job"]

    def kept(self, name="anna") -> None:
        """As a worker's last step: it is on the shelf."""
        manifest = AvatarManifest(
            name=name,
            engine="puppet",
            options={},
            portrait="0" * 64,
            portrait_file=f"portrait-{'0' * 16}.jpg",
            keys={},
            created=datetime.now(UTC),
        )
        folder = self.house.studio.shelf.folder / folder_name(name)
        folder.mkdir(parents=True)
        (folder / MANIFEST).write_text(manifest_text(manifest))

    def ended(self, task, **how) -> None:
        self.pool.end(Ended(task, **how))

    def names(self, who) -> list[str]:
        data = self.client.get("/v1/avatars", headers=who).json()["data"]
        return [avatar["name"] for avatar in data]

    def on_shelf(self) -> list[str]:
        return [manifest.name for manifest in self.house.studio.shelf.list()]


@pytest.fixture
def service(answering, portrait) -> Service:
    return Service(answering(keys=(api_key("anna", KEY), api_key("otto", OTHER))), portrait)


CANCELLED = {"error": "cancelled", "kind": "Cancelled"}
LOST = {"error": "the worker died", "kind": "WorkerLost"}


@pytest.mark.parametrize("way", ["POST /v1/jobs/{}/cancel", "DELETE /v1/jobs/{}", "DELETE /v1/avatars/anna"])
@pytest.mark.parametrize(
    ("kept", "end"),
    [
        ("before", {"report": REPORT}),
        ("before", LOST),
        ("after", {"report": REPORT}),
        ("after", LOST),
        ("never", CANCELLED),
    ],
)
def test_who_gives_up_an_avatar_leaves_it_to_nobody(service, way, kept, end):
    """Whether its worker keeps it before that, after it or never, and whatever it says then."""
    job = service.asked()
    task = service.pool.take(job)
    if kept == "before":
        service.kept()
    method, path = way.format(job).split()
    assert service.client.request(method, path, headers=ANNA).status_code == 200
    if kept == "after":
        service.kept()
    for who in (ANNA, OTTO):
        assert service.names(who) == [], "not while its worker is still at it, either"
        for path in ("/v1/avatars/anna", "/v1/avatars/anna/preview.jpg"):
            is_problem(service.client.get(path, headers=who), 404)
        is_problem(service.client.post("/v1/jobs", json={"avatar": "anna", "text": "Hi."}, headers=who), 404)
    service.ended(task, **end)
    assert service.on_shelf() == []
    assert service.names(ANNA) == service.names(OTTO) == []
    service.asked()


def test_the_name_of_one_that_is_given_up_is_free_a_little_later(service, portrait):
    job = service.asked()
    service.pool.take(job)
    service.client.post(f"/v1/jobs/{job}/cancel", headers=ANNA)
    files = {"portrait": ("me.jpg", portrait.read_bytes())}
    for who in (ANNA, OTTO):
        answer = service.client.post("/v1/avatars", data={"name": "anna"}, files=files, headers=who)
        is_problem(answer, 409)
        assert (answer.headers["retry-after"], answer.headers["x-should-retry"]) == ("2", "true")


def test_one_that_waits_is_given_up_at_once(service):
    service.client.post(f"/v1/jobs/{service.asked()}/cancel", headers=ANNA)
    job = service.asked()
    service.pool.take(job)
    service.kept()
    service.pool.give_back(Ended(Creation(job, "anna", None), **LOST))
    assert service.client.get(f"/v1/jobs/{job}", headers=ANNA).json()["status"] == "queued"
    service.client.delete(f"/v1/jobs/{job}", headers=ANNA)
    assert service.on_shelf() == [], "its worker died when it had kept it"
    service.asked()


def test_one_that_is_ready_stays_its_callers_when_its_job_is_deleted(service):
    job = service.asked()
    task = service.pool.take(job)
    service.kept()
    service.ended(task, report=REPORT)
    service.client.delete(f"/v1/jobs/{job}", headers=ANNA)
    service.house.avatars.recover()
    assert (service.names(ANNA), service.names(OTTO)) == (["anna"], [])
    assert service.client.get("/v1/avatars/anna", headers=ANNA).json()["photo"] == REPORT["photo"]


def test_a_worker_that_says_that_the_name_is_taken_takes_nothing_away(service):
    """Of one that was made on the command line meanwhile."""
    task = service.pool.take(service.asked())
    service.kept()
    service.ended(task, error="there is an avatar named anna", kind="InvalidOption")
    assert service.on_shelf() == ["anna"]


def test_after_a_kill_what_was_given_up_is_removed_and_what_cannot_be_made_is_told(service):
    given_up = service.asked()
    service.pool.take(given_up)
    service.kept()
    service.client.post(f"/v1/jobs/{given_up}/cancel", headers=ANNA)
    tried = service.asked("tried")
    for _ in range(TRIES):
        service.house.jobs.wait_again(tried)
        service.pool.take(tried)
    service.kept("tried")
    # kill -9, and the next start
    service.house.jobs.recover()
    service.house.avatars.recover()
    assert service.on_shelf() == []
    job = service.client.get(f"/v1/jobs/{tried}", headers=ANNA).json()
    assert (job["status"], job["error"]["code"]) == ("failed", "worker-lost")
    is_problem(service.client.get("/v1/avatars/tried", headers=ANNA), 404)
    for name in ("anna", "tried"):
        service.asked(name)


def test_an_avatar_is_kept_while_its_clips_wait(service):
    """Else another caller could take its name, and the clip would show another face."""
    task = service.pool.take(service.asked())
    service.kept()
    service.ended(task, report=REPORT)
    wanted = {"avatar": "anna", "text": "Hi."}
    clip = service.client.post("/v1/jobs", json=wanted, headers=ANNA).json()["id"]
    problem = is_problem(service.client.delete("/v1/avatars/anna", headers=ANNA), 409)
    assert "made: 1" in problem["detail"]
    assert problem["hint"]
    service.client.post(f"/v1/jobs/{clip}/cancel", headers=ANNA)
    assert service.client.delete("/v1/avatars/anna", headers=ANNA).status_code == 200
    assert service.on_shelf() == []


def test_a_database_of_an_earlier_version_is_read(tmp_path):
    path = tmp_path / "serve.sqlite"
    with sqlite3.connect(path) as old:
        old.execute(
            "create table avatars(name text primary key, caller text not null, job text, "
            "consent text not null, created real not null, photo text)"
        )
        old.execute("insert into avatars values('anna','','job','',1.0,null)")
    old.close()
    for _ in range(2):
        database = Database(path)
        assert database.row("select * from avatars")["wanted"] == 1
        database.close()
