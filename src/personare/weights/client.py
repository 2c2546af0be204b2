"""The hub's client: requests that end, and its errors in our words.

A hub, a mirror or a proxy between us and it may answer anything. Whatever its client makes of
that becomes one of our errors with one line; file-system errors are not the hub's and pass.
"""

from __future__ import annotations

import os
import queue
import re
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from personare.errors import LicenceNotAccepted, WeightsMissing

SILENCE_SECONDS = 15.0
"""A connection that says nothing for so long is broken."""
LONGEST_ANSWER_SECONDS = 30.0
"""Until the hub has said what a file is."""
_TICK_SECONDS = 1.0
_SHA256 = re.compile(r"[0-9a-f]{64}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_ETAG = re.compile(r"\w[\w.-]{0,199}", re.ASCII)
_LARGEST_FILE = 1 << 40
_CHECK_ENDPOINT = "check HF_ENDPOINT, proxies and firewalls"


Item = TypeVar("Item")


class NotThere(Exception):
    """A source has not got this file."""


class TransferBroken(Exception):
    """A transfer broke; the message is the reason. Asking again may help."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """What the hub says of a file."""

    repo: str
    url: str
    commit: str
    etag: str
    size: int

    @property
    def sha256(self) -> str | None:
        """The hub names large files by their sha256."""
        return self.etag if _SHA256.fullmatch(self.etag) else None


def require_hub() -> None:
    """Raises WeightsMissing with the command that installs the hub's client, if it is not."""
    try:
        import huggingface_hub  # noqa: F401
    except ImportError:
        raise WeightsMissing(
            "fetching weights needs huggingface_hub", hint="pip install 'personare[neural]'"
        ) from None


def ask(repo: str, path: str, revision: str) -> RemoteFile:
    """What the hub says of a file. Raises NotThere, TransferBroken, WeightsMissing,
    LicenceNotAccepted.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    endpoint = _endpoint()
    with plain_errors(repo):
        url = hf_hub_url(repo, path, revision=revision, endpoint=endpoint)

    def asked() -> Iterator[Any]:
        with plain_errors(repo):
            yield get_hf_file_metadata(url, timeout=SILENCE_SECONDS, endpoint=endpoint)

    answer = _first(_beside(asked))
    if not answer.commit_hash or not answer.etag or answer.size is None:
        raise WeightsMissing(f"{hub_address()} does not answer as a hub does", hint=_CHECK_ENDPOINT)
    if (
        not _ETAG.fullmatch(answer.etag)
        or not _COMMIT.fullmatch(answer.commit_hash)
        or not 0 <= answer.size <= _LARGEST_FILE
    ):
        raise WeightsMissing(f"{hub_address()} describes {path} in an impossible way", hint=_CHECK_ENDPOINT)
    return RemoteFile(repo, url, answer.commit_hash, answer.etag, answer.size)


def _first(answers: Iterator[Item | None]) -> Item:
    """Raises TransferBroken if there is none in time."""
    began = time.monotonic()
    for answer in answers:
        if answer is not None:
            return answer
        if time.monotonic() - began >= LONGEST_ANSWER_SECONDS:
            break
    raise TransferBroken(f"no answer within {LONGEST_ANSWER_SECONDS:g} s")


def fetched(remote: RemoteFile, have: int) -> Generator[tuple[int, bytes] | None, None, None]:
    """One request for the bytes from `have` on: (position in the file, bytes) as they come;
    None whenever nothing came for a second. A server that cannot continue begins at 0.

    Raises TransferBroken, WeightsMissing, LicenceNotAccepted, NotThere.
    """
    yield from _beside(lambda: _streamed(remote, have))


def _streamed(remote: RemoteFile, have: int) -> Iterator[tuple[int, bytes]]:
    from huggingface_hub import get_session
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status  # type: ignore[attr-defined]

    headers: dict[str, str] = {**build_hf_headers(), "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    with (
        plain_errors(remote.repo),
        get_session().stream(
            "GET", remote.url, headers=headers, follow_redirects=True, timeout=SILENCE_SECONDS
        ) as response,
    ):
        hf_raise_for_status(response)
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise WeightsMissing(f"{remote.repo} is sent packed, unasked", hint=_CHECK_ENDPOINT)
        position = have if response.status_code == 206 else 0
        # As they come: with a block size, what does not fill one would be lost when the
        # transfer breaks.
        for block in response.iter_raw():
            yield position, block
            position += len(block)


def _beside(make: Callable[[], Iterator[Item]]) -> Iterator[Item | None]:
    """What an iterator gives, run in a thread of its own; None whenever it gave nothing for a
    second. So nobody waits for a server that sends half a header, a byte at a time: the
    client's own time limits begin anew with each byte.
    """
    gave: queue.Queue[tuple[Item | None, BaseException | None]] = queue.Queue(4)
    ended = threading.Event()

    def give(item: Item | None, error: BaseException | None) -> None:
        while not ended.is_set():
            with suppress(queue.Full):
                gave.put((item, error), timeout=_TICK_SECONDS)
                return

    def run() -> None:
        try:
            for item in make():
                give(item, None)
                if ended.is_set():
                    return
            give(None, StopIteration())
        except BaseException as error:
            give(None, error)

    threading.Thread(target=run, name="personare-hub", daemon=True).start()
    try:
        while True:
            try:
                item, error = gave.get(timeout=_TICK_SECONDS)
            except queue.Empty:
                yield None
                continue
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item
    finally:
        ended.set()


@contextmanager
def plain_errors(where: str) -> Iterator[None]:
    """What the client raises, in our words. where: the repository or address, for messages.

    Raises TransferBroken for what may be better at the next attempt.
    """
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    client = _client()
    try:
        yield
    except GatedRepoError:
        raise LicenceNotAccepted(
            f"{where} is given only to those who have accepted its terms",
            hint=f"accept them at https://huggingface.co/{where}, run `hf auth login`, then pull again",
        ) from None
    except (RepositoryNotFoundError, RevisionNotFoundError):
        raise NotThere(f"there is no repository {where} on the hub, or it is private") from None
    except EntryNotFoundError:
        raise NotThere(f"{where} has not got all of it") from None
    except HfHubHTTPError as error:
        status = getattr(error.response, "status_code", "an error")
        raise WeightsMissing(
            f"the hub answered {status} for {where}", hint="try again later; what was fetched is kept"
        ) from None
    except client.TransportError as error:
        raise TransferBroken(_said(error)) from None
    except (client.HTTPError, client.InvalidURL, ValueError) as error:
        raise WeightsMissing(
            f"{where} cannot be fetched from {hub_address()}: {_said(error)}", hint=_CHECK_ENDPOINT
        ) from None


def unreachable(broken: TransferBroken) -> WeightsMissing:
    """The error for a hub that broke too often."""
    return WeightsMissing(
        f"{hub_address()} cannot be reached: {broken}",
        hint="check the network and HF_ENDPOINT; what was fetched is kept",
    )


def hub_address() -> str:
    return ascii(_endpoint() or "https://huggingface.co")[1:-1][:200]


def _endpoint() -> str | None:
    """HF_ENDPOINT as it is now; None for the hub."""
    return (os.environ.get("HF_ENDPOINT") or "").rstrip("/") or None


def _said(error: Exception) -> str:
    said = " ".join(str(error).split())[:200]
    return said if said.isprintable() and said else type(error).__name__


def _client() -> Any:
    """The HTTP library under this version of huggingface_hub (httpx or its successor)."""
    from huggingface_hub import get_session

    return sys.modules[type(get_session()).__module__.partition(".")[0]]
