"""The relief: as much of the head's depth as one picture can show when it turns.

Where depth falls steeply (the rim of the cheek before the ear, the side of a nose, a cheek that
is turned away) a turning head uncovers what no picture has: the few pixels there would be drawn
out over it, or, turned the other way, fold over one another. A relief is the same depth with
bounded slopes. Turning it moves every place of the picture by an amount that changes but
gradually across the picture: nothing folds, nothing tears, nothing is drawn out by more than
the slope says. All that faces the viewer keeps its depth; rims and ears come forward, and so
move less against the face than real ones.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

ASIDE, UPRIGHT = 1.7, 3.5
"""Steepest slopes along the picture's rows and columns. At 15 degrees of yaw, cos 15 + ASIDE *
sin 15 = 1.4 is the furthest that anything is drawn out and cos 15 - ASIDE * sin 15 = 0.5 the
most that it is pressed, which resampling still does without steps. Heads nod less than they
turn: along columns a nose may stay as steep as it is.
"""
FREE, MOST = 0.68, 0.85
"""A relief that is turned so far that ASIDE * tan(yaw) and UPRIGHT * tan(pitch), taken
together, reach 1 folds. Up to FREE of that (21 degrees of yaw, or 15 with 8 of pitch) it turns
as told; what is beyond is compressed, and ends at MOST (26 degrees of yaw).
"""


def relief(points: Floats) -> Floats:
    """Depth with bounded slopes, float32 [n], of points [n, 3], z towards the viewer.

    The least function of the place in the picture that is nowhere behind the points and nowhere
    steeper than the limits (the upper Lipschitz extension of McShane 1934): a point changes
    only if another one, nearer to the viewer, is closer to it than their depths allow.
    """
    apart = points[:, None, :2] - points[None, :, :2]
    fall = np.hypot(apart[..., 0] * np.float32(ASIDE), apart[..., 1] * np.float32(UPRIGHT))
    return np.asarray((points[:, 2] - fall).max(axis=1), np.float32)


def bounded(yaw: float, pitch: float) -> tuple[float, float]:
    """The turn that is shown for one that is asked for; degrees."""
    aside, up = (math.tan(math.radians(min(max(angle, -80.0), 80.0))) for angle in (yaw, pitch))
    reach = math.hypot(ASIDE * aside, UPRIGHT * up)
    if reach <= FREE:
        return yaw, pitch
    share = (FREE + (MOST - FREE) * math.tanh((reach - FREE) / (MOST - FREE))) / reach
    return math.degrees(math.atan(share * aside)), math.degrees(math.atan(share * up))
