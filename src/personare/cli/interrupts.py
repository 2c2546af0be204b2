"""Ctrl-C, SIGTERM and SIGHUP: the program ends with code 130 and one line, at any moment.

    importing           nothing is held yet: the handler itself says the line and ends
    a command runs      KeyboardInterrupt, so that every block ends what it began; what comes out
                        of it, whatever it is, is the interruption (`interrupted`)
    the end             signals are ignored

This module and `cli.main` import next to nothing: the handlers stand before anything that takes
time is imported.
"""

from __future__ import annotations

import os
import signal
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

EXIT_CODE = 130
MESSAGE = "interrupted; nothing half-written is left"
_SAME_REQUEST_SECONDS = 1.0
"""A second signal within this time is the same wish, and does not disturb the blocks that end."""
_AGAIN_SECONDS = 0.01
_SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)
]


class _State:
    """What the handler knows; one process runs one command."""

    command_runs = False
    ending = False
    signal = 0
    at = 0.0
    swallowed = False


def watch() -> None:
    """From now on signals are answered; those that the caller ignores (nohup) stay ignored."""
    _State.command_runs = _State.ending = _State.swallowed = False
    _State.signal = 0
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _arrived)


def command_begins() -> None:
    """There may be something to end from now on."""
    _State.command_runs = True


def interrupted() -> bool:
    """Whether a signal has arrived: an exception that follows is its doing."""
    return _State.signal != 0


def ignore() -> None:
    """The end begins: no signal disturbs it."""
    _State.ending = True
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _arrived(number: int, frame: FrameType | None) -> None:
    if _State.ending:
        return
    if not _State.command_runs:
        _end_at_once()
    now = time.monotonic()
    if _State.signal and not _State.swallowed and now - _State.at < _SAME_REQUEST_SECONDS:
        return
    _State.signal, _State.at, _State.swallowed = number, now, False
    sys.unraisablehook = _unraisable
    if "threading" in sys.modules:
        setattr(sys.modules["threading"], "excepthook", _silent)  # noqa: B010
    raise KeyboardInterrupt


def _end_at_once() -> None:
    ignore()
    answers = [(2, f"error: {MESSAGE}\n")]
    if "--json" in sys.argv:
        answers.append((1, f'{{"error": "{MESSAGE}", "hint": "", "kind": "Cancelled"}}\n'))
    for descriptor, text in answers:
        try:
            os.write(descriptor, text.encode())
        except OSError:
            continue
    os._exit(EXIT_CODE)


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
