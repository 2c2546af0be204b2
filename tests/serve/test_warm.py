"""`serve --warm`, from the command line to what is loaded first."""

from __future__ import annotations

from personare.cli import serve
from personare.cli.app import run_command
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
    assert client.house.crew._kept == [("puppet", "anna", "otto")]
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["warm"]) == (503, False)
