"""Whether the extra for signatures is there."""

from __future__ import annotations

from importlib.util import find_spec

from personare.errors import WeightsMissing


def is_installed() -> bool:
    return find_spec("c2pa") is not None


def check_installed() -> None:
    """Raises WeightsMissing."""
    if not is_installed():
        raise WeightsMissing(
            "signing and reading signatures need c2pa-python, which is not installed",
            hint="pip install 'personare[provenance]'",
        )
