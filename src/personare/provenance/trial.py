"""A trial before settings are kept: a small clip is signed and read back."""

from __future__ import annotations

import tempfile
from fractions import Fraction
from pathlib import Path

import numpy as np

from personare.errors import InvalidOption
from personare.media.writer import ClipWriter
from personare.provenance.marks import Mark, now
from personare.provenance.settings import MarksSettings
from personare.provenance.signature import read_signature
from personare.provenance.signing import ClipSigner

_SIDE_PX = 64
_FRAMES = 5


def check_signs(settings: MarksSettings) -> None:
    """Raises InvalidOption if what these settings sign is not whole, WeightsMissing without the
    extra.
    """
    signer = ClipSigner(settings)
    mark = Mark(settings.producer, "trial", "none", "personare", now())
    with tempfile.TemporaryDirectory(prefix="personare-") as folder:
        plain, signed = Path(folder) / "plain.mp4", Path(folder) / "signed.mp4"
        with ClipWriter(plain, size=(_SIDE_PX, _SIDE_PX), fps=Fraction(25)) as writer:
            writer.write_frames(np.zeros((_FRAMES, _SIDE_PX, _SIDE_PX, 3), np.uint8))
        with plain.open("rb") as source, signed.open("w+b") as target:
            signer.sign(source, target, mark, {})
        found = read_signature(signed)
    if found.state == "broken":
        reason = ", ".join(found.failures) or "its signature is not whole"
        raise InvalidOption(
            f"this certificate does not sign clips: {reason}",
            hint="it needs the usages that C2PA asks for, and the key that belongs to it",
        )
