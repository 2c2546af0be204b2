"""The page's files: few, small, under a strict policy, with every word in both languages."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

import personare
from personare.engines.engine import load_engine
from personare.errors import InputError
from personare.media.mix import QUIET_DBFS
from personare.perception import photo_report
from personare.perception.photo_report import PhotoReport
from personare.serve.jobs.stages import OTHERS, WORDS, doing
from personare.serve.labels import LABELS
from personare.serve.problems import coded
from personare.serve.routes.page import page_files
from personare.studio.remarks import Remarks, of_the_portrait
from personare.types import Feature

MOST_BYTES = 60_000
MOST_BYTES_OF_SENTENCES = 18_000
BUILT_IN = ("artalk", "float", "mimicmotion", "musetalk", "nerffacespeech", "puppet")
SOURCE = Path(personare.__file__).parent
OWN = (".html", ".js", ".css", ".svg")


def own_files() -> dict[str, bytes]:
    """The page's, without the bundled portrait and the service's own sentences in Chinese."""
    return {name: file.content for name, file in page_files().items() if name.endswith(OWN)}


# ---------------------------------------------------------------- its files


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_page_is_small(language):
    """All parts together, unpacked, with the words of a language. (The service's own sentences
    in Chinese are a pack apart, which a reader of English never loads.)
    """
    files = page_files()
    other = {"en": "words.zh.js", "zh": "words.en.js"}[language]
    page = set(files) - {"portrait.jpg", "sentences.zh.json", other}
    assert {"index.html", "style.css", "worklet.js", f"words.{language}.js"} < page
    assert sum(len(files[name].content) for name in page) < MOST_BYTES
    assert len(files["sentences.zh.json"].content) < MOST_BYTES_OF_SENTENCES


def test_what_can_be_packed_is_sent_packed(answering):
    client = answering()
    for name, file in page_files().items():
        packed = client.get(f"/page/{name}", headers={"accept-encoding": "br, gzip"})
        plain = client.get(f"/page/{name}", headers={"accept-encoding": "gzip;q=0, identity"})
        assert packed.content == plain.content == file.content
        assert (packed.headers.get("content-encoding") == "gzip") == bool(file.packed)
        assert int(packed.headers["content-length"]) == len(file.wire)
        assert "content-encoding" not in plain.headers
        assert (packed.headers["etag"] == plain.headers["etag"]) == (not file.packed)


def test_nothing_but_its_own_files_runs(answering):
    client = answering()
    answer = client.get("/")
    assert (answer.status_code, answer.url.path) == (200, "/page/")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    html = answer.text
    assert not re.search(r"<script(?![^>]*\bsrc=)", html), "a script in the page itself"
    assert not re.search(r"\s(on\w+|style)=", html), "a handler or a style in the page itself"
    for name, content in own_files().items():
        text = content.decode().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|\beval\(|innerHTML", text), name
        assert client.get(f"/page/{name}").status_code == 200


def test_what_is_unchanged_is_not_sent_again(answering):
    client = answering()
    first = client.get("/page/app.js")
    again = client.get("/page/app.js", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "name", ["../app.py", "%2e%2e%2fapp.py", "nothing.js", "index.html%00", "__init__.py"]
)
def test_nothing_else_of_the_disk_is_served(answering, name):
    assert answering().get(f"/page/{name}").status_code in (404, 422)


def test_every_word_is_there_in_both_languages():
    """The English word of an element is the element's own text."""
    files = {name: content.decode() for name, content in own_files().items()}
    of_scripts, all_words = (
        set(re.findall(r"(?:^|[{,\s])(\w+): \"", files[f"words.{language}.js"])) for language in ("en", "zh")
    )
    of_elements = set(re.findall(r"data-t=\"(\w+)\"", files["index.html"]))
    used = set(of_elements)
    for name, text in files.items():
        if name.endswith(".js"):
            used |= set(re.findall(r"\b(?:t|button|says)\(\"([a-z]\w+)\"", text))
    assert of_scripts | of_elements == all_words
    assert used <= all_words


