"""Fetches checkpoints from the hub: resumable, with progress, and nothing appears in its place
before its digest is right.

The hub's own client throws away what an interrupted transfer had fetched, so the bytes are
fetched here, over plain HTTP with ranges, into a part file beside the blob. Only the whole and
verified blob enters the hub cache, linked there as huggingface_hub does it; every other program
finds it. See client.py for requests and their errors, transfer.py for the bytes.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from personare.errors import UnwritableOutput, WeightsMismatch, WeightsMissing
from personare.ground.durable import replaced_when_complete
from personare.ground.paths import expanded
from personare.types import Progress, no_progress
from personare.weights.catalogue import CatalogueFile, Component, Source
from personare.weights.client import NotThere, RemoteFile, TransferBroken, ask, require_hub, unreachable
from personare.weights.digests import file_sha256
from personare.weights.download import transfer
from personare.weights.finder import Located, Weights, how_to_get
from personare.weights.places import hub_cache, is_offline, repo_folder

log = logging.getLogger(__name__)


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
    require_hub()
    reasons = []
    for source in entry.sources:
        try:
            for alternatives in entry.roles.values():
                _fetch_first(entry, source, alternatives, to, progress)
            return _located(entry, to)
        except NotThere as reason:
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
    """The first of the files that can fill a role and that the source has. Raises NotThere if
    it has none.
    """
    for file in alternatives:
        try:
            remote = ask(source.repo, source.path_of(file), source.revision)
            _refuse_other_version(source, file, remote)
            if to is None:
                _fetch_into_cache(source, file, remote, progress)
            else:
                _fetch_into_folder(expanded(to).absolute() / entry.places[0], source, file, remote, progress)
            return
        except TransferBroken as broken:
            raise unreachable(broken) from None
        except NotThere:
            if file is alternatives[-1]:
                raise


def _refuse_other_version(source: Source, file: CatalogueFile, remote: RemoteFile) -> None:
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


def _fetch_into_cache(source: Source, file: CatalogueFile, remote: RemoteFile, progress: Progress) -> None:
    """Fetch a file among the hub's blobs, and link it as the hub's own client does: that one
    would ask the hub once more, and take whatever it then says.
    """
    folder = repo_folder(source)
    blob = folder / "blobs" / remote.etag
    if blob.exists() and remote.sha256 not in (None, file_sha256(blob, progress)):
        blob.unlink()
    if not blob.exists():
        _fetch(source, file, remote, blob, progress)
    pointer = folder / "snapshots" / remote.commit / source.path_of(file)
    with _writing(pointer):
        pointer.parent.mkdir(parents=True, exist_ok=True)
        if not pointer.exists() or not pointer.samefile(blob):
            with replaced_when_complete(pointer) as part:
                _link_or_copy(blob, part)
        if source.revision != remote.commit:
            reference = folder / "refs" / source.revision
            reference.parent.mkdir(parents=True, exist_ok=True)
            reference.write_text(remote.commit, encoding="utf-8")


def _fetch_into_folder(
    folder: Path, source: Source, file: CatalogueFile, remote: RemoteFile, progress: Progress
) -> None:
    target = folder / file.name
    if target.is_file() and target.stat().st_size == remote.size:
        sha256 = file_sha256(target, progress)
        if file.is_genuine(sha256) is not False and remote.sha256 in (None, sha256):
            return
    _fetch(source, file, remote, target, progress)


def _fetch(source: Source, file: CatalogueFile, remote: RemoteFile, target: Path, progress: Progress) -> None:
    """Bring a file to `target`, verified; what is fetched of it so far waits beside it."""
    part = target.with_name(f".{target.name[:80]}.{remote.etag[:12]}.part")
    with _writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{part}.lock"):
            try:
                if not (target.exists() and target.name == remote.etag):  # another process was quicker
                    _check_space(part, remote.size)
                    transfer(remote, part, file.name, progress)
                    _verify(source, file, remote, part, progress)
                    part.replace(target)
            finally:
                if part.exists() and not part.stat().st_size:
                    part.unlink()
                Path(f"{part}.lock").unlink(missing_ok=True)


def _link_or_copy(blob: Path, pointer: Path) -> None:
    try:
        pointer.symlink_to(os.path.relpath(blob, pointer.parent))
    except OSError:  # a file system, or a Windows user, that may not link
        shutil.copyfile(blob, pointer)


@contextmanager
def _writing(target: Path) -> Iterator[None]:
    """Errors of the file system, in our words; the hub's own have been told by then."""
    try:
        yield
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


def _verify(source: Source, file: CatalogueFile, remote: RemoteFile, part: Path, progress: Progress) -> None:
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
