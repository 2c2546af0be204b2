"""Where on this machine checkpoints may lie, known without a look at the network."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from personare.ground.paths import expanded
from personare.weights.catalogue import Component, Source

_TRUE = {"1", "on", "yes", "true"}


def weights_folders(folder: Path | None = None) -> list[Path]:
    """The folders that are searched before the hub cache: `folder` (`--weights`), then
    PERSONARE_WEIGHTS.
    """
    named = [folder] if folder else []
    named += [Path(part) for part in os.environ.get("PERSONARE_WEIGHTS", "").split(os.pathsep) if part]
    return [expanded(path).absolute() for path in named]


def hub_cache() -> Path:
    """The hub's cache folder, by the rules of huggingface_hub: HF_HUB_CACHE, HF_HOME,
    XDG_CACHE_HOME.
    """
    environment = os.environ
    home = environment.get("HF_HOME") or str(
        Path(environment.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    )
    cache = (
        environment.get("HF_HUB_CACHE") or environment.get("HUGGINGFACE_HUB_CACHE") or str(Path(home) / "hub")
    )
    return expanded(os.path.expandvars(cache)).absolute()


def is_offline() -> bool:
    """Whether HF_HUB_OFFLINE (or TRANSFORMERS_OFFLINE) forbids the network."""
    setting = os.environ.get("HF_HUB_OFFLINE") or os.environ.get("TRANSFORMERS_OFFLINE") or ""
    return setting.lower() in _TRUE


def repo_folder(source: Source) -> Path:
    """The folder of a repository in the hub cache: blobs, refs and snapshots."""
    return hub_cache() / f"models--{source.repo.replace('/', '--')}"


def candidate_folders(component: Component, folder: Path | None = None) -> Iterator[Path]:
    """Every folder in which a component's files may lie side by side, in the order of search;
    existing or not.

    A weights folder may be the `models` folder of a MuseTalk checkout, or hold it.
    """
    for base in weights_folders(folder):
        for root in (base, base / "models"):
            for place in component.places:
                yield root / place
    for source in component.sources:
        for snapshot in _snapshots(repo_folder(source), source.revision):
            yield snapshot / source.folder


def _snapshots(repo: Path, revision: str) -> Iterator[Path]:
    """The snapshot that the revision points to, then the others, newest first: one may hold
    what another lacks.
    """
    named: Path | None = None
    try:
        named = repo / "snapshots" / (repo / "refs" / revision).read_text(encoding="utf-8").strip()
        yield named
    except (OSError, UnicodeDecodeError):
        pass
    try:
        others = sorted((repo / "snapshots").iterdir(), key=lambda path: (-path.stat().st_mtime, path.name))
    except OSError:
        return
    yield from (other for other in others if other != named)
