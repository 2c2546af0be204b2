"""`python -m personare.contract ENGINE`: one line per promise, exit code 1 if one is broken."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from dataclasses import replace
from fractions import Fraction
from importlib.resources import as_file, files
from pathlib import Path

from personare.contract.cases import Case
from personare.contract.checks import CHECKS, EVERY, Broken, Check
from personare.contract.guided import GUIDED
from personare.engines.engine import Engine, EngineOptions
from personare.errors import PersonareError
from personare.media.guide import open_guide
from personare.studio.settings import Settings
from personare.studio.studio import Studio


def main(arguments: list[str] | None = None) -> int:
    """Put an installed engine to every check; the number of broken promises as 0 or 1."""
    parser = argparse.ArgumentParser(prog="python -m personare.contract", description=__doc__)
    parser.add_argument("engine")
    parser.add_argument("--portrait", type=Path, help="a photo; the bundled one by default")
    parser.add_argument("--weights", type=Path, help="folder of checkpoints")
    parser.add_argument("--guide", type=Path, help="a video to follow; a still one by default")
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
        guide = open_guide(given.guide or _still(Path(folder) / "guide", ours), fps=Fraction(5))
        speaking = Case(cast.engine, avatar, cast.options, studio.store, given.seconds)
        following = replace(speaking, guide=guide, opened=[])
        broken = 0
        for check in checks_of(cast.engine, cast.options):
            case = following if guided(cast.engine, cast.options, check) else speaking
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


def checks_of(engine: Engine, options: EngineOptions) -> tuple[Check, ...]:
    """Every check that an engine has to pass: by what moves it."""
    drives = engine.drives(options)
    return (CHECKS if "speech" in drives else EVERY) + (GUIDED if "guide" in drives else ())


def guided(engine: Engine, options: EngineOptions, check: Check) -> bool:
    """Whether a check's performances follow a guide."""
    return check in GUIDED or "speech" not in engine.drives(options)


def _still(folder: Path, picture: Path) -> Path:
    """A guide of three pictures of somebody who does nothing."""
    folder.mkdir()
    for number in range(3):
        shutil.copy(picture, folder / f"{number}.jpg")
    return folder


if __name__ == "__main__":
    sys.exit(main())
