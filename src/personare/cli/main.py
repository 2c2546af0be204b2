"""The program `personare`: its first lines, which answer signals, and its last, which give the
exit code. The commands are in `cli.app`.
"""

from __future__ import annotations

import os
import sys

from personare.cli import interrupts

# Not in a worker process, which reads the program's script too and leaves Ctrl-C to its parent.
if "--multiprocessing-fork" not in sys.orig_argv:
    interrupts.watch()


def run() -> None:
    """Run the command of `sys.argv` and exit with the code that `personare.errors` gives."""
    interrupts.watch()
    _open_standard_streams()
    from personare.ground.tuning import settle

    settle()
    from personare.cli.app import last_words, run_command

    code = interrupts.EXIT_CODE
    try:
        interrupts.command_begins()
        code = run_command(sys.argv[1:])
        interrupts.ignore()
    except KeyboardInterrupt:
        interrupts.ignore()
    _end(last_words(sys.argv[1:], code))


def _end(code: int) -> None:
    import gc

    from personare.cli.session import flush

    # The error is forgotten by now, and with it the decoders and networks that its traceback
    # held: they end before Python does.
    gc.collect()
    flush()
    if code == interrupts.EXIT_CODE:
        # Every block has ended by now. What an interrupted call still holds, Python would
        # complain about.
        os._exit(code)
    sys.exit(code)


def _open_standard_streams() -> None:
    """A stream that the caller closed becomes the null device: else the next file that is
    opened gets its number, and what libraries print goes into that file.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", closefd=False)
