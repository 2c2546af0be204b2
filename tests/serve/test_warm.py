"""`serve --warm`, from the command line to what is loaded first."""

from __future__ import annotations

import pytest

from personare.cli import serve
from personare.cli.app import run_command
from tests.serve.conftest import until
from tests.serve.test_avatars_given_up import Service


def test_the_command_line_says_what_is_loaded_first(home, monkeypatch):
    told = []
    monkeypatch.setattr(serve, "run", told.append)
    assert run_command(["serve", "--warm", "all", "--warm", "puppet"]) == 0
    assert told[0]["warm"] == ("all", "puppet")


def test_it_is_not_ready_until_all_avatars_are_loaded(answering, portrait):
    first = Service(answering(), portrait)
    for name in ("anna", "otto"):
        first.kept(name)
    client = answering(warm=("puppet", "all", "anna"))
    assert [kept for kept in client.house.crew._kept if kept] == [("puppet", "anna", "otto")]
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["warm"]) == (503, False)


@pytest.mark.slow
def test_a_job_goes_to_the_worker_that_has_its_avatar_warm(answering, portrait):
    with answering(workers=2) as client:
        crew = client.app.state.house.crew

        def ended(*jobs: str) -> None:
            until(lambda: all(client.get(f"/v1/jobs/{job}").json()["completed_at"] for job in jobs))

        def clip(avatar: str) -> str:
            answer = client.post("/v1/jobs", json={"avatar": avatar, "text": "Hi."})
            assert answer.status_code == 202, answer.text
            return answer.json()["id"]

        files = {"portrait": ("me.jpg", portrait.read_bytes())}
        avatars = [
            client.post("/v1/avatars", data={"name": name, "options": '{"size": 256}'}, files=files).json()[
                "job"
            ]
            for name in ("anna", "otto")
        ]
        ended(*avatars)
        assert [hand.been for hand in crew._hands] == [{"anna"}, {"otto"}], "each has made one"
        for name in ("otto", "otto", "anna"):
            ended(clip(name))
        ended(clip("otto"), clip("anna"))
        assert [hand.been for hand in crew._hands] == [{"anna"}, {"otto"}]
        assert all(job["status"] == "completed" for job in client.get("/v1/jobs").json()["data"])
