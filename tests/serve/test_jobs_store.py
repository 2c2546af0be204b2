"""Rows of jobs: their order, tries, keys, quotas; what a killed server leaves behind."""

from __future__ import annotations

from dataclasses import replace

import pytest

from personare.serve.database import Database
from personare.serve.jobs.pool import JobPool, percent
from personare.serve.jobs.store import TRIES, JobStore, Row, new_id
from personare.serve.problems import Problem
from personare.work.queue import Ended
from personare.work.tasks import Step

ROW = Row(
    id="", kind="clip", caller="", status="queued", progress=0, stage="", created=1.0, started=None,
    done=None, attempts=0, request={"text": "Hello."}, inputs={}, place="puppet", fills=False, key=None,
    digest="d", report=None, error=None, bytes=0,
)  # fmt: skip


@pytest.fixture
def store(tmp_path):
    database = Database(tmp_path / "serve.sqlite")
    yield JobStore(tmp_path / "jobs", database)
    database.close()


def added(store, most=100, each=100, a_day=None, **changes):
    return store.add(replace(ROW, id=new_id(), **changes), most, each, a_day)


def test_first_come_first_served_but_whoever_has_much_under_way_waits(store):
    busy = [added(store, caller="busy", created=float(n)) for n in range(3)]
    other = added(store, caller="other", created=9.0)
    assert store.waiting()[0].name == busy[0].id
    store.begin(busy[0].id)
    assert [waiting.name for waiting in store.waiting()] == [other.id, busy[1].id, busy[2].id]
    assert store.begin(busy[0].id) is None, "nobody takes it twice"


def test_a_look_at_a_photo_comes_before_all_clips(store):
    clip, photo = added(store), added(store, kind="photo", created=9.0)
    assert [waiting.name for waiting in store.waiting()] == [photo.id, clip.id]


def test_what_was_sent_and_is_lost_is_named(store):
    """And not a path of this machine, which callers cannot check."""
    pool = JobPool(store, None, lambda name: None)
    job = added(store, kind="photo", inputs={"portrait": "portrait.jpg"})
    (store.folder / job.id).mkdir()
    task = pool.take(job.id)
    pool.end(Ended(task, error="portrait.jpg does not exist", hint="check the path", kind="UnreadableMedia"))
    error = store.get(job.id).error
    assert error["code"] == "input-lost"
    assert error["message"].endswith("portrait")
    assert "path" not in error["hint"]


def test_three_tries_in_all_and_dismissal_is_none(store):
    job = added(store)
    for _ in range(TRIES - 1):
        store.begin(job.id)
        assert store.wait_again(job.id)
    store.begin(job.id)
    assert store.wait_again(job.id, blameless=True)
    assert store.begin(job.id).attempts == TRIES
    assert not store.wait_again(job.id)


def test_complaint_08_a_killed_server_forgets_nothing_and_progress_never_falls(tmp_path, store):
    tried, fresh, waiting = added(store), added(store), added(store)
    for _ in range(TRIES):
        store.wait_again(tried.id)
        store.begin(tried.id)
    store.begin(fresh.id)
    assert store.advance(fresh.id, 40, "speaking")
    again = JobStore(tmp_path / "jobs", Database(tmp_path / "serve.sqlite"))  # as after kill -9
    assert set(again.recover()) == {tried.id, fresh.id}
    assert (again.get(fresh.id).status, again.get(fresh.id).progress) == ("queued", 40)
    assert again.get(waiting.id).status == "queued"
    assert (again.get(tried.id).status, again.get(tried.id).error["code"]) == ("failed", "worker-lost")
    again.begin(fresh.id)
    assert not again.advance(fresh.id, 10, "")
    assert again.get(fresh.id).progress == 40


def test_complaint_20_progress_is_100_exactly_with_completed(store):
    job = added(store)
    store.begin(job.id)
    steps = [
        Step("puppet.rig", 3, 4),
        Step("speaking", 0, 50),
        Step("speaking", 50, 50),
        Step("speaking", 10**6, None),
    ]
    seen = [percent(step, 50.0) for step in steps]
    assert seen == sorted(seen)
    assert seen[-1] == 99
    assert store.complete(job.id, {"frames": 50}, 10)
    assert (store.get(job.id).status, store.get(job.id).progress) == ("completed", 100)


def test_what_is_cancelled_is_not_completed_by_a_late_worker(store):
    job = added(store)
    store.begin(job.id)
    assert store.cancel(job.id)
    assert not store.complete(job.id, {}, 0)
    assert not store.wait_again(job.id)
    assert store.get(job.id).status == "cancelled"
    assert not store.cancel(job.id)


def test_a_key_gives_the_first_job_again_and_another_request_is_refused(store):
    first = added(store, key="k", caller="anna")
    assert added(store, key="k", caller="anna").id == first.id
    assert added(store, key="k", caller="otto").id != first.id, "keys are each caller's own"
    with pytest.raises(Problem) as caught:
        added(store, key="k", caller="anna", digest="other")
    assert (caught.value.status, caught.value.code) == (422, "idempotency-key-reused")


def test_quotas(store):
    added(store, caller="anna")
    for limits in ({"most": 1}, {"each": 1}, {"a_day": 1}):
        with pytest.raises(Problem) as caught:
            added(store, caller="anna", **limits)
        assert caught.value.status == 429
        assert int(caught.value.headers["Retry-After"]) > 0
    added(store, caller="otto", each=1)


def test_jobs_a_day_are_counted_though_they_are_deleted(store):
    """A quota of two: who deletes, or whose jobs are swept, has had them all the same."""
    for created in (100.0, 200.0):
        store.remove(added(store, caller="anna", a_day=2, created=created).id)
    with pytest.raises(Problem) as caught:
        added(store, caller="anna", a_day=2, created=300.0)
    assert caught.value.status == 429
    assert caught.value.headers["Retry-After"] == str(86400 - 200), "then the first is a day old"
    added(store, caller="otto", a_day=2, created=300.0)
    added(store, caller="anna", a_day=2, created=86400.0 + 100)
    with pytest.raises(Problem):
        added(store, caller="anna", a_day=2, created=86400.0 + 150)


def test_pages_and_who_may_see(store):
    ids = [added(store, caller="anna", created=1.0).id for _ in range(5)]
    added(store, caller="otto")
    first, more = store.page("anna", limit=2)
    second, _ = store.page("anna", limit=2, after=first[-1].id)
    third, no_more = store.page("anna", limit=2, after=second[-1].id)
    assert [row.id for row in (*first, *second, *third)] == ids[::-1]
    assert (more, no_more) == (True, False)
    assert [row.id for row in store.page("anna", limit=9, ascending=True)[0]] == ids
    with pytest.raises(Problem):
        store.get(ids[0], "otto")
    with pytest.raises(Problem):
        store.page("otto", limit=2, after=ids[0])


def test_retention_takes_what_has_ended_and_nothing_else(store):
    ended, waiting = added(store), added(store)
    for job in (ended, waiting):
        (store.folder / job.id).mkdir()
    store.begin(ended.id)
    store.complete(ended.id, {}, 0)
    assert store.sweep(before=1.0) == 0
    assert store.sweep(before=store.get(ended.id).done + 1) == 1
    assert [path.name for path in store.folder.iterdir()] == [waiting.id]
    assert store.get(waiting.id).status == "queued"
