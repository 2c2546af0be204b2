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

from personare.ground import interruption

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

EXIT_CODE = 130
MESSAGE = "interrupted; nothing half-written is left"
_SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)
]


def watch() -> None:
    """From now on signals are answered; those that the caller ignores (nohup) stay ignored."""
    interruption.begin()
    _answer_with(_end_at_once)


def command_begins() -> None:
    """There may be something to end from now on."""
    _answer_with(interruption.interrupt)


def interrupted() -> bool:
    """Whether a signal has arrived: an exception that follows is its doing."""
    return interruption.arrived()


def ignore() -> None:
    """The end begins: no signal disturbs it."""
    interruption.end(*_SIGNALS)


def _answer_with(handler: Callable[[int, FrameType | None], None]) -> None:
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def _end_at_once(number: int, frame: FrameType | None) -> None:
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
