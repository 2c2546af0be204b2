"""The lips at rest: where they meet, and how the lips of an open-mouthed picture are shut.

A picture taken with parted lips must still be able to say "p", and its own teeth must not show
when it does.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from personare.engines.puppet.fit.contour import find, outer_edges
from personare.engines.puppet.fit.light import colours_at
from personare.engines.puppet.fit.lip_colours import LOWER_ROWS, UPPER_ROWS
from personare.types import Image

Floats = NDArray[np.float32]

UPPER_INNER, LOWER_INNER = UPPER_ROWS[0], LOWER_ROWS[0]
CORNERS = (61, 291)
BETWEEN_CORNERS = slice(1, -1)

OPEN_GAP = 0.012
"""A mouth is open if it shows this much hollow or teeth between its inner lips, in eye
distances. The landmarks alone do not say: they part the lips of every smile.
"""
HOLLOW_DARKNESS, TEETH_REDNESS = 0.60, 0.50
"""Between lips, what is this dark or this little red compared with them is no lip."""
SEAM_REACH = 0.035
"""The dark line between closed lips is looked for this far from where the landmarks have it, in
eye distances.
"""
SEAM_STAY = 24.0
"""Grey levels that a seam at the end of the reach must be darker by to be believed."""
SEAM_PULL = np.array([1.0, 1.0, 0.7, 0.3], np.float32)
"""Share of the seam's correction for the four rows of a lip."""
CORNER_PULL = 0.7
"""The corners follow the seam next to them by this share."""
PARTED_GAP = 0.05
"""Lips further apart than this, in eye distances, show no seam."""
SHOWS_TEETH, HIDDEN_TEETH = 0.015, 0.030
"""Height of tooth between the lips, in eye distances, from which on their edges are those of
the teeth: in a mouth that the landmarks have open, and in one that they have shut.
"""
UPPER_SHARE, LOWER_SHARE = 0.38, 0.62
"""Who closes the gap: the jaw does more than the upper lip."""
UPPER_CLOSES = np.array([[1.0, 0.95, 0.75, 0.55], [1.0, 0.98, 0.94, 0.90]], np.float32)
LOWER_CLOSES = np.array([[1.0, 0.95, 0.80, 0.70], [1.0, 0.98, 0.96, 0.93]], np.float32)
CLOSES_WHOLE = 0.05
"""Share of the way for the four rows of a lip, from a slight gap to one this wide, in eye
distances: lips that grow much thicker than the picture has them look swollen, and parted.
"""
CHIN_REACH, PHILTRUM_REACH = 0.16, 0.08
"""How far the closing pulls skin below and above the lips, standard deviation times sqrt 2, in
eye distances.
"""
TUCK = 0.45
FULL_TUCK_GAP = 0.05
"""Share of a lip's inner half that rolls out of sight when it shuts, reached when the picture's
gap is this wide.
"""
LEVEL_CORNERS, SMILING_CORNERS = 0.025, 0.085
"""Corners that far above the middle of the mouth, in eye distances, smile not at all, or fully."""
SMILE_GAP, MOST_JAW = 0.10, 0.6
"""What a mouth is open beyond this gap, in eye distances, is taken for a dropped jaw: it shuts
by jawOpen, up to this weight.
"""
SEAM_ROOM, ROLLS_AT_MOST = 0.006, 0.45
"""Lips roll out by what they grow as they shut and by this much more (eye distances), so that
the dark line between them rolls in again as they part; by this share of the gap at most.
"""
TEETH_DEPTH = -0.03
"""The teeth lie this far behind the lips, in eye distances."""


def gaps(points: Floats) -> Floats:
    """Lower minus upper inner lip, float32 [11, 2] pixels."""
    return np.asarray(points[LOWER_INNER, :2] - points[UPPER_INNER, :2], np.float32)


