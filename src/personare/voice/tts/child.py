"""A child process that speaks, with a watchdog: it answers, it is killed, or it is an error; it
is never waited for.
"""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from personare.errors import EngineError

HINT = "try again, or another text or voice; `personare doctor` shows the installed voices"


class Child:
    """A running command that was given `request` on stdin and is read from stdout.

    Only time spent waiting for the child counts towards `silence_seconds`: a slow reader does
    not make it late.
    """

    def __init__(self, process: subprocess.Popen[bytes], name: str, silence_seconds: float) -> None:
        self._process = process
        self._name = name
        self._silence_seconds = silence_seconds
        self._hung = False

    def read(self, count: int) -> bytes:
        """Up to `count` bytes, fewer only at the end of the output. Raises EngineError after
        too long a silence.
        """
        assert self._process.stdout is not None
        with self._watched():
            return self._process.stdout.read(count)

    def read_exactly(self, count: int) -> bytes:
        """`count` bytes. Raises EngineError if the child is silent too long or ends before."""
        data = self.read(count)
        if len(data) < count:
            raise self.ended_early()
        return data

    def ended_early(self) -> EngineError:
        """What to raise when the output stops before it is complete."""
        status = self._wait()
        how = f"was stopped by signal {-status}" if status < 0 else f"ended with status {status}"
        return EngineError(f"{self._name} {how} before it was done", hint=HINT)

    def expect_success(self) -> None:
        """At the end of the output: raises EngineError unless the child ends by itself with
        status 0.
        """
        if self._wait() != 0:
            raise self.ended_early()

    def send(self, request: bytes) -> None:
        assert self._process.stdin is not None
        # a child that ended without reading shows in the first read
        with self._watched(), suppress(OSError):
            self._process.stdin.write(request)
            self._process.stdin.flush()
        with suppress(OSError):
            self._process.stdin.close()

    def _wait(self) -> int:
        with self._watched():
            return self._process.wait()

    def _stop(self) -> None:
        self._hung = True
        self._process.kill()

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Kill the child, which ends every wait for it, if the block takes too long."""
        watchdog = threading.Timer(self._silence_seconds, self._stop)
        watchdog.daemon = True
        watchdog.start()
        try:
            yield
        finally:
            watchdog.cancel()
        if self._hung:
            raise EngineError(
                f"{self._name} gave no sound for {self._silence_seconds:g} s and was stopped", hint=HINT
            )


@contextmanager
def run_child(command: Sequence[str], request: bytes, name: str, silence_seconds: float) -> Iterator[Child]:
    """Start `command`, hand it `request`, and kill it when the block is left in whatever way.

    Raises EngineError if it cannot be started or does not take the request within
    `silence_seconds`.
    """
    # what the child says on stderr is not for the user, and a pipe that nobody reads would
    # block it
    try:
        process = subprocess.Popen(
            list(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
    except OSError as error:
        raise EngineError(f"{name} cannot be started: {error}", hint=HINT) from error
    try:
        child = Child(process, name, silence_seconds)
        child.send(request)
        yield child
    finally:
        process.kill()
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(OSError):
            process.stdin.close()
        process.stdout.close()
        process.wait()
