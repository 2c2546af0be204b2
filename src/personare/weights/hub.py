"""Fetches checkpoints from the hub: resumable, with progress, and nothing appears in its place
before its digest is right.

The hub's own client throws away what an interrupted transfer had fetched, so the bytes are
fetched here, over plain HTTP with ranges, into a part file beside the blob. Only the whole and
verified blob enters the hub cache, and huggingface_hub then links it as if it had fetched it
itself; every other program finds it there.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from personare.errors import LicenceNotAccepted, UnwritableOutput, WeightsMismatch, WeightsMissing
from personare.types import Progress, no_progress
from personare.weights.catalogue import CatalogueFile, Component, Source
from personare.weights.digests import file_sha256
from personare.weights.finder import Located, Weights, how_to_get
from personare.weights.places import hub_cache, is_offline, repo_folder

log = logging.getLogger(__name__)

ATTEMPTS = 5
"""So often in a row a transfer may break without having brought a byte."""
PAUSE_SECONDS = 1.0
"""Before the second attempt; doubled before each further one."""
_TIMEOUT_SECONDS = 30.0
_SHA256 = re.compile(r"[0-9a-f]{64}")


class _NotThere(Exception):
    """A source has not got this file."""


@dataclass(frozen=True, slots=True)
class _Remote:
    """What the hub says of a file."""

    url: str
    commit: str
    etag: str
    size: int

    @property
    def sha256(self) -> str | None:
        """The hub names large files by their sha256."""
        return self.etag if _SHA256.fullmatch(self.etag) else None


def pull(entry: Component, to: Path | None = None, progress: Progress = no_progress) -> Located:
    """A component, fetched into the hub cache, or into the weights folder `to` in the layout
    that `Weights` finds.

    Files that are there already are read, and fetched again only if they are wrong; a transfer
    that was interrupted goes on where it ended. progress: in bytes, by file. Raises
    WeightsMissing (not on the hub, no network, HF_HUB_OFFLINE, huggingface_hub is not
    installed), LicenceNotAccepted, WeightsMismatch (wrong bytes: they are removed),
    UnwritableOutput.
    """
    if not entry.sources:
        raise WeightsMissing(f"{entry.name} has to be fetched by hand", hint=how_to_get([entry], to))
    if is_offline():
        raise WeightsMissing(
            f"{entry.name} is not fetched: HF_HUB_OFFLINE is set",
            hint="unset HF_HUB_OFFLINE to fetch weights",
        )
    _require_hub()
    reasons = []
    for source in entry.sources:
        try:
            for alternatives in entry.roles.values():
                _fetch_first(entry, source, alternatives, to, progress)
            return _located(entry, to)
        except _NotThere as reason:
            log.info("%s: %s", entry.name, reason)
            reasons.append(str(reason))
    by_hand = (
        f"fetch {entry.by_hand} by hand and put it at {to or 'WEIGHTS_FOLDER'}/{entry.path}"
        if entry.by_hand
        else ""
    )
    raise WeightsMissing(
        f"{entry.name} cannot be fetched: {'; '.join(reasons)}",
        hint=by_hand or "is HF_ENDPOINT right? a new version?",
    )


def _located(entry: Component, to: Path | None) -> Located:
    located = Weights(to).locate(entry.name)
    if located is None:
        raise WeightsMissing(
            f"{entry.name} was fetched but is not found", hint=f"look into {to or hub_cache()}"
        )
    return located


def _fetch_first(
    entry: Component,
    source: Source,
    alternatives: tuple[CatalogueFile, ...],
    to: Path | None,
    progress: Progress,
) -> None:
    """The first of the files that can fill a role and that the source has. Raises _NotThere if
    it has none.
    """
    for file in alternatives:
        try:
            with _plain_errors(source):
                remote = _ask(source, file)
                _refuse_other_version(source, file, remote)
                if to is None:
                    _fetch_into_cache(source, file, remote, progress)
                else:
                    _fetch_into_folder(
                        to.expanduser().absolute() / entry.places[0], source, file, remote, progress
                    )
            return
        except _NotThere:
            if file is alternatives[-1]:
                raise


def _ask(source: Source, file: CatalogueFile) -> _Remote:
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    endpoint = _endpoint()
    url = hf_hub_url(source.repo, source.path_of(file), revision=source.revision, endpoint=endpoint)
    answer = get_hf_file_metadata(url, timeout=_TIMEOUT_SECONDS, endpoint=endpoint)
    if not answer.commit_hash or not answer.etag or answer.size is None:
        raise WeightsMissing(
            f"{url} does not answer as a hub does", hint="check HF_ENDPOINT, proxies and firewalls"
        )
    if not re.fullmatch(r"[\w.-]+", answer.etag) or answer.etag.startswith("."):
        raise WeightsMissing(f"{url} names its file in an impossible way", hint="check HF_ENDPOINT")
    return _Remote(url, answer.commit_hash, answer.etag, answer.size)


def _refuse_other_version(source: Source, file: CatalogueFile, remote: _Remote) -> None:
    """Raises WeightsMismatch before anything is fetched, where the hub itself says that it has
    other bytes than are on record.
    """
    is_other = remote.sha256 is not None and file.is_genuine(remote.sha256) is False
    if is_other or (file.bytes is not None and file.bytes != remote.size):
        raise WeightsMismatch(
            f"{source.repo} holds another {file.name} than the released one: {remote.size} bytes, "
            f"{remote.etag[:12]}",
            hint="the repository has changed, or HF_ENDPOINT is not a faithful mirror",
        )


def _fetch_into_cache(source: Source, file: CatalogueFile, remote: _Remote, progress: Progress) -> None:
    from huggingface_hub import hf_hub_download

    blob = repo_folder(source) / "blobs" / remote.etag
    if blob.exists() and remote.sha256 not in (None, file_sha256(blob, progress)):
        blob.unlink()
    if not blob.exists():
        _fetch(source, file, remote, blob, progress)
    path = source.path_of(file)
    hf_hub_download(source.repo, path, revision=source.revision, cache_dir=hub_cache(), endpoint=_endpoint())


def _fetch_into_folder(
    folder: Path, source: Source, file: CatalogueFile, remote: _Remote, progress: Progress
) -> None:
    target = folder / file.name
    if target.is_file() and target.stat().st_size == remote.size:
        sha256 = file_sha256(target, progress)
        if file.is_genuine(sha256) is not False and remote.sha256 in (None, sha256):
            return
    _fetch(source, file, remote, target, progress)


def _fetch(source: Source, file: CatalogueFile, remote: _Remote, target: Path, progress: Progress) -> None:
    """Bring a file to `target`, verified; what is fetched of it so far waits beside it."""
    part = target.with_name(f".{target.name[:80]}.{remote.etag[:12]}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{part}.lock"):
            if not (target.exists() and target.name == remote.etag):  # another process was quicker
                _check_space(part, remote.size)
                _transfer(remote, part, file.name, progress)
                _verify(source, file, remote, part, progress)
                part.replace(target)
        Path(f"{part}.lock").unlink(missing_ok=True)
    except OSError as error:
        raise UnwritableOutput(
            f"cannot write {target}: {error.strerror or error}", hint="is there space, and may you write?"
        ) from None


def _check_space(part: Path, size: int) -> None:
    needed = size - (part.stat().st_size if part.exists() else 0)
    free = shutil.disk_usage(part.parent).free
    if needed > free:
        raise UnwritableOutput(
            f"{part.parent} has {free / 1e9:.1f} GB left, {needed / 1e9:.1f} GB are needed",
            hint="make space, or name another disk with HF_HOME or --to",
        )


def _transfer(remote: _Remote, part: Path, name: str, progress: Progress) -> None:
    """Append to the part until it has all bytes. A broken transfer is taken up again; it counts
    only if it brought nothing.
    """
    broken = 0
    while (have := part.stat().st_size if part.exists() else 0) != remote.size:
        if have > remote.size:
            part.unlink()
            continue
        try:
            _append(remote, part, have, name, progress)
        except _transport().TransportError as error:
            broken = 0 if part.exists() and part.stat().st_size > have else broken + 1
            log.info("%s: transfer broke at %d of %d bytes: %s", name, have, remote.size, error)
            if broken >= ATTEMPTS:
                raise
            if broken:
                time.sleep(PAUSE_SECONDS * 2 ** (broken - 1))


def _append(remote: _Remote, part: Path, have: int, name: str, progress: Progress) -> None:
    """One request for what is not there yet. Raises what the transport raises."""
    from huggingface_hub import get_session
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status  # type: ignore[attr-defined]

    headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    with get_session().stream(
        "GET", remote.url, headers=headers, follow_redirects=True, timeout=_TIMEOUT_SECONDS
    ) as response:
        hf_raise_for_status(response)
        is_continued = have > 0 and response.status_code == 206
        with part.open("ab" if is_continued else "wb", buffering=0) as file:
            done = have if is_continued else 0
            # As they come: with a block size, what does not fill one would be lost when the
            # transfer breaks.
            for block in response.iter_bytes():
                file.write(block)
                done += len(block)
                progress(name, done, remote.size)
                if done > remote.size:
                    break
    if done == have:
        raise _transport().ReadError("the server sent nothing")


def _verify(source: Source, file: CatalogueFile, remote: _Remote, part: Path, progress: Progress) -> None:
    """Raises WeightsMismatch, and removes the part, if its bytes are not those that were
    promised.
    """
    sha256 = file_sha256(part, lambda _, done, total: progress(f"{file.name}: checking", done, total))
    expected = remote.sha256 or file.sha256
    if (expected is None or sha256 == expected) and file.is_genuine(sha256) is not False:
        return
    part.unlink()
    promised = expected or file.sha256_prefix or ""
    raise WeightsMismatch(
        f"{file.name} from {source.repo} has sha256 {sha256[:12]}..., not {promised[:12]}...; it was removed",
        hint="fetch it again; if that does not help, something between you and the hub changes files",
    )


# ---------------------------------------------------------------- the client and its errors


def _endpoint() -> str | None:
    """HF_ENDPOINT as it is now; None for the hub."""
    return (os.environ.get("HF_ENDPOINT") or "").rstrip("/") or None


def _require_hub() -> None:
    try:
        import huggingface_hub  # noqa: F401
    except ImportError:
        raise WeightsMissing(
            "fetching weights needs huggingface_hub", hint="pip install 'personare[neural]'"
        ) from None


def _transport() -> Any:
    """The HTTP library under this version of huggingface_hub (httpx or its successor)."""
    from huggingface_hub import get_session

    return sys.modules[type(get_session()).__module__.partition(".")[0]]


@contextmanager
def _plain_errors(source: Source) -> Iterator[None]:
    """What the client raises, in our words."""
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        yield
    except GatedRepoError:
        raise LicenceNotAccepted(
            f"{source.repo} is given only to those who have accepted its terms",
            hint=f"accept them at https://huggingface.co/{source.repo}, run `hf auth login`, then pull again",
        ) from None
    except LocalEntryNotFoundError as error:
        raise WeightsMissing(
            f"the hub cannot be reached: {error}", hint="check the network and HF_ENDPOINT, then pull again"
        ) from None
    except (RepositoryNotFoundError, RevisionNotFoundError):
        raise _NotThere(f"there is no repository {source.repo} on the hub, or it is private") from None
    except EntryNotFoundError:
        raise _NotThere(f"{source.repo} has not got all of it") from None
    except HfHubHTTPError as error:
        status = getattr(error.response, "status_code", "an error")
        raise WeightsMissing(
            f"the hub answered {status} for {source.repo}", hint="try again later; what was fetched is kept"
        ) from None
    except _transport().TransportError as error:
        where = _endpoint() or "https://huggingface.co"
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise WeightsMissing(
            f"{where} cannot be reached: {said}",
            hint="check the network and HF_ENDPOINT; what was fetched is kept",
        ) from None
