"""Options over HTTP are numbers, words and names of styles: never files, whatever the type."""

from __future__ import annotations

import pytest

from personare.engines.engine import engine_entry_points
from personare.errors import InvalidOption
from personare.serve.jobs.requests import refuse_files
from personare.serve.routes import sessions
from tests.serve.test_safety import is_problem


class Engine:
    """What the check looks at, of an engine whose weights are not here."""

    def __init__(self, name) -> None:
        self.name = name
        self.Options = engine_entry_points()[name].load().Options

    def missing(self):
        return []

    def styles(self):
        return {"natural": None}


FILES = [("artalk", "shape"), ("nerffacespeech", "take_over"), ("nerffacespeech", "poses")]


@pytest.mark.parametrize(("engine", "option"), FILES)
def test_an_option_that_is_a_file_takes_no_word(engine, option):
    with pytest.raises(InvalidOption, match=f"{option} names a file") as caught:
        refuse_files({option: "secret"}, Engine("puppet"), Engine(engine))
    assert caught.value.hint
    refuse_files({option: None}, Engine(engine))


def test_every_option_that_is_a_file_is_known_by_its_type():
    found = [
        (name, option)
        for name, point in engine_entry_points().items()
        for option, field in point.load().Options.model_fields.items()
        if "Path" in str(field.annotation)
    ]
    assert set(found) == set(FILES)


def test_a_style_is_one_that_there_is():
    for value in ("default", "natural"):
        refuse_files({"style": value}, Engine("artalk"))
    with pytest.raises(InvalidOption, match="no style 'secret'"):
        refuse_files({"style": "secret"}, Engine("artalk"))


@pytest.mark.parametrize("noun", ["jobs", "avatars", "sessions"])
def test_every_route_with_options_refuses_them(answering, portrait, monkeypatch, noun):
    client = answering()
    id_ = client.post("/v1/files", files={"file": ("me.jpg", portrait.read_bytes())}).json()["id"]
    for module in ("personare.serve.jobs.requests", "personare.serve.jobs.placing", sessions.__name__):
        monkeypatch.setattr(f"{module}.ready_engine", lambda name, studio: Engine(name))
    wanted = {"engine": "artalk", "options": {"shape": "secret"}}
    wanted |= {"jobs": {"portrait": id_, "text": "Hi."}, "avatars": {"portrait": id_, "name": "x"}}.get(
        noun, {}
    )
    problem = is_problem(client.post(f"/v1/{noun}", json=wanted), 422)
    assert problem["detail"] == "option shape names a file, which cannot be done over HTTP"
