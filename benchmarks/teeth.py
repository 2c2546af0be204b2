"""The light on teeth beside the light in the mouth: a part of quality.py."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from personare.engines.puppet.draw.deform import pose
from personare.engines.puppet.draw.mouth import MouthInterior
from personare.engines.puppet.fit.light import cheek_colour, highlights, mouth_colours, mouth_light
from personare.engines.puppet.fit.rig import Rig
from personare.engines.puppet.fit.teeth import ENAMEL
from personare.engines.puppet.forms import CROP, RIG
from personare.motion import UNIT, FaceState
from personare.score.figures import Figure, at_most

if TYPE_CHECKING:
    from quality import Workshop

OPEN = {"jawOpen": 0.5, "mouthLowerDownLeft": 0.4, "mouthLowerDownRight": 0.4,
        "mouthUpperUpLeft": 0.4, "mouthUpperUpRight": 0.4}  # fmt: skip
"""A mouth that shows its upper teeth."""
ENAMEL_PERCENT = 90
"""The lightest tenth of what is seen between the lips is enamel that nothing shades."""
WITHIN = 0.10


@dataclass(frozen=True)
class Teeth:
    """One portrait's teeth against the light that its cheeks give its mouth. colour: the
    largest deviation of a channel, all scaled to one brightness. brightness: 1 is the mouth's.
    """

    portrait: str
    colour: float
    brightness: float


def teeth(workshop: Workshop) -> Iterator[Figure]:
    """Drawn teeth of every portrait, and the own ones of those that show theirs."""
    drawn, own = [], []
    for portrait in workshop.portraits:
        features = workshop.features(portrait)
        rig, picture = Rig.from_feature(features[RIG]), features[CROP].arrays["picture"]
        skin = cheek_colour(picture, rig.points)
        light = ENAMEL * mouth_light(skin, highlights(picture, rig.points))
        light = mouth_colours(picture, rig.points, skin) @ light
        without = replace(rig, photo_teeth=np.zeros((1, 1, 4), np.uint8))
        drawn.append(_judged(portrait.stem, _enamel(without), light))
        if rig.photo_teeth[..., 3].any():
            own.append(_judged(portrait.stem, _enamel(rig), light))
    for name, found in (("drawn", drawn), ("own", own)):
        row = f"{name} teeth, colour beside the mouth's light"
        if not found:
            yield Figure(row, None, "", "", "not measured", "no portrait shows its teeth")
            continue
        worst = max(found, key=lambda one: one.colour)
        light = [one.brightness for one in found]
        note = f"worst of {len(found)}: {worst.portrait}; brightness {min(light):.2f} to {max(light):.2f}"
        yield at_most(row, worst.colour, WITHIN, "", note)


def _enamel(rig: Rig) -> np.ndarray:
    """Mean colour [3] of the lightest of what is seen in the open mouth."""
    curves = np.zeros(len(UNIT), np.float32)
    for name, weight in OPEN.items():
        curves[UNIT[name]] = weight
    still = (0.0, 0.0)
    state = FaceState(curves=curves, tongue=0.0, head=(0.0, 0.0, 0.0), shift=still, gaze=still)
    inside = MouthInterior(rig).draw(pose(rig, state), curves, 0.0)
    seen = inside.colours[inside.alpha > 0.99]
    brightness = seen.mean(axis=1)
    return np.asarray(seen[brightness >= np.percentile(brightness, ENAMEL_PERCENT)].mean(axis=0))


def _judged(portrait: str, enamel: np.ndarray, light: np.ndarray) -> Teeth:
    off = (enamel / enamel.mean()) / (light / light.mean()) - 1
    return Teeth(portrait, float(np.abs(off).max()), float(enamel.mean() / light.mean()))
