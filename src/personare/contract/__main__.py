"""`python -m personare.contract ENGINE`: one line per promise, exit code 1 if one is broken."""

from __future__ import annotations

import argparse
import sys
import tempfile
from importlib.resources import as_file, files
from pathlib import Path

from personare.contract.cases import Case
from personare.contract.checks import CHECKS, Broken
from personare.errors import PersonareError
from personare.studio.settings import Settings
from personare.studio.studio import Studio


def main(arguments: list[str] | None = None) -> int:
    """Put an installed engine to every check; the number of broken promises as 0 or 1."""
    parser = argparse.ArgumentParser(prog="python -m personare.contract", description=__doc__)
    parser.add_argument("engine")
    parser.add_argument("--portrait", type=Path, help="a photo; the bundled one by default")
    parser.add_argument("--weights", type=Path, help="folder of checkpoints")
    parser.add_argument("--seconds", type=float, default=1.2, help="length of the voice")
    parser.add_argument("--set", action="append", default=[], metavar="OPTION=VALUE")
    given = parser.parse_args(arguments)
    settings = dict(setting.split("=", 1) for setting in given.set)
    with (
        tempfile.TemporaryDirectory() as folder,
        as_file(files("personare") / "assets" / "portrait.jpg") as ours,
    ):
        try:
            studio = Studio(Settings(cache_dir=Path(folder), weights=given.weights))
            cast = studio.cast(given.portrait or ours, given.engine, settings)
            avatar, _ = studio.prepare(cast)
        except PersonareError as error:
            print(f"error: {error.message}", file=sys.stderr)
            return error.exit_code
        case = Case(cast.engine, avatar, cast.options, studio.store, given.seconds)
        broken = 0
        for check in CHECKS:
            try:
                check(case)
                outcome = "kept"
            except (Broken, PersonareError) as error:
                broken += 1
                outcome = f"BROKEN: {error}"
            finally:
                case.close()
            print(f"{check.__name__:<14} {outcome}  ({(check.__doc__ or '').splitlines()[0]})", flush=True)
        studio.store.close()
    return min(broken, 1)


if __name__ == "__main__":
    sys.exit(main())
