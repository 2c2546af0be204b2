"""Where checkpoints are."""

from __future__ import annotations

from pathlib import Path


class Weights:
    """Checkpoints by catalogue name, searched in `folder` (`--weights`), PERSONARE_WEIGHTS, then the hub cache."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
