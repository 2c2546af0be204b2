"""A service of personare, called from Python. Needs nothing but Python itself.

client = personare.Client("http://127.0.0.1:8765")
client.create_avatar("anna", "me.jpg")
client.speak("anna", text="Good morning.", output="out.mp4")
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any, BinaryIO
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, ProxyHandler, Request, build_opener

from personare.errors import ServiceError
from personare.ground.durable import replaced_when_complete

DEFAULT_URL = "http://127.0.0.1:8765"
JobProgress = Callable[[Mapping[str, Any]], None]
"""Told the job, as the service describes it, at each change."""
_BLOCK = 1 << 18
_POLL_SECONDS = (0.2, 2.0)
_FILES = ("portrait", "speech", "guide", "motion", "sound")
_FINAL = ("completed", "failed", "cancelled")


class Client:
    """Calls one service. Every method raises ServiceError, with the service's own words."""

    def __init__(self, url: str = DEFAULT_URL, api_key: str | None = None, *, timeout: float = 60.0) -> None:
        """api_key: PERSONARE_API_KEY by default. timeout: seconds of silence of the service."""
        self._url = url.rstrip("/")
        self._key = api_key if api_key is not None else os.environ.get("PERSONARE_API_KEY")
        self._timeout = timeout
        self._opener = _opener(self._url)

    def speak(
        self,
        who: str | Path,
        speech: str | Path | None = None,
        *,
        output: str | Path,
        text: str | None = None,
        guide: str | Path | None = None,
        motion: str | Path | None = None,
        curves: str | Path | None = None,
        progress: JobProgress | None = None,
        **fields: Any,
    ) -> dict[str, Any]:
        """A clip, as a file here; its report.

        who: a file of a photo or a template video, or the name of an avatar.
        speech, text, guide, motion: exactly one; files but for the text.
        curves: where the ARKit curves of every frame go, .json or .csv.
        fields: engine, options, voice, timing, track, moved_by, sound: see docs/service.md.

        The job is forgotten by the service when the clip is here, or if this is interrupted.
        """
        given = {"speech": speech, "text": text, "guide": guide, "motion": motion, **fields}
        if curves is not None:
            given["curves"] = Path(curves).suffix.removeprefix(".")
        given["portrait" if _is_path(who) else "avatar"] = who
        job = self.start(**given)
        try:
            job = self.wait(job["id"], progress)
            self.download(job["id"], output)
            if curves is not None:
                self.download(job["id"], curves, "curves")
        finally:
            self.delete(job["id"])
        report: dict[str, Any] = job["report"]
        return report

    def start(self, *, idempotency_key: str | None = None, **fields: Any) -> dict[str, Any]:
        """Ask for a clip; the job. fields: as of POST /v1/jobs; files as paths, or ids of
        uploads.
        """
        return self._post("/v1/jobs", fields, idempotency_key)

    def job(self, job_id: str) -> dict[str, Any]:
        """How far a job is."""
        return self._json("GET", f"/v1/jobs/{quote(job_id, safe='')}")

    def wait(self, job_id: str, progress: JobProgress | None = None) -> dict[str, Any]:
        """The job when it is completed. Raises ServiceError also if it fails or is cancelled."""
        pause, most = _POLL_SECONDS
        before: object = None
        while True:
            job = self.job(job_id)
            if progress is not None and (job["status"], job["progress"]) != before:
                before = job["status"], job["progress"]
                progress(job)
            if job["status"] == "completed":
                return job
            if job["status"] in _FINAL:
                error = job["error"] or {"code": "cancelled", "message": "the job was cancelled", "hint": ""}
                raise ServiceError(error["message"], error["hint"], code=error["code"])
            time.sleep(pause)
            pause = min(most, pause * 1.2)

    def cancel(self, job_id: str) -> dict[str, Any]:
        """Stop a job."""
        return self._json("POST", f"/v1/jobs/{quote(job_id, safe='')}/cancel")

    def delete(self, job_id: str) -> None:
        """Forget a job with its files."""
        self._json("DELETE", f"/v1/jobs/{quote(job_id, safe='')}")

    def download(self, job_id: str, output: str | Path, variant: str = "video") -> Path:
        """A result of a job as a file, which appears when it is complete. variant: video,
        thumbnail, curves or motion.
        """
        target = Path(output)
        path = f"/v1/jobs/{quote(job_id, safe='')}/content?{urlencode({'variant': variant})}"
        with closing(self._open("GET", path)) as answer:
            said, received = answer.headers.get("Content-Length"), 0
            try:
                with replaced_when_complete(target) as part, part.open("wb") as file:
                    while block := _read(answer, _BLOCK):
                        received += file.write(block)
                    if said is not None and said != str(received):
                        raise ServiceError("the download broke off", hint="try again")
            except OSError as error:
                raise ServiceError(
                    f"{target} cannot be written: {error.strerror or error}", hint="another output"
                ) from None
        return target

    def create_avatar(
        self, name: str, portrait: str | Path | None = None, *, wait: bool = True, **fields: Any
    ) -> dict[str, Any]:
        """Prepare a portrait and keep it under a name; the avatar, with the photo's report.

        wait: until it is ready. fields: engine, options, consent, consent_until.
        """
        avatar = self._post("/v1/avatars", {"name": name, "portrait": portrait, **fields})
        if not wait:
            return avatar
        self.wait(avatar["job"])
        return self.avatar(name)

    def check_photo(self, portrait: str | Path) -> dict[str, Any]:
        """What a photo is good for, before it is used: size of the face, turn, sharpness,
        glasses, and `advice`. Raises ServiceError where no face can be animated.
        """
        job = self._post("/v1/photos", {"portrait": portrait})
        try:
            photo: dict[str, Any] = self.wait(job["id"])["report"]["photo"]
        finally:
            self.delete(job["id"])
        return photo

    def avatar(self, name: str) -> dict[str, Any]:
        """About an avatar."""
        return self._json("GET", f"/v1/avatars/{quote(name, safe='')}")

    def avatars(self) -> list[dict[str, Any]]:
        """All that this caller may use."""
        return list(self._json("GET", "/v1/avatars")["data"])

    def delete_avatar(self, name: str) -> None:
        """Forget an avatar."""
        self._json("DELETE", f"/v1/avatars/{quote(name, safe='')}")

    def engines(self) -> list[dict[str, Any]]:
        """Every engine of the service, and what its options are."""
        return list(self._json("GET", "/v1/engines")["engines"])

    def voices(self) -> list[dict[str, Any]]:
        """The voices that can read a text."""
        return list(self._json("GET", "/v1/voices")["voices"])

    def styles(self) -> list[dict[str, Any]]:
        """Ways of moving that an engine's option chooses by name."""
        return list(self._json("GET", "/v1/styles")["styles"])

    # ------------------------------------------------------------ HTTP

    def _post(self, path: str, fields: Mapping[str, Any], key: str | None = None) -> dict[str, Any]:
        given = {name: value for name, value in fields.items() if value is not None}
        files = {name: _file(given.pop(name)) for name in _FILES if _is_file(given.get(name))}
        headers = {} if key is None else {"Idempotency-Key": key}
        if not files:
            body = json.dumps({name: _plain(value) for name, value in given.items()}).encode()
            return self._json("POST", path, body, {**headers, "Content-Type": "application/json"})
        form = _Form(given, files)
        return self._json("POST", path, form, {**headers, **form.headers})

    def _json(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        with closing(self._open(method, path, body, headers)) as answer:
            try:
                value = json.loads(_read(answer))
            except ValueError:
                value = None
        if not isinstance(value, dict):
            raise ServiceError(f"{self._url} does not answer as personare does", hint="check the URL")
        return value

    def _open(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> HTTPResponse:
        own = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        request = Request(f"{self._url}{path}", body, {**own, **(headers or {})}, method=method)
        try:
            answer: HTTPResponse = self._opener.open(request, timeout=self._timeout)
        except HTTPError as error:
            with closing(error):
                raise _refused(error) from None
        except (URLError, HTTPException, OSError) as error:
            reason = getattr(error, "reason", error)
            raise ServiceError(
                f"{self._url} cannot be reached: {reason}", hint="does personare serve run there?"
            ) from None
        return answer


class _Form:
    """A multipart body that is never in memory as a whole."""

    def __init__(self, fields: Mapping[str, Any], files: Mapping[str, Path]) -> None:
        self._boundary = secrets.token_hex(16)
        self._fields = b"".join(
            self._head(name) + _plain_text(value).encode() + b"\r\n" for name, value in fields.items()
        )
        self._files = [(self._head(name, path.name), path) for name, path in files.items()]
        self._end = f"--{self._boundary}--\r\n".encode()

    @property
    def headers(self) -> dict[str, str]:
        sizes = sum(len(head) + path.stat().st_size + 2 for head, path in self._files)
        return {
            "Content-Type": f"multipart/form-data; boundary={self._boundary}",
            "Content-Length": str(len(self._fields) + sizes + len(self._end)),
        }

    def __iter__(self) -> Iterator[bytes]:
        yield self._fields
        for head, path in self._files:
            yield head
            try:
                with path.open("rb") as file:
                    yield from _blocks(file)
            except OSError as error:
                raise _unreadable(path, error) from None
            yield b"\r\n"
        yield self._end

    def _head(self, name: str, filename: str | None = None) -> bytes:
        named = "" if filename is None else f'; filename="{quote(filename)}"'
        kind = "" if filename is None else "Content-Type: application/octet-stream\r\n"
        about = f'Content-Disposition: form-data; name="{name}"{named}\r\n{kind}'
        return f"--{self._boundary}\r\n{about}\r\n".encode()


class _NoRedirect(HTTPRedirectHandler):
    """The service redirects nowhere; what does would get the API key."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _opener(url: str) -> OpenerDirector:
    try:
        host = urlsplit(url).hostname
    except ValueError:
        host = None
    if host is None or urlsplit(url).scheme not in ("http", "https"):
        raise ServiceError(f"{url!r} is not the URL of a service", hint=f"as {DEFAULT_URL}")
    direct = [ProxyHandler({})] if host in ("127.0.0.1", "localhost", "::1") else []
    return build_opener(_NoRedirect, *direct)


def _refused(error: HTTPError) -> ServiceError:
    try:
        problem = json.loads(error.read(1 << 20))
        detail, hint, code = problem["detail"], problem.get("hint", ""), problem["error"]["code"]
    except (ValueError, TypeError, KeyError, OSError, HTTPException):
        detail, hint, code = f"the service answers {error.code} {error.reason}", "check the URL", "error"
    return ServiceError(str(detail), str(hint), status=error.code, code=str(code))


def _is_file(value: Any) -> bool:
    return value is not None and not (isinstance(value, str) and value.startswith("file_"))


def _is_path(who: str | Path) -> bool:
    """Whether a portrait is meant, not a name: a folder that is called like an avatar is not."""
    return isinstance(who, Path) or Path(who).is_file()


def _file(value: Any) -> Path:
    """A file that can be sent. Raises ServiceError."""
    path = Path(value)
    try:
        path.open("rb").close()
    except OSError as error:
        raise _unreadable(path, error) from None
    return path


def _unreadable(path: Path, error: OSError) -> ServiceError:
    return ServiceError(
        f"{path} cannot be read: {error.strerror or error}", hint="check the path of the file"
    )


def _read(answer: HTTPResponse, size: int | None = None) -> bytes:
    try:
        return answer.read() if size is None else answer.read(size)
    except (HTTPException, OSError) as error:
        raise ServiceError(f"the answer broke off: {error}", hint="try again") from None


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def _plain_text(value: Any) -> str:
    return json.dumps(value) if isinstance(value, dict) else str(_plain(value))


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    while block := file.read(_BLOCK):
        yield block
