"""What a task reads and writes, on its way to another machine and back.

    here    pack: files of the order, and the avatar it names, in pieces into the object store
    there   unpack: the same order about files in a folder of its own
    there   outputs: what was written, in pieces again
    here    receive: each file appears where it was asked for, when it is complete

So machines need no common disk, and whoever asked keeps the only copy.
"""

from __future__ import annotations

import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

from personare.cluster.named import named_files
from personare.engines import DEFAULT_ENGINE
from personare.engines.engine import engine_entry_points
from personare.errors import PersonareError, UnwritableOutput
from personare.ground.durable import replaced_when_complete
from personare.provenance.ledger import Ledger, Made
from personare.shelf.archive import write_archive
from personare.shelf.manifest import manifest_digest
from personare.studio.order import Order
from personare.studio.studio import Studio
from personare.studio.transfer import import_avatar
from personare.work.jobs import Job
from personare.work.queue import Ended
from personare.work.tasks import Creation, Look, Task, Warming

Put: TypeAlias = Callable[[bytes], Any]
"""Puts a piece where others get it; what it is got with."""
Get: TypeAlias = Callable[[Any], bytes]
READ = ("portrait", "speech", "text_file", "guide", "motion", "sound")
WRITTEN = ("output", "curves_out", "motion_out")
_PIECE_BYTES = 16 << 20
_KEPT = 32
"""Files whose pieces stay put for the next task: portraits, avatars, a voice of many."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A file. name: without folders, but that of a folder of pictures that it was in."""

    name: str
    pieces: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class SentAvatar:
    """An avatar by name, without its features. digest: of its manifest, and of the files that
    its options name. options: those files, by option.
    """

    name: str
    digest: str
    archive: Sent
    options: Mapping[str, tuple[Sent, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Parcel:
    """A task, the files that it reads, by field, those that its options name, by option, and
    its avatar.
    """

    task: Task
    files: Mapping[str, tuple[Sent, ...]] = field(default_factory=dict)
    avatar: SentAvatar | None = None
    options: Mapping[str, tuple[Sent, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Done:
    """How a task ended, the files that it wrote, by field, and what the ledger there notes."""

    ended: Ended
    files: Mapping[str, Sent] = field(default_factory=dict)
    noted: tuple[Made, bytes] | None = None


class Packer:
    """Packs tasks on the machine that asks. From any thread."""

    def __init__(self, studio: Studio, put: Put) -> None:
        self._studio, self._put = studio, put
        self._kept: OrderedDict[tuple[Any, ...], Sent] = OrderedDict()
        self._lock = threading.RLock()

    def pack(self, task: Task) -> Parcel:
        """Raises OSError for a file that cannot be read, PersonareError for an avatar."""
        with self._lock:
            return self._packed(task)

    def _packed(self, task: Task) -> Parcel:
        files: dict[str, tuple[Sent, ...]] = {}
        named: dict[str, tuple[Sent, ...]] = {}
        name = None
        if isinstance(task, Job):
            name = task.order.avatar
            engine = task.order.engine
            if name is not None:
                engine = self._studio.shelf.load_manifest(name).engine
            named = self._named(engine, task.order.options)
            for what in READ:
                if (path := getattr(task.order, what)) is not None:
                    files[what] = self._sent(path)
        elif isinstance(task, Creation | Look):
            if task.portrait is not None:
                files["portrait"] = self._sent(task.portrait)
            if isinstance(task, Creation):
                named = self._named(task.engine, task.options)
        elif task.name not in engine_entry_points():
            name = task.name
        return Parcel(task, files, None if name is None else self.avatar(name), named)

    def avatar(self, name: str) -> SentAvatar:
        """An avatar of this machine's shelf. Raises PersonareError."""
        manifest = self._studio.shelf.load_manifest(name)
        digest = manifest_digest(manifest)
        key = ("avatar", name, digest)
        with self._lock:
            named = self._named(manifest.engine, manifest.options)
            if key not in self._kept:
                with tempfile.TemporaryDirectory(prefix="personare-") as folder:
                    archive = Path(folder) / "avatar.avatar"
                    write_archive(archive, manifest, self._studio.shelf.portrait(manifest), {})
                    self._keep(key, sent(archive, self._put))
            self._kept.move_to_end(key)
            whole = f"{digest} {sorted(named.items())}" if named else digest
            return SentAvatar(manifest.name, whole, self._kept[key], named)

    def _named(self, engine: str | None, options: Mapping[str, Any]) -> dict[str, tuple[Sent, ...]]:
        if not options:
            return {}
        try:
            found = named_files(self._studio.open(engine or DEFAULT_ENGINE), options)
        except PersonareError:  # an engine that is not here: whoever makes the clip says so
            return {}
        return {name: self._sent(path) for name, path in found.items()}

    def _sent(self, path: Path) -> tuple[Sent, ...]:
        if path.is_dir():
            inside = sorted(one for one in path.iterdir() if one.is_file())
            return tuple(sent(one, self._put, f"{path.name}/{one.name}") for one in inside)
        known = path.stat()
        key = (path, known.st_mtime_ns, known.st_size, known.st_ino)
        if key not in self._kept:
            self._keep(key, sent(path, self._put))
        self._kept.move_to_end(key)
        return (self._kept[key],)

    def _keep(self, key: tuple[Any, ...], one: Sent) -> None:
        self._kept[key] = one
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)


def sent(path: Path, put: Put, name: str = "") -> Sent:
    """A file in pieces. Raises OSError."""
    return Sent(name or path.name, tuple(put(piece) for piece in _pieces(path)))


def written(one: Sent, path: Path, get: Get) -> Path:
    """The file again. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for piece in one.pieces:
            file.write(get(piece))
    return path


def unpack(parcel: Parcel, folder: Path, get: Get) -> tuple[Task, dict[str, str]]:
    """The same task about files in a folder; and path there -> path here, for messages.
    Raises OSError.
    """
    task = parcel.task
    there: dict[str, str] = {}
    if isinstance(task, Warming):
        return task, {}
    if isinstance(task, Job | Creation):
        asked = task.order.options if isinstance(task, Job) else task.options
        named = put_down(parcel.options, folder / "options", get)
        there |= {path: str(asked[name]) for name, path in named.items()}
        options = {**asked, **named}
    changed: dict[str, Any] = {}
    for what, files in parcel.files.items():
        changed[what] = _put_down(files, folder / what, get)
        there[str(changed[what])] = str(getattr(task.order if isinstance(task, Job) else task, what))
    if isinstance(task, Creation):
        return replace(task, portrait=changed.get("portrait"), options=options), there
    if isinstance(task, Look):
        return replace(task, portrait=changed["portrait"]), there
    for what in WRITTEN:
        if (path := getattr(task.order, what)) is not None:
            changed[what] = folder / what / path.name
            changed[what].parent.mkdir(parents=True, exist_ok=True)
            there[str(changed[what])] = str(path)
    changed["options"] = options
    return replace(task, order=task.order.model_copy(update=changed)), there


def put_down(named: Mapping[str, tuple[Sent, ...]], folder: Path, get: Get) -> dict[str, str]:
    """The files that options name, in a folder; option -> its path there. Raises OSError."""
    return {name: str(_put_down(files, folder / name, get)) for name, files in named.items()}


def _put_down(files: Sequence[Sent], folder: Path, get: Get) -> Path:
    for one in files:
        written(one, folder / _harmless(one.name), get)
    first = _harmless(files[0].name) if files else Path("empty")
    if not files:  # a folder without files: whoever reads it says so
        (folder / first).mkdir(parents=True)
    return folder / first.parts[0]


def outputs(order: Order, put: Put) -> dict[str, Sent]:
    """The files that an order has written. Raises OSError."""
    paths = {what: getattr(order, what) for what in WRITTEN}
    return {what: sent(path, put) for what, path in paths.items() if path is not None and path.is_file()}


def receive(done: Done, studio: Studio, get: Get) -> Ended:
    """Put what a task has written where it was asked for; how it ended. Raises
    UnwritableOutput, PersonareError for an avatar.
    """
    task, ended = done.ended.task, done.ended
    if isinstance(task, Job):
        for what in reversed([name for name in WRITTEN if name in done.files]):  # the clip comes last
            _received(done.files[what], getattr(task.order, what), get)
    elif isinstance(task, Creation) and "avatar" in done.files:
        with tempfile.TemporaryDirectory(prefix="personare-") as folder:
            archive = written(done.files["avatar"], Path(folder) / "avatar.avatar", get)
            import_avatar(studio, archive, task.avatar, replace=task.replace)
    if done.noted is not None:
        Ledger().add(*done.noted)
    return ended


def renamed(ended: Ended, task: Task, there: Mapping[str, str]) -> Ended:
    """How a task ended, in the words of whoever asked: about his task, and his files."""

    def ours(text: str) -> str:
        for path in sorted(there, key=len, reverse=True):
            text = text.replace(path, there[path])
        return text

    def all_ours(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: all_ours(one) for name, one in value.items()}
        return ours(value) if isinstance(value, str) else value

    return replace(
        ended, task=task, report=all_ours(ended.report), error=ours(ended.error), hint=ours(ended.hint)
    )


def _received(one: Sent, path: Path, get: Get) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replaced_when_complete(path) as part:
            written(one, part, get)
    except OSError as error:
        raise UnwritableOutput(
            f"{path} cannot be written: {error.strerror or error}", hint="check the folder and the disk"
        ) from None


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            yield piece


def _harmless(name: str) -> Path:
    parts: Sequence[str] = Path(name).parts
    if not 0 < len(parts) < 3 or any(part in ("..", ".", "/") for part in parts):
        raise OSError(f"{name[:80]!r} is no file's name")
    return Path(*parts)