def shows_its_inside(points: Floats, picture: Image, unit_px: float) -> bool:
    """Whether the picture's mouth is open."""
    gap = float(np.linalg.norm(gaps(points), axis=1).max()) / unit_px
    upper, lower = points[UPPER_INNER[3:8], :2], points[LOWER_INNER[3:8], :2]
    across = np.linspace(0, 1, 13, dtype=np.float32)[:, None]
    seen = colours_at(picture, upper[:, None] + (lower - upper)[:, None] * across)
    lip = colours_at(
        picture, points[np.concatenate([UPPER_ROWS[1:3, 3:8], LOWER_ROWS[1:3, 3:8]]).ravel(), :2]
    )
    lip_colour = np.median(lip, axis=0)
    dark = seen.mean(axis=-1) < HOLLOW_DARKNESS * lip_colour.mean()
    pale = _redness(seen) < TEETH_REDNESS * _redness(lip_colour)
    return bool(gap * (dark | pale).mean() > OPEN_GAP)


def _redness(colours: Floats) -> Floats:
    return np.asarray((colours[..., 0] - colours[..., 1]) / np.maximum(colours[..., 0], 1), np.float32)


def settle(points: Floats, picture: Image, unit_px: float) -> Floats:
    """Points [468, 3] whose lips lie where the picture shows them, and do not cross."""
    return uncrossed(_settled(points, picture, unit_px))


def uncrossed(points: Floats) -> Floats:
    """Points [n, 3] whose lips are not folded: rows of a lip lie one beyond the other, and
    inner lips meet half-way where the landmarks have the lower one above the upper one, as they
    do near the corners of a mouth that is seen from aside or is drawn.
    """
    line = points[UPPER_INNER[-1], :2] - points[UPPER_INNER[0], :2]
    across = np.array([-line[1], line[0]], np.float32) / max(float(np.linalg.norm(line)), 1e-3)
    upper_rows, lower_rows = UPPER_ROWS[:, BETWEEN_CORNERS], LOWER_ROWS[:, BETWEEN_CORNERS]
    upper, lower = (points[rows, :2] @ across for rows in (upper_rows, lower_rows))
    half = np.minimum(lower[0] - upper[0], 0) / 2 * SEAM_PULL[:, None]
    apart = points.copy()
    apart[upper_rows, :2] += (np.minimum.accumulate(upper + half) - upper)[..., None] * across
    apart[lower_rows, :2] += (np.maximum.accumulate(lower - half) - lower)[..., None] * across
    return apart


def _settled(points: Floats, picture: Image, unit_px: float) -> Floats:
    """Points [468, 3] whose lips lie where the picture shows their edges, or the dark line of
    the mouth.

    Around teeth, and in a mouth that is well open, the inner points go to the lips' edges and
    the rows behind them share what is left of the lip. Closed inner lips become one line on the
    dark line of the mouth. Slightly parted lips without teeth move together until the upper one
    ends on it.
    """
    points = outer_edges(points, picture, unit_px)
    opened = shows_its_inside(points, picture, unit_px)
    found = find(points, picture, unit_px)
    parted = opened and np.linalg.norm(gaps(points), axis=1).max() > PARTED_GAP * unit_px
    if parted or found.teeth > (SHOWS_TEETH if opened else HIDDEN_TEETH):
        return found.points
    line = points[UPPER_INNER] if opened else (points[UPPER_INNER] + points[LOWER_INNER]) / 2
    offset = _seam_offset(line[:, :2], picture, unit_px)
    settled = points.copy()
    for rows in (UPPER_ROWS, LOWER_ROWS):
        correction = np.zeros((len(line), 3), np.float32) if opened else line - points[rows[0]]
        correction[:, :2] += offset
        for row, pull in zip(rows, SEAM_PULL, strict=True):
            settled[row] = points[row] + correction * pull
    return settled