def test_every_stage_has_words():
    """By the names in the engines' sources: no engine needs its weights for it."""
    known = [name for names in WORDS.values() for name in names.split()]
    assert len(known) == len(set(known))
    named = set()
    for source in (SOURCE / "engines").rglob("*.py"):
        named |= set(
            re.findall(rf"^[A-Z].*\"(?:{'|'.join(BUILT_IN)})\.([a-z_]+)\"", source.read_text(), re.M)
        )
        for line in re.findall(r"^[A-Z].* = (\"[a-z]+\.[a-z_]+\",.*)$", source.read_text(), re.M):
            named |= set(re.findall(r"\"[a-z]+\.([a-z_]+)\"", line))
    assert len(named) > 25
    assert named == set(known)
    stages = ["puppet.face", "float.crop, 3 of 7", "puppet.rig (another process)", "mine.own", "speaking"]
    assert [doing(stage) for stage in stages] == [
        "finding the face",
        "cutting out the picture",
        "building the face",
        "being prepared",
        "speaking",
    ]


def test_what_the_service_says_is_there_in_chinese():
    """Sentences have {} in place of numbers, as the page looks them up."""
    sentences = json.loads(page_files()["sentences.zh.json"].content)
    assert all(english.count("{}") == other.count("{}") for english, other in sentences.items())
    said = {value for option in options_of("puppet").values() for value in option.get("enum", [])}
    for engine in BUILT_IN:  # what has a name in Chinese has a hint in it
        options = options_of(engine)
        said |= {option["description"] for name, option in options.items() if name in LABELS["zh"]}
    advice = set()
    plain = PhotoReport(100, 100, 40.0, 30.0, 40.0, 40.0, 40.0, 0.0, 9.0, True, True, 1.0, 2, False, ())
    for report in (plain, replace(plain, pitch=-40.0, dark_lenses=False)):
        advice |= set(photo_report._with_advice(report, False).advice)
    assert len(said | advice) > 20
    told = said | advice | remarks() | works() | {*WORDS, OTHERS}
    told |= {coded(error.__name__) for error in InputError.__subclasses__()}
    assert without_numbers(told) <= set(sentences)
    others = {load_engine(name).summary for name in BUILT_IN}
    for name in BUILT_IN:
        others |= {option["description"] for option in options_of(name).values()}
    sessions = (SOURCE / "serve" / "routes" / "sessions.py").read_text()
    others |= set(re.findall(r"\"([^\"\n]{8,})\"", sessions))  # why a transport was chosen
    others |= set(re.findall(r"detail = \"(.*?)\"", (SOURCE / "serve" / "live" / "place.py").read_text()))
    kept = {one for one in sentences if " " in one}
    assert kept <= without_numbers(others | told), "no sentence is left of what nobody says any more"


def remarks() -> set[str]:
    """What may be said of a clip of puppet."""
    found = set(
        of_the_portrait({"": Feature({}, {"faces": 2, "doubtful": True})}, load_engine("puppet").Options())
    )
    for loudest, opened in ((-90.0, 0.0), (QUIET_DBFS - 1, 0.0)):
        heard = SimpleNamespace(_meter=SimpleNamespace(loudest_dbfs=loudest), _opened=opened, _spoken=True)
        found |= set(Remarks._of_the_voice(heard))
    return found


def works() -> set[str]:
    """What engines and the studio call their work where it is no stage."""
    sources = [
        source.read_text()
        for room in ("engines", "studio", "perception")
        for source in (SOURCE / room).rglob("*.py")
    ]
    return set(re.findall(r"progress\(\"([a-z ]+)\",", "".join(sources)))


def options_of(engine: str) -> dict[str, dict]:
    return load_engine(engine).Options.model_json_schema()["properties"]


def without_numbers(sentences: set[str]) -> set[str]:
    return {re.sub(r"\d+(\.\d+)?", "{}", one) for one in sentences}


def test_the_page_needs_no_key_and_its_calls_do(answering):
    from personare.serve.keys import api_key

    client = answering(keys=(api_key("anna", "a-key-that-is-long-enough"),))
    assert client.get("/page/").status_code == 200
    assert client.get("/v1/engines").status_code == 401
