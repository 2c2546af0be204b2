"""Safe by default: who may call, what may come in, what never goes out."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest

from personare.errors import (
    Busy,
    CacheError,
    Cancelled,
    EngineError,
    InputError,
    InvalidOption,
    NoFaceFound,
    PersonareError,
    PictureTooLarge,
    ServiceError,
    UnknownName,
    UnwritableOutput,
    WeightsError,
)
from personare.serve.keys import api_key, caller_of, read_keys
from personare.serve.problems import MEDIA_TYPE, problem_of, without_paths
from personare.serve.settings import Limits, ServeSettings, read_limits

KEY = "a-key-that-is-long-enough"
OTHER = "another-key-that-is-long"


def is_problem(answer, status: int) -> dict:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == MEDIA_TYPE
    body = answer.json()
    assert body["status"] == status
    assert body["detail"]
    assert body["error"]["message"].startswith(body["detail"])
    assert "Traceback" not in answer.text
    return body


def sent(client, path="/v1/jobs", files=None, **fields):
    """A form, or JSON where no file goes with it."""
    return client.post(path, data=fields, files=files) if files else client.post(path, json=fields)


# ---------------------------------------------------------------- address, keys, Host, Origin


def test_another_address_needs_a_key():
    assert ServeSettings().is_local
    for host in ("0.0.0.0", "::", "192.168.1.4", "example.org"):
        with pytest.raises(InvalidOption, match="no API key"):
            ServeSettings(host=host)
        ServeSettings(host=host, keys=(api_key("anna", KEY),))
    with pytest.raises(InvalidOption, match="too short"):
        api_key("anna", "secret")


def test_a_name_for_others_needs_a_key():
    """A proxy in front of 127.0.0.1 lets everybody in."""
    with pytest.raises(InvalidOption, match=r"faces\.example others can reach it") as caught:
        ServeSettings(allow_hosts=("faces.example",))
    assert "--api-key" in caught.value.hint
    ServeSettings(allow_hosts=("faces.example",), keys=(api_key("anna", KEY),))


@pytest.mark.parametrize(("other", "same"), [(("anna", OTHER), "name"), (("otto", KEY), "key")])
def test_callers_have_names_and_keys_of_their_own(other, same):
    """One of --api-key and one of --api-keys can be alike."""
    with pytest.raises(InvalidOption, match=f"same {same}") as caught:
        ServeSettings(keys=(api_key("anna", KEY), api_key(*other)))
    assert KEY not in caught.value.message + caught.value.hint


def test_every_route_but_the_open_ones_needs_the_key(answering):
    client = answering(keys=(api_key("anna", KEY), api_key("otto", OTHER)))
    for path in ("/v1/jobs", "/v1/engines", "/v1/files/file_x", "/metrics", "/openapi.json", "/none"):
        body = is_problem(client.get(path), 401)
        assert body["error"]["code"] == "unauthorised"
        for given in ("Bearer", "Bearer x" + KEY, f"Basic {KEY}", f"Bearer {KEY.upper()}", "Bearer \xff"):
            headers = {"Authorization": given.encode("latin-1")}
            assert client.get(path, headers=headers).status_code == 401
    assert client.get("/v1/jobs", headers={"Authorization": f"Bearer {OTHER}"}).status_code == 200
    assert client.get("/healthz").status_code == 200


def test_keys_are_compared_in_constant_time(monkeypatch):
    """By digests of one length, with every key, whatever is given."""
    compared = []
    import personare.serve.keys as module

    real = module.hmac.compare_digest
    monkeypatch.setattr(
        module.hmac, "compare_digest", lambda a, b: compared.append((len(a), len(b))) or real(a, b)
    )
    keys = (api_key("anna", KEY), api_key("otto", OTHER))
    assert caller_of(KEY, keys).name == "anna"
    assert caller_of("", keys) is None
    assert compared == [(64, 64)] * 4


def test_a_file_of_limits(tmp_path):
    path = tmp_path / "limits.toml"
    path.write_text("waiting = 3\nportrait_bytes = 1_000_000\n")
    assert read_limits(path) == Limits(waiting=3, portrait_bytes=1_000_000)
    for text, words in (("waiting = 0", "waiting"), ("wating = 3", "no field 'wating'"), ("[[", "not TOML")):
        path.write_text(text)
        with pytest.raises(InvalidOption, match=words):
            read_limits(path)


def test_a_file_of_keys_with_quotas(tmp_path):
    path = tmp_path / "keys.toml"
    digest = api_key("x", OTHER).sha256
    path.write_text(f'[anna]\nkey = "{KEY}"\nwaiting = 3\n[otto]\nsha256 = "{digest}"\njobs_a_day = 9\n')
    anna, otto = read_keys(path)
    assert (anna.waiting, otto.jobs_a_day, otto.waiting) == (3, 9, None)
    assert caller_of(OTHER, (anna, otto)) == otto
    for text in ("x = 1", "[a]\nwaiting = 1", f'[a]\nkey = "{KEY}"\nsha256 = "{digest}"', "[[", "\n"):
        path.write_text(text)
        with pytest.raises(InvalidOption) as caught:
            read_keys(path)
        assert KEY not in caught.value.message + caught.value.hint
    path.write_text(f'[a]\nkey = "{KEY}"\n[b]\nkey = "{KEY}"\n')
    with pytest.raises(InvalidOption, match="same key"):
        read_keys(path)


def test_callers_do_not_see_each_other(answering, portrait):
    client = answering(keys=(api_key("anna", KEY), api_key("otto", OTHER)))
    anna, otto = ({"Authorization": f"Bearer {key}"} for key in (KEY, OTHER))
    file = {"file": ("me.jpg", portrait.read_bytes())}
    upload = client.post("/v1/files", files=file, headers=anna).json()["id"]
    wanted = {"portrait": upload, "text": "Hello."}
    job = client.post("/v1/jobs", json=wanted, headers=anna).json()["id"]
    client.post("/v1/avatars", json={"name": "anna", "portrait": upload}, headers=anna)
    for path in (f"/v1/files/{upload}", f"/v1/jobs/{job}", f"/v1/jobs/{job}/events", f"/v1/videos/{job}"):
        assert client.get(path, headers=otto).status_code == 404
        assert path.endswith("events") or client.get(path, headers=anna).status_code == 200
    assert client.delete(f"/v1/jobs/{job}", headers=otto).status_code == 404
    is_problem(client.post("/v1/jobs", json=wanted, headers=otto), 404)
    is_problem(client.post("/v1/jobs", json={"avatar": "anna", "text": "Hi."}, headers=otto), 404)
    assert client.get("/v1/avatars/anna", headers=otto).status_code == 404
    for noun in ("jobs", "files", "avatars", "videos"):
        assert client.get(f"/v1/{noun}", headers=otto).json()["data"] == []
        assert len(client.get(f"/v1/{noun}", headers=anna).json()["data"]) == (2 if noun == "jobs" else 1)


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "", "a b", "[::1", "[:::::]", "localhost@evil"]
)
def test_a_foreign_host_is_refused(answering, host):
    client = answering()
    is_problem(client.get("/healthz", headers={"Host": host}), 403)


def test_hosts_that_are_ours(answering):
    client = answering(allow_hosts=("faces.example",), keys=(api_key("anna", KEY),))
    for host in ("localhost:1", "127.0.0.1", "192.168.1.4:8765", "[::1]:8765", "Faces.Example"):
        assert client.get("/healthz", headers={"Host": host}).status_code == 200


def test_pages_of_other_sites_may_not_call_and_cors_is_off(answering):
    client = answering()
    for origin in (
        "https://evil.example",
        "null",
        "http://127.0.0.1:9999",
        "http://127.0.0.1:8765.evil.example",
        "http://[",
    ):
        for answer in (
            client.post("/v1/jobs", json={}, headers={"Origin": origin}),
            client.get("/v1/jobs", headers={"Origin": origin}),
            client.options("/v1/jobs", headers={"Origin": origin, "Access-Control-Request-Method": "POST"}),
        ):
            is_problem(answer, 403)
            assert "access-control-allow-origin" not in answer.headers
    cross = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
    is_problem(client.get("/v1/jobs", headers=cross), 403)
    assert client.get("/v1/jobs", headers={"Origin": "http://127.0.0.1:8765"}).status_code == 200
    from starlette.websockets import WebSocketDisconnect

    with (
        pytest.raises(WebSocketDisconnect) as caught,
        client.websocket_connect("/v1/sessions/x/ws", headers={"Origin": "https://evil.example"}),
    ):
        pass
    assert caught.value.code == 4403


def test_a_named_site_may_call(answering):
    site = "https://app.example"
    client = answering(allow_origins=(site,), keys=(api_key("anna", KEY),))
    asked = client.options("/v1/jobs", headers={"Origin": site, "Access-Control-Request-Method": "POST"})
    assert asked.headers["access-control-allow-origin"] == site
    assert client.get("/v1/jobs", headers={"Origin": site}).status_code == 401
    with pytest.raises(InvalidOption):
        ServeSettings(allow_origins=("*",))


# ---------------------------------------------------------------- what may come in


def test_bodies_are_measured_before_they_are_parsed(answering, portrait):
    small = Limits(json_bytes=2048, portrait_bytes=2048, speech_bytes=1024, video_bytes=4096)
    client = answering(limits=small)
    declared = client.post("/v1/jobs", content=b"{}", headers={"Content-Length": "999999999"})
    assert is_problem(declared, 413)
    assert declared.headers["connection"] == "close"
    chunked = client.post(
        "/v1/jobs", content=iter([b"x" * 1024] * 9), headers={"Content-Type": "application/json"}
    )
    is_problem(chunked, 413)
    too_large = client.post("/v1/files", files={"file": ("me.jpg", b"x" * 3000)})
    assert "portrait" in is_problem(too_large, 413)["detail"]
    is_problem(sent(client, portrait=None, text="x" * 3000), 413)
    assert not list((client.house.settings.data_folder / "files").iterdir()), "nothing half-written is left"


def test_forms_have_few_parts_and_known_files(answering, portrait):
    client = answering()
    many = [("portrait", (f"{n}.jpg", b"x")) for n in range(9)]
    is_problem(client.post("/v1/jobs", files=many), 400)
    is_problem(client.post("/v1/jobs", data={f"f{n}": "" for n in range(99)}, files={"portrait": b"x"}), 400)
    is_problem(client.post("/v1/jobs", files={"weights": ("w.pt", b"x")}), 422)
    is_problem(client.post("/v1/jobs", content=b"{", headers={"Content-Type": "application/json"}), 400)
    is_problem(client.post("/v1/jobs", content=b"[]", headers={"Content-Type": "application/json"}), 422)
    is_problem(client.post("/v1/jobs", content=b"x", headers={"Content-Type": "text/plain"}), 415)
    is_problem(client.post("/v1/files", files={"file": ("me.jpg", b"")}), 422)
    is_problem(client.post("/v1/files", files={"file": ("a", b"x")}, data={"purpose": "evil"}), 422)


def test_what_the_framework_refuses_has_a_hint_too(answering):
    client = answering()
    deep = b'{"options": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    kind = {"Content-Type": "application/json"}
    for answer in (
        client.post("/v1/sessions", content=deep, headers=kind),
        client.post("/v1/sessions", content=b"{", headers=kind),
        client.get("/v1/none"),
        client.put("/v1/jobs"),
        client.post("/v1/jobs", content=deep, headers=kind),
    ):
        assert is_problem(answer, answer.status_code)["hint"], answer.text
        assert 400 <= answer.status_code < 500


def test_no_string_of_a_client_becomes_a_path(answering, portrait):
    client = answering()
    upload = client.post("/v1/files", files={"file": ("../../../etc/me.jpg", portrait.read_bytes())}).json()
    assert [path.name for path in client.house.files.folder.iterdir()] == [f"{upload['id']}.jpg"]
    id_ = upload["id"]
    for field, value in (
        ("portrait", str(portrait)),
        ("portrait", "../me.jpg"),
        ("portrait", id_ + "/../x"),
        ("avatar", str(portrait)),
        ("avatar", "../../x"),
        ("avatar", "a\0b"),
        ("text", " \n\u3000"),
        ("voice", "/etc/passwd.onnx"),
        ("voice", "..\\voice.onnx"),
        ("voice", "piper:/tmp/x"),
        ("engine", "../puppet"),
        ("engine", "personare.engines.puppet.engine:Puppet"),
        ("moved_by", "/tmp/x"),
        ("text_file", "/etc/passwd"),
        ("output", "/tmp/out.mp4"),
        ("curves", "/tmp/curves.json"),
        ("weights", "/tmp"),
        ("cache_remote", "s3://evil"),
        ("speech", "https://evil.example/x.wav"),
        ("options", {"shape": "/etc/passwd"}),
        ("options", {"style": "../../x.pt"}),
        ("options", {"style": "x.npz"}),
        ("options", {"device": "cuda:0"}),
        ("options", {"background": ["/etc"]}),
    ):
        wanted = {"portrait": id_, "text": "Hello.", field: value}
        if field == "avatar":
            del wanted["portrait"]
        if field == "speech":
            del wanted["text"]
        answer = client.post("/v1/jobs", json=wanted)
        assert answer.status_code in (404, 422), (field, value, answer.text)
        assert is_problem(answer, answer.status_code)["hint"], (field, value)
    assert client.house.jobs.counts() == {}
    assert list(client.house.jobs.folder.iterdir()) == []


def test_complaint_19_names_in_urls_lead_nowhere_and_nothing_redirects(answering):
    client = answering()
    for name in (
        "..%2f..%2fetc%2fpasswd",
        "%2e%2e",
        "a%00b",
        "a%0d%0aLocation:%20x",
        "x" * 300,
        "%F0%9F%98%80",
    ):
        for path in (f"/v1/avatars/{name}", f"/v1/avatars/{name}/preview.jpg", f"/v1/jobs/{name}"):
            answer = client.get(path, follow_redirects=False)
            assert answer.status_code in (404, 422), path
            assert "location" not in answer.headers
        is_problem(client.post("/v1/avatars", json={"name": name}), 422)
    for path in ("//evil.example", "/v1/jobs/", "/%2f%2fevil.example", "/v1//jobs", "/file=/etc/passwd"):
        answer = client.get(path, follow_redirects=False)
        assert "evil" not in answer.headers.get("location", "")
        assert answer.headers.get("location", BASE_OWN).startswith((BASE_OWN, "/page/"))


BASE_OWN = "http://127.0.0.1:8765/"


def test_complaint_10_every_error_has_a_status_a_code_and_no_success():
    known = {
        InputError: 422,
        PictureTooLarge: 413,
        UnknownName: 404,
        UnwritableOutput: 500,
        WeightsError: 503,
        CacheError: 500,
        EngineError: 500,
        ServiceError: 500,
        Busy: 503,
        Cancelled: 422,
    }
    kinds, waiting = [], [PersonareError]
    while waiting:
        found = [kind for kind in waiting.pop().__subclasses__() if kind.__module__.startswith("personare.")]
        kinds += found
        waiting += found
    assert {InvalidOption, ServiceError, NoFaceFound} <= set(kinds)
    for kind in kinds:
        status = next((known[base] for base in kind.__mro__ if base in known), None)
        assert status, f"{kind.__name__} is of a new family: say here what it is over HTTP"
        error = kind("what")
        error.message, error.hint = "what", "why"
        problem = problem_of(error)
        assert (problem.status, problem.detail, problem.hint) == (status, "what", "why")
        assert problem.code == re.sub(r"\B([A-Z])", r"-\1", kind.__name__).lower()
        answer = problem.response()
        assert (answer.status_code, answer.media_type) == (status, MEDIA_TYPE)
        assert json.loads(answer.body)["error"]["code"] == problem.code
    assert len({problem_of(kind("x")).code for kind in kinds}) == len(kinds)
    answer = problem_of(NoFaceFound("no face in /home/anna/me.jpg")).response()
    assert json.loads(answer.body)["detail"] == "no face in me.jpg"
    assert problem_of(Busy("x")).response().headers["x-should-retry"] == "true"
    assert problem_of(EngineError("x")).response().headers["x-should-retry"] == "false"


def test_no_path_of_this_machine_goes_out():
    assert without_paths("cannot read '/home/a b/x y/me.jpg'").find("/home") < 0
    assert without_paths("C:\\Users\\anna\\me.jpg: damaged") == "me.jpg: damaged"
    assert (
        without_paths("see https://example.org/a/b and 30000/1001")
        == "see https://example.org/a/b and 30000/1001"
    )


def test_an_error_of_ours_shows_no_traceback(answering, monkeypatch):
    client = answering()

    def broken(*_):
        raise RuntimeError(f"secret in {Path.home()}")

    monkeypatch.setattr(type(client.house.jobs), "page", broken)
    answer = client.get("/v1/jobs")
    assert "secret" not in answer.text
    assert is_problem(answer, 500)["error"]["code"] == "unexpected"


def test_quotas_of_bytes_and_a_full_disk(answering, portrait):
    client = answering(limits=Limits(kept_bytes_each=1024))
    file = {"file": ("me.jpg", portrait.read_bytes())}
    upload = client.post("/v1/files", files=file).json()["id"]
    refused = client.post("/v1/files", files=file)
    assert is_problem(refused, 429)["error"]["code"] == "quota"
    assert int(refused.headers["retry-after"]) > 0
    assert refused.headers["x-should-retry"] == "false", "it would be of no use"
    is_problem(client.post("/v1/jobs", json={"portrait": upload, "text": "Hi."}), 429)
    client.delete(f"/v1/files/{upload}")
    full = answering(limits=Limits(free_bytes=1 << 62))
    is_problem(full.post("/v1/files", files=file), 507)
    assert not list(full.house.files.folder.iterdir())
    assert full.get("/readyz").json()["disk"] is False


def test_a_database_that_finds_no_room_is_507_and_works_again_later(answering):
    client = answering()
    wanted = {"text": "Hello. " * 700, "options": {"look": "mesh"}}
    assert client.post("/v1/jobs", json=wanted).status_code == 202
    (pages,) = client.house.database.rows("pragma page_count")[0]
    client.house.database.rows(f"pragma max_page_count={pages}")
    for _ in range(3):
        is_problem(client.post("/v1/jobs", json=wanted), 507)
    client.house.database.rows("pragma max_page_count=1000000")
    assert client.post("/v1/jobs", json=wanted).status_code == 202


def test_what_was_uploaded_goes_after_a_while(answering, portrait):
    client = answering(keep_hours=1)
    upload = client.post("/v1/files", files={"file": ("me.jpg", io.BytesIO(portrait.read_bytes()))}).json()
    assert upload["expires_at"] - upload["created_at"] == 3600
    client.house.sweep(upload["created_at"] + 3000)
    assert client.get(f"/v1/files/{upload['id']}").status_code == 200
    client.house.sweep(upload["created_at"] + 3602)
    is_problem(client.get(f"/v1/files/{upload['id']}"), 404)
    assert not list(client.house.files.folder.iterdir())
