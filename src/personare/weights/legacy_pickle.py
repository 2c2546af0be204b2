"""Old torch formats and plain pickles, read without executing anything (being written; see the next commit)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from personare.errors import WeightsMismatch
from personare.weights.formats import Format


def read_legacy(path: Path, kind: Format) -> Any:
    raise WeightsMismatch(f"{path} is in an old {kind} format that this version cannot read")
