"""What of ComfyUI the nodes use, and what stands in for it outside of the program."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from personare.errors import InvalidOption


class Bar:
    """A personare Progress on the node's bar. A click on "cancel" ends the work at its next
    step.
    """

    def __init__(self) -> None:
        self._bar: Any = None
        self._what = ""

    def __call__(self, what: str, done: int, total: int | None) -> None:
        try:
            from comfy import model_management
            from comfy.utils import ProgressBar
        except ImportError:
            return
        model_management.throw_exception_if_processing_interrupted()
        if not total:
            return
        name = what.partition(",")[0]
        if self._bar is None or name != self._what:
            self._bar, self._what = ProgressBar(total), name
        self._bar.update_absolute(done, total)


def input_file(name: str) -> Path:
    """A file of the program's input folder. Raises InvalidOption for any other."""
    return _below(_folder("get_input_directory"), name)


def output_file(name: str) -> Path:
    """A file to be made in its output folder. Raises InvalidOption for any other place."""
    path = _below(_folder("get_output_directory"), name)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def temporary_folder() -> Path:
    """For pictures on their way."""
    return _folder("get_temp_directory")


def _below(folder: Path, name: str) -> Path:
    path = (folder / name).resolve()
    if not name.strip() or path == folder.resolve() or not path.is_relative_to(folder.resolve()):
        raise InvalidOption(f"{name!r} is no file of {folder.name}", hint="a name below that folder")
    return path


def _folder(asks: str) -> Path:
    try:
        import folder_paths
    except ImportError:
        return _own_folder()
    folder = Path(getattr(folder_paths, asks)())
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@cache
def _own_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="personare-comfyui-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
