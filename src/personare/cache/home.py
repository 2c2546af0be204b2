"""Where things live on a user's machine. PERSONARE_HOME moves all of it; `--cache-dir` moves the features of one call."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_cache_path, user_data_path

HOME_VARIABLE = "PERSONARE_HOME"
_APPLICATION = "personare"


def features_folder(cache_dir: Path | None = None) -> Path:
    """Folder of the feature store: `cache_dir`, else PERSONARE_HOME/features, else the user's cache folder."""
    if cache_dir is not None:
        return cache_dir.expanduser().absolute()
    home = _home()
    return home / "features" if home else user_cache_path(_APPLICATION) / "features"


def avatars_folder() -> Path:
    """Folder of the named avatars: PERSONARE_HOME/avatars, else the user's data folder."""
    home = _home()
    return home / "avatars" if home else user_data_path(_APPLICATION) / "avatars"


def _home() -> Path | None:
    value = os.environ.get(HOME_VARIABLE, "")
    return Path(value).expanduser().absolute() if value else None
