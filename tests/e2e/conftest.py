"""What tests of several engines share."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from personare.studio.studio import Studio


@pytest.fixture
def changes_once_prepared(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Path], Path]:
    """A copy of a photo that somebody writes to between its preparation and the first frame."""

    def call(photo: Path) -> Path:
        copy, prepare = tmp_path / photo.name, Studio.prepare
        shutil.copyfile(photo, copy)

        def prepared(*arguments, **named):
            made = prepare(*arguments, **named)
            copy.write_bytes(photo.read_bytes() + b"\0")
            return made

        monkeypatch.setattr(Studio, "prepare", prepared)
        return copy

    return call
