"""A signal becomes one KeyboardInterrupt in the main thread, so that every block ends what it
began. It is not lost where Python cannot raise, and a second signal does not disturb the blocks
that end: a group's signal and that of a parent process arrive one after the other.

Imports next to nothing: handlers stand before anything that takes time is imported.
"""

from __future__ import annotations

import signal
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

_SAME_REQUEST_SECONDS = 1.0
"""A second signal within this time is the same wish."""
_AGAIN_SECONDS = 0.01


class _State:
    """What the handler knows; one process does one thing at a time."""

    signal = 0
    at = 0.0
    swallowed = False
    ending = False


def begin() -> None:
    """No signal has arrived so far."""
    _State.signal = 0
    _State.swallowed = _State.ending = False


def arrived() -> bool:
    """Whether a signal has arrived: an exception that follows is its doing."""
    return _State.signal != 0


def end(*numbers: int) -> None:
    """The end begins: none of these signals disturbs it."""
    _State.ending = True
    for number in numbers:
        signal.signal(number, signal.SIG_IGN)


def interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    """The handler of a signal. Raises KeyboardInterrupt, once for signals that mean the same."""
    if _State.ending:
        return
    now = time.monotonic()
    if _State.signal and not _State.swallowed and now - _State.at < _SAME_REQUEST_SECONDS:
        return
    _State.signal, _State.at, _State.swallowed = number, now, False
    sys.unraisablehook = _unraisable
    if "threading" in sys.modules:
        setattr(sys.modules["threading"], "excepthook", _silent)  # noqa: B010
    raise KeyboardInterrupt


def _unraisable(unraisable: Any) -> None:
    """Where Python cannot raise (finalizers, callbacks of C) the interruption would be lost: it
    is sent again. What else fails there is a consequence.
    """
    if unraisable.exc_type is KeyboardInterrupt and not _State.ending:
        _State.swallowed = True
        from threading import Timer

        # not here, where it would be lost as well: in a moment, wherever the program is then
        again = Timer(_AGAIN_SECONDS, _send_again)
        again.daemon = True
        again.start()


def _send_again() -> None:
    from _thread import interrupt_main
    from threading import main_thread

    # what the main thread waits for ends by a signal that is really sent
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(main_thread().ident or 0, _State.signal)
    else:
        interrupt_main(signal.Signals(_State.signal))


def _silent(_: Any) -> None:
    """Threads whose partner was interrupted need not say so."""
