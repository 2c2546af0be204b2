"""The same Idempotency-Key gives the first job, as long as it is kept: whatever became of its
uploads and its avatar since, however much is kept, and though two ask at once.
"""

from __future__ import annotations

import threading

from personare.serve.jobs.requests import AvatarRequest
from personare.serve.settings import Limits
from tests.serve.test_safety import is_problem

KEY = {"Idempotency-Key": "k1"}


def uploaded(client, portrait) -> str:
    return client.post("/v1/files", files={"file": ("me.jpg", portrait.read_bytes())}).json()["id"]


def test_what_was_sent_may_be_gone(answering, portrait):
    client = answering()
    id_ = uploaded(client, portrait)
    wanted = {
        "jobs": {"portrait": id_, "text": "Hi."},
        "photos": {"portrait": id_},
        "avatars": {"portrait": id_, "name": "anna"},
    }

    def ids(noun) -> list[str]:
        key = {"Idempotency-Key": noun}
        answers = [client.post(f"/v1/{noun}", json=wanted[noun], headers=key) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [202, 202]
        return [answer.json()["job" if noun == "avatars" else "id"] for answer in answers]

    before = {noun: ids(noun) for noun in wanted}
    client.delete(f"/v1/files/{id_}")
    for noun, found in before.items():
        assert len({*found, *ids(noun)}) == 1, noun
    other = {**wanted["jobs"], "text": "Other."}
    is_problem(client.post("/v1/jobs", json=other, headers={"Idempotency-Key": "jobs"}), 404)
    assert client.house.jobs.counts() == {"queued": 3}


def test_quotas_may_be_used_up(answering, portrait):
    client = answering(limits=Limits(kept_bytes_each=2 * portrait.stat().st_size))
    form = {"portrait": ("me.jpg", portrait.read_bytes())}
    first = client.post("/v1/jobs", files=form, data={"text": "Hi."}, headers=KEY)
    for _ in range(2):
        uploaded(client, portrait)
    is_problem(client.post("/v1/jobs", files=form, data={"text": "Hi."}), 429)
    again = client.post("/v1/jobs", files=form, data={"text": "Hi."}, headers=KEY)
    assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])
    changed = client.post("/v1/jobs", files=form, data={"text": "Other."}, headers=KEY)
    assert is_problem(changed, 422)["error"]["code"] == "idempotency-key-reused"


def test_two_avatars_at_once_are_one(answering, portrait, monkeypatch):
    """The second asks while the first has its name, and no row yet."""
    client = answering()
    wanted = {"portrait": uploaded(client, portrait), "name": "anna"}
    reserve, answers = client.house.avatars.reserve, []

    def ask() -> None:
        answers.append(client.post("/v1/avatars", json=wanted, headers=KEY))

    second = threading.Thread(target=ask)

    def slowly(request: AvatarRequest, caller: str, job: str) -> None:
        reserve(request, caller, job)
        if second.ident is None:
            second.start()
            second.join(0.3)

    monkeypatch.setattr(client.house.avatars, "reserve", slowly)
    ask()
    second.join()
    assert [answer.status_code for answer in answers] == [202, 202]
    assert len({answer.json()["job"] for answer in answers}) == 1
    assert client.house.jobs.counts() == {"queued": 1}
