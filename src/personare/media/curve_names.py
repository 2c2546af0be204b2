"""What other programs call the curves of a face: ARKit's units under any of their spellings,
and the poses of Audio2Face.
"""

from __future__ import annotations

import difflib
import re
from functools import lru_cache

from personare.motion import ARKIT_UNITS, UNIT

NO_CURVES = frozenset(
    {"neutral", "default", "basis", "blendshapecount", "timecode", "time", "timestamp", "frame"}
)
"""Columns that are no curves and mean nothing here; MediaPipe's `_neutral` is always near 0."""

_SEPARATORS = re.compile(r"[\s_\-]+")

# Audio2Face's own names (its `facsNames`, without the side) -> ARKit's, with the share of each
_FACS: dict[str, dict[str, float]] = {
    "browlower": {"browDown*": 1}, "innerbrowraiser": {"browInnerUp": 1},
    "outerbrowraiser": {"browOuterUp*": 1}, "eyeslookleft": {"eyeLookOutLeft": 1, "eyeLookInRight": 1},
    "eyeslookright": {"eyeLookInLeft": 1, "eyeLookOutRight": 1},
    "eyeslookup": {"eyeLookUpLeft": 1, "eyeLookUpRight": 1},
    "eyeslookdown": {"eyeLookDownLeft": 1, "eyeLookDownRight": 1}, "eyesclose": {"eyeBlink*": 1},
    "eyesupperlidraiser": {"eyeWide*": 1}, "squint": {"eyeSquint*": 1}, "cheekraiser": {"cheekSquint*": 1},
    "cheekpuff": {"cheekPuff": 1}, "nosewrinkler": {"noseSneer*": 1}, "jawdrop": {"jawOpen": 1},
    "jawdropliptowards": {"jawOpen": 1, "mouthClose": 1}, "jawthrust": {"jawForward": 1},
    "jawslideleft": {"jawLeft": 1}, "jawslideright": {"jawRight": 1}, "mouthslideleft": {"mouthLeft": 1},
    "mouthslideright": {"mouthRight": 1}, "dimpler": {"mouthDimple*": 1},
    "lipcornerpuller": {"mouthSmile*": 1}, "lipcornerdepressor": {"mouthFrown*": 1},
    "lipstretcher": {"mouthStretch*": 1}, "upperlipraiser": {"mouthUpperUp*": 1},
    "lowerlipdepressor": {"mouthLowerDown*": 1}, "chinraiser": {"mouthShrugLower": 1},
    "lippressor": {"mouthPressLeft": 1, "mouthPressRight": 1}, "pucker": {"mouthPucker": 1},
    "funneler": {"mouthFunnel": 1}, "lipsuck": {"mouthRollLower": 1, "mouthRollUpper": 1},
}  # fmt: skip


def _spelled(name: str) -> str:
    """ "blendShapes.EyeBlink_L" -> "eyeblinkleft": without a path, case and separators; sides
    in full.
    """
    last = re.split(r"[.:|/]", name.strip())[-1]
    side = re.fullmatch(r"(.*[a-z])_?(L|R)", last) or re.fullmatch(r"(.+)[_ ](l|r)", last)
    if side:
        last = side[1] + {"l": "Left", "r": "Right"}[side[2].lower()]
    return _SEPARATORS.sub("", last).lower()


_UNITS = {name.lower(): name for name in ARKIT_UNITS}
# some rigs have two sides of what ARKit has one
_ONE_OF_TWO = {
    f"{name.lower()}{side}": name for name in ("browInnerUp", "cheekPuff") for side in ("left", "right")
}


@lru_cache(maxsize=4096)
def places_of(name: str) -> tuple[tuple[int, float], ...] | None:
    """(index in ARKIT_UNITS, share) of what a program calls `name`; empty for what is no curve;
    None if it is not known.
    """
    spelled = _spelled(name)
    unit = _UNITS.get(spelled) or _ONE_OF_TWO.get(spelled)
    if unit:
        return ((UNIT[unit], 1.0),)
    if spelled in NO_CURVES:
        return ()
    side = next((s for s in ("Left", "Right") if spelled.endswith(s.lower())), "")
    pose = _FACS.get(spelled) or _FACS.get(spelled.removesuffix(side.lower()))
    if pose is None or (not side and any("*" in unit for unit in pose)):
        return None
    return tuple((UNIT[unit.replace("*", side)], share) for unit, share in pose.items())


def closest(name: str) -> str:
    """ARKit's name that is spelled most like it; "" if none is."""
    found = difflib.get_close_matches(_spelled(name), _UNITS, n=1, cutoff=0.75)
    return _UNITS[found[0]] if found else ""
