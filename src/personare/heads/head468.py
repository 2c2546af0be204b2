"""The 468-point face: MediaPipe's mesh, with the shape and the 52 ARKit units of the CC0
MakeHuman head.

Left and right are the subject's: left is at the right of the picture. Rows of points run from
image left to image right.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

FACE_OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
"""The 36 points of the outline, from the top of the forehead clockwise in the picture."""

# Lips, from the opening outwards; each row of 11 from corner to corner.
UPPER_INNER_LIP = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
UPPER_INNER_LIP_2 = (62, 183, 42, 41, 38, 12, 268, 271, 272, 407, 292)
UPPER_MIDDLE_LIP = (76, 184, 74, 73, 72, 11, 302, 303, 304, 408, 306)
UPPER_OUTER_LIP = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291)
LOWER_INNER_LIP = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
LOWER_INNER_LIP_2 = (62, 96, 89, 179, 86, 15, 316, 403, 319, 325, 292)
LOWER_MIDDLE_LIP = (76, 77, 90, 180, 85, 16, 315, 404, 320, 307, 306)
LOWER_OUTER_LIP = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291)
UPPER_LIP_ROWS = (UPPER_INNER_LIP, UPPER_INNER_LIP_2, UPPER_MIDDLE_LIP, UPPER_OUTER_LIP)
LOWER_LIP_ROWS = (LOWER_INNER_LIP, LOWER_INNER_LIP_2, LOWER_MIDDLE_LIP, LOWER_OUTER_LIP)

# Edges of the lids, from the outer to the inner corner; then, of the upper lid, the crease
# above it and the row below the brow (over the seven points between the corners).
RIGHT_EYE_UPPER = (33, 246, 161, 160, 159, 158, 157, 173, 133)
RIGHT_EYE_LOWER = (33, 7, 163, 144, 145, 153, 154, 155, 133)
RIGHT_LID_CREASE = (247, 30, 29, 27, 28, 56, 190)
RIGHT_BELOW_BROW = (113, 225, 224, 223, 222, 221, 189)
LEFT_EYE_UPPER = (263, 466, 388, 387, 386, 385, 384, 398, 362)
LEFT_EYE_LOWER = (263, 249, 390, 373, 374, 380, 381, 382, 362)
LEFT_LID_CREASE = (467, 260, 259, 257, 258, 286, 414)
LEFT_BELOW_BROW = (342, 445, 444, 443, 442, 441, 413)

RIGHT_EYE_OUTER, LEFT_EYE_OUTER = 33, 263
NOSE_TIP, CHIN = 1, 152

MIRROR = (
    0, 1, 2, 248, 4, 5, 6, 249, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 250, 251, 252, 253, 254, 255,
    256, 257, 258, 259, 260, 261, 262, 263, 264, 265, 266, 267, 268, 269, 270, 271, 272, 273, 274, 275, 276,
    277, 278, 279, 280, 281, 282, 283, 284, 285, 286, 287, 288, 289, 290, 291, 292, 293, 294, 295, 296, 297,
    298, 299, 300, 301, 302, 303, 304, 305, 306, 307, 308, 309, 310, 311, 312, 313, 314, 315, 316, 317, 318,
    319, 320, 321, 322, 323, 94, 324, 325, 326, 327, 328, 329, 330, 331, 332, 333, 334, 335, 336, 337, 338,
    339, 340, 341, 342, 343, 344, 345, 346, 347, 348, 349, 350, 351, 352, 353, 354, 355, 356, 357, 358, 359,
    360, 361, 362, 363, 364, 365, 366, 367, 368, 369, 370, 371, 372, 373, 374, 375, 376, 377, 378, 379, 151,
    152, 380, 381, 382, 383, 384, 385, 386, 387, 388, 389, 390, 164, 391, 392, 393, 168, 394, 395, 396, 397,
    398, 399, 175, 400, 401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 411, 412, 413, 414, 415, 416, 417,
    418, 195, 419, 197, 420, 199, 200, 421, 422, 423, 424, 425, 426, 427, 428, 429, 430, 431, 432, 433, 434,
    435, 436, 437, 438, 439, 440, 441, 442, 443, 444, 445, 446, 447, 448, 449, 450, 451, 452, 453, 454, 455,
    456, 457, 458, 459, 460, 461, 462, 463, 464, 465, 466, 467, 3, 7, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29,
    30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55,
    56, 57, 58, 59, 60, 61, 62, 63, 64, 65, 66, 67, 68, 69, 70, 71, 72, 73, 74, 75, 76, 77, 78, 79, 80, 81,
    82, 83, 84, 85, 86, 87, 88, 89, 90, 91, 92, 93, 95, 96, 97, 98, 99, 100, 101, 102, 103, 104, 105, 106,
    107, 108, 109, 110, 111, 112, 113, 114, 115, 116, 117, 118, 119, 120, 121, 122, 123, 124, 125, 126, 127,
    128, 129, 130, 131, 132, 133, 134, 135, 136, 137, 138, 139, 140, 141, 142, 143, 144, 145, 146, 147, 148,
    149, 150, 153, 154, 155, 156, 157, 158, 159, 160, 161, 162, 163, 165, 166, 167, 169, 170, 171, 172, 173,
    174, 176, 177, 178, 179, 180, 181, 182, 183, 184, 185, 186, 187, 188, 189, 190, 191, 192, 193, 194, 196,
    198, 201, 202, 203, 204, 205, 206, 207, 208, 209, 210, 211, 212, 213, 214, 215, 216, 217, 218, 219, 220,
    221, 222, 223, 224, 225, 226, 227, 228, 229, 230, 231, 232, 233, 234, 235, 236, 237, 238, 239, 240, 241,
    242, 243, 244, 245, 246, 247,
)  # fmt: skip
"""Point i is at the place of point MIRROR[i] when the picture is mirrored."""


@dataclass(frozen=True, slots=True)
class Head468:
    """The neutral face and how each unit moves it. Axes: x to the subject's left (image right),
    y up, z to the viewer.

    neutral: float32 [468, 3] in eye distances (outer corners 33 to 263), the middle between
    these corners at the origin. deltas: float32 [52, 468, 3] in eye distances, displacement at
    unit value 1, in the order of ARKIT_UNITS. triangles: int32 [852, 3]; the eyes are holes,
    the mouth is closed.
    """

    neutral: NDArray[np.float32]
    deltas: NDArray[np.float32]
    triangles: NDArray[np.int32]


@cache
def head468() -> Head468:
    """The bundled head, read-only. Made by tools/build_head_data.py from MakeHuman (CC0) and
    MediaPipe's topology (Apache-2.0).
    """
    arrays = safetensors.numpy.load((files("personare.heads") / "data" / "head468.safetensors").read_bytes())
    head = Head468(arrays["neutral"], arrays["deltas"].astype(np.float32), arrays["triangles"])
    for array in (head.neutral, head.deltas, head.triangles):
        array.flags.writeable = False
    return head


def similarity(
    source: NDArray[np.float32], target: NDArray[np.float32]
) -> tuple[float, NDArray[np.float32], NDArray[np.float32]]:
    """(scale, rotation [3, 3], translation [3]) with the least squared error of scale *
    rotation @ source + translation.

    source, target: [n, 3]. The rotation is proper: it never mirrors. Umeyama 1991, equations 34
    to 43.
    """
    a = source.astype(np.float64) - source.mean(axis=0, dtype=np.float64)
    b = target.astype(np.float64) - target.mean(axis=0, dtype=np.float64)
    left, strengths, right = np.linalg.svd(b.T @ a / len(a))
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(left @ right))])
    rotation = left * signs @ right
    scale = float((strengths * signs).sum() / (a**2).sum(axis=1).mean())
    translation = target.mean(axis=0, dtype=np.float64) - scale * rotation @ source.mean(
        axis=0, dtype=np.float64
    )
    return scale, rotation.astype(np.float32), translation.astype(np.float32)
