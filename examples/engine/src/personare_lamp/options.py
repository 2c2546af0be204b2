"""Every parameter of lamp."""

from __future__ import annotations

from fractions import Fraction

from pydantic import Field

from personare.engines.engine import EngineOptions, FrameRate


class LampOptions(EngineOptions):
    """Each field has a unit, a range, a default and a sentence: `personare schema` shows them."""

    size: int = Field(256, ge=64, le=1024, description="longer side of the picture in pixels, 64 to 1024")
    fps: FrameRate = Field(Fraction(25), description="frames per second, 1 to 120")
    glow: float = Field(0.5, ge=0, le=1, description="how much lighter the loudest frame is, 0 to 1")
