"""Fault injection in the manner of SQLite's tests: every call by which the store, the
workspaces, the index and the shelf change the disk fails once, or is the last that the process
makes.

A scenario prepares a folder, acts on it, and says what must hold afterwards. Its calls are
counted first. Then it runs once for each call and each kind of fault, in a forked process on a
fresh copy:

    full      the call fails with ENOSPC, a write after half of its bytes
    broken    it fails with EIO
    gone      it and all calls after it fail with EIO
    killed    the process dies in its place, a write after half of its bytes, unflushed bytes lost

Whoever acts must survive the first three (a shelf may say UnwritableOutput). Then a new process
without faults checks what is on the disk, does the same again, and checks that it worked.

python -m tests.faults.injection [--every N] [--seed S] [SCENARIO ...]

runs every case, or a random N-th of them, and prints the number of points.
"""

from __future__ import annotations

import argparse
import builtins
import errno
import fcntl
import io
import logging
import os
import random
import shutil
import sqlite3
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KINDS = ("full", "broken", "gone", "killed")
_KILLED = 9
_FAILED = 3
_WRITING = os.O_CREAT | os.O_WRONLY | os.O_RDWR | os.O_TRUNC


class Faults:
    """Counts the calls that change the disk, in this thread, and lets the `point`-th go wrong."""

    def __init__(self, point: int | None = None, kind: str = "") -> None:
        self.calls: list[str] = []
        self._point = point
        self._kind = kind
        self._thread = threading.current_thread()

    def install(self) -> None:
        """Patch this process; it is of no use for anything else afterwards, but `lift`."""
        for module, name in (
            (os, "fsync"), (os, "replace"), (os, "rename"), (os, "unlink"), (os, "remove"), (os, "mkdir"),
            (os, "rmdir"), (os, "truncate"), (os, "utime"),
        ):  # fmt: skip
            setattr(module, name, self._wrapped(getattr(module, name), name))
        opened, plain_open, connect, locked = os.open, io.open, sqlite3.connect, fcntl.flock

        def flock(descriptor: int, operation: int) -> None:
            if not operation & fcntl.LOCK_UN:  # to let go is never refused
                self.call("flock", descriptor)
            locked(descriptor, operation)

        def os_open(path: Any, flags: int, *rest: Any, **named: Any) -> int:
            if flags & _WRITING:
                self.call("open", path)
            return opened(path, flags, *rest, **named)

        def any_open(path: Any, mode: str = "r", *rest: Any, **named: Any) -> Any:
            if not set(mode) & set("wax+"):
                return plain_open(path, mode, *rest, **named)
            self.call("create", path)
            return _Written(plain_open(path, mode, *rest, **named), self)

        faults = self

        class Connection(sqlite3.Connection):
            def execute(self, sql: str, *rest: Any) -> Any:  # type: ignore[override]
                faults.call("execute", sql, _sqlite_error)
                return super().execute(sql, *rest)

            def executemany(self, sql: str, *rest: Any) -> Any:  # type: ignore[override]
                faults.call("executemany", sql, _sqlite_error)
                return super().executemany(sql, *rest)

        def connected(path: Any, **named: Any) -> Any:
            if path == ":memory:":
                return connect(path, **named)
            self.call("connect", path, _sqlite_error)
            return connect(path, factory=Connection, **named)

        fcntl.flock = flock
        os.open = os_open  # type: ignore[assignment]
        io.open = builtins.open = any_open  # type: ignore[assignment]
        sqlite3.connect = connected  # type: ignore[assignment]

    def lift(self) -> None:
        """No more faults."""
        self._point = None

    def call(
        self,
        name: str,
        what: Any,
        error: Callable[[int], Exception] = lambda number: OSError(number, os.strerror(number)),
        half: Callable[[], None] = lambda: None,
    ) -> None:
        """Count a call. half: what of it happens when it goes wrong."""
        if threading.current_thread() is not self._thread:
            return
        number = len(self.calls)
        self.calls.append(f"{name} {what}")
        if self._point is None or not (
            number == self._point or (number > self._point and self._kind == "gone")
        ):
            return
        half()
        if self._kind == "killed":
            os._exit(_KILLED)
        raise error(errno.ENOSPC if self._kind == "full" else errno.EIO)

    def _wrapped(self, real: Callable[..., Any], name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            self.call(name, arguments[0])
            return real(*arguments, **named)

        return call


class _Written:
    """A file whose writes, and the last flush when it is closed, may go wrong."""

    def __init__(self, file: Any, faults: Faults) -> None:
        self._file = file
        self._faults = faults

    def write(self, data: Any) -> int:
        def half() -> None:
            self._file.write(data[: len(data) // 2])
            self._file.flush()

        self._faults.call("write", self._file.name, half=half)
        return int(self._file.write(data))

    def close(self) -> None:
        if not self._file.closed:
            try:
                self._faults.call("close", self._file.name)
            finally:
                self._file.close()

    def __enter__(self) -> _Written:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def _sqlite_error(number: int) -> sqlite3.OperationalError:
    full = number == errno.ENOSPC
    error = sqlite3.OperationalError("database or disk is full" if full else "disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL if full else sqlite3.SQLITE_IOERR_WRITE
    error.sqlite_errorname = "SQLITE_FULL" if full else "SQLITE_IOERR_WRITE"
    return error


@dataclass(frozen=True)
class Scenario:
    """prepare: makes the folder. act: what is injured; may be done again. holds: asserts what
    must hold after an injured `act`; done: what must hold after a sound one. allowed: what an
    injured `act` may raise.
    """

    name: str
    prepare: Callable[[Path], None]
    act: Callable[[Path], None]
    holds: Callable[[Path], None]
    done: Callable[[Path], None]
    allowed: tuple[type[Exception], ...] = ()


@dataclass(frozen=True)
class Result:
    """points: calls that change the disk. cases: faults tried. problems: what did not hold."""

    points: int
    cases: int
    problems: list[str]


def examine(scenario: Scenario, chosen: Callable[[], bool] = lambda: True) -> Result:
    """Run a scenario with every fault that is chosen, each in a process of its own."""
    in_memory = Path("/dev/shm")  # a disk would spend the time on syncing
    with tempfile.TemporaryDirectory(dir=in_memory if in_memory.is_dir() else None) as made:
        # Always at the same place: the index knows shelves by their path.
        start, folder = Path(made) / "start", Path(made) / "at"
        folder.mkdir()
        scenario.prepare(folder)
        folder.rename(start)
        calls = _count(scenario, start, folder)
        cases, problems = 0, []
        for point, call in enumerate(calls):
            for kind in KINDS:
                if not chosen():
                    continue
                shutil.rmtree(folder)
                shutil.copytree(start, folder)
                cases += 1
                problem = _injured(scenario, folder, point, kind) or _forked(lambda: _after(scenario, folder))
                if problem:
                    problems.append(f"{scenario.name}, {kind} at {point} ({call}): {problem}")
        return Result(len(calls), cases, problems)


def _count(scenario: Scenario, start: Path, folder: Path) -> list[str]:
    shutil.copytree(start, folder)
    listed = folder.with_suffix(".calls")

    def count() -> None:
        faults = Faults()
        faults.install()
        scenario.act(folder)
        calls = list(faults.calls)
        scenario.done(folder)
        listed.write_text("\n".join(call.replace(str(folder), "").replace("\n", " ") for call in calls))

    if problem := _forked(count):
        raise AssertionError(f"{scenario.name} fails without a fault: {problem}")
    return listed.read_text().splitlines()


def _injured(scenario: Scenario, folder: Path, point: int, kind: str) -> str:
    def act() -> None:
        faults = Faults(point, kind)
        faults.install()
        with suppress(*scenario.allowed):
            scenario.act(folder)
        faults.lift()

    return _forked(act, may_die=kind == "killed")


def _after(scenario: Scenario, folder: Path) -> None:
    scenario.holds(folder)
    scenario.act(folder)
    scenario.done(folder)
    scenario.holds(folder)


def _forked(work: Callable[[], None], *, may_die: bool = False) -> str:
    """What went wrong in a process of its own, "" if nothing."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 0
        try:
            work()
        except BaseException:
            os.write(writing, traceback.format_exc(limit=-6).encode()[-4000:])
            status = _FAILED
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read().decode(errors="replace")
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code == 0 or (may_die and code == _KILLED):
        return ""
    return told or f"exit status {code}"


def main() -> int:
    from tests.faults.scenarios import SCENARIOS

    parser = argparse.ArgumentParser()
    parser.add_argument("scenarios", nargs="*")
    parser.add_argument("--every", type=int, default=1, help="a random N-th of all cases")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    logging.getLogger("personare").addHandler(logging.NullHandler())
    logging.getLogger("personare").propagate = False
    chance = random.Random(given.seed)
    points = cases = 0
    problems: list[str] = []
    for scenario in SCENARIOS:
        if given.scenarios and scenario.name not in given.scenarios:
            continue
        result = examine(scenario, lambda: chance.randrange(given.every) == 0)
        sys.stdout.write(f"{scenario.name}: {result.points} points, {result.cases} cases\n")
        sys.stdout.flush()
        points, cases = points + result.points, cases + result.cases
        problems += result.problems
    for problem in problems:
        sys.stdout.write(f"\n{problem}\n")
    sys.stdout.write(f"{points} points, {cases} cases, {len(problems)} problems\n")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