def _seam_offset(line: Floats, picture: Image, unit_px: float) -> Floats:
    """From the points of a line along the mouth, [11, 2], to the darkest smooth line near it:
    float32 [11, 2].
    """
    along = (line[-1] - line[0]) / max(float(np.linalg.norm(line[-1] - line[0])), 1e-3)
    across = np.array([-along[1], along[0]], np.float32)
    steps = np.linspace(-SEAM_REACH, SEAM_REACH, 29, dtype=np.float32) * unit_px
    places = line[BETWEEN_CORNERS, None] + steps[:, None] * across
    grey = cv2.GaussianBlur(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), (0, 0), max(0.008 * unit_px, 0.3))
    x, y = (np.ascontiguousarray(places[..., i] - 0.5) for i in (0, 1))
    seen = cv2.remap(grey, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    cost = seen + SEAM_STAY * (steps / (SEAM_REACH * unit_px)) ** 2
    # A neighbour's darkness counts too: the seam is a line, a freckle is not.
    cost = np.asarray(cv2.blur(cost, (1, 3), borderType=cv2.BORDER_REPLICATE))
    offset = np.pad(steps[cost.argmin(axis=1)], 2, mode="edge")
    smooth = np.convolve(offset, np.array([1, 2, 1], np.float32) / 4, mode="valid")
    smooth[[0, -1]] *= CORNER_PULL
    return np.asarray(smooth[:, None] * across, np.float32)


def closure_delta(points: Floats, unit_px: float) -> Floats:
    """Delta float32 [468, 3] that brings open inner lips together; zero for lips that meet
    already.
    """
    delta = np.zeros((468, 3), np.float32)
    gap = gaps(points)[BETWEEN_CORNERS]
    whole = min(1.0, float(np.linalg.norm(gap, axis=1).max()) / (CLOSES_WHOLE * unit_px))
    fixed = np.zeros(468, bool)
    fixed[np.concatenate([UPPER_ROWS, LOWER_ROWS]).ravel()] = True
    for rows, share, closes in (
        (UPPER_ROWS, UPPER_SHARE, UPPER_CLOSES),
        (LOWER_ROWS, -LOWER_SHARE, LOWER_CLOSES),
    ):
        for row, amount in zip(rows, closes[0] + (closes[1] - closes[0]) * whole, strict=True):
            delta[row[BETWEEN_CORNERS], :2] = gap * share * amount
    for outer, reach, below in ((LOWER_ROWS[-1], CHIN_REACH, True), (UPPER_ROWS[-1], PHILTRUM_REACH, False)):
        distance = np.linalg.norm(points[:, None, :2] - points[None, outer, :2], axis=2)
        nearest = outer[distance.argmin(axis=1)]
        side = (points[:, 1] > points[LOWER_ROWS[-1], 1][_nearest(points, LOWER_ROWS[-1])]) == below
        free = ~fixed & side
        falloff = np.exp(-((distance.min(axis=1) / (reach * unit_px)) ** 2))
        delta[free] = delta[nearest[free]] * falloff[free, None]
    return delta


def smile(closed: Floats, down: Floats, unit_px: float) -> float:
    """How much a face smiles in its picture, 0..1: by how far the corners of its mouth, shut,
    lie above its middle. closed: [n, 3]. down: of the head [3].
    """
    middle = (closed[UPPER_INNER[5]] + closed[LOWER_INNER[5]]) / 2
    corners = closed[list(CORNERS)].mean(axis=0)
    raised = float((middle - corners) @ down) / unit_px
    return min(1.0, max(0.0, (raised - LEVEL_CORNERS) / (SMILING_CORNERS - LEVEL_CORNERS)))


def jaw_share(points: Floats, jaw_open: Floats, unit_px: float) -> float:
    """How much of the unit jawOpen, deltas [468, 3], a mouth that is wide open in the picture
    wears: 0 for a smile.
    """
    middle = slice(4, 7)
    gap = gaps(points)[middle]
    width = float(np.linalg.norm(gap, axis=1).mean())
    apart = jaw_open[LOWER_INNER[middle], :2] - jaw_open[UPPER_INNER[middle], :2]
    opens = float((apart * gap).sum(axis=1).mean()) / max(width, 1e-3)
    return float(np.clip((width - SMILE_GAP * unit_px) / max(opens, 1e-3), 0, MOST_JAW))


def _nearest(points: Floats, row: NDArray[np.intp]) -> NDArray[np.intp]:
    distance = np.linalg.norm(points[:, None, :2] - points[None, row, :2], axis=2)
    return np.asarray(distance.argmin(axis=1))


def roll_out(points: Floats, delta: Floats, unit_px: float) -> Floats:
    """Texture shift float32 [468, 2] of lips that are shut though the picture has them open.

    A smile stretches the lips thin; shut, they show what was rolled in. The rows show what
    continues the lip inwards, see lip_texture, instead of a stretched picture. delta:
    `closure_delta`, [468, 3].
    """
    shift = np.zeros((468, 2), np.float32)
    gap = gaps(points)[BETWEEN_CORNERS]
    width = np.linalg.norm(gap, axis=1, keepdims=True)
    for rows, inwards in ((UPPER_ROWS, 1), (LOWER_ROWS, -1)):
        inner = rows[:, BETWEEN_CORNERS]
        grown = delta[inner[:3], :2] - delta[inner[3], :2]
        room = np.minimum(
            SEAM_ROOM * unit_px + np.linalg.norm(grown[0], axis=1, keepdims=True), ROLLS_AT_MOST * width
        )
        shift[inner[0]] = inwards * gap / np.maximum(width, 1e-3) * room
        share = np.linalg.norm(grown, axis=2) / np.maximum(np.linalg.norm(grown[0], axis=1), 1e-3)
        shift[inner[1:3]] = shift[inner[0]] * share[1:, :, None]
    return shift


def tuck(points: Floats, unit_px: float) -> Floats:
    """Texture shift float32 [468, 2] of the two inner rows towards the middle of the lip, if
    the mouth is open.

    In the pictures of a video the inner edge of an open mouth's lips is not searched for, and
    never exactly where the landmarks have it; what the lips show when they are shut is taken
    from safely inside them.
    """
    shift = np.zeros((468, 2), np.float32)
    gap = float(np.linalg.norm(gaps(points), axis=1).max()) / unit_px
    amount = TUCK * min(1.0, gap / FULL_TUCK_GAP)
    for rows in (UPPER_ROWS, LOWER_ROWS):
        inner, second, middle = rows[:3, BETWEEN_CORNERS]
        shift[inner] = amount * (points[middle, :2] - points[inner, :2])
        shift[second] = amount / 2 * (points[middle, :2] - points[second, :2])
    return shift


def mouth_axes(closed: Floats, down: Floats, unit_px: float) -> Floats:
    """Origin, right and down of the teeth, float32 [3, 3], from face points with shut lips and
    the head's own down.
    """
    origin = (closed[UPPER_INNER[5]] + closed[LOWER_INNER[5]]) / 2 + np.array([0, 0, TEETH_DEPTH * unit_px])
    right = closed[UPPER_INNER[-1]] - closed[UPPER_INNER[0]]
    right = right / np.linalg.norm(right)
    down = down - right * (down @ right)
    return np.stack([origin, right, down / np.linalg.norm(down)]).astype(np.float32)


def between_triangles() -> NDArray[np.int32]:
    """int32 [20, 3] that span the open mouth, over the upper and then the lower inner lip's
    vertices [22].
    """
    upper = np.arange(len(UPPER_INNER) - 1)
    lower = upper + len(UPPER_INNER)
    quads = [np.stack([upper, upper + 1, lower], axis=1), np.stack([upper + 1, lower + 1, lower], axis=1)]
    return np.concatenate(quads).astype(np.int32)
