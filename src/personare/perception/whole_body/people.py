"""The whole bodies of all people in a picture: boxes by YOLOX, 133 points each by DWPose, from
its ONNX file or its .pth.

What is kept of a person is what the networks said: the box, the winning bins and the scores.
Places follow from them, in float64 and always the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from personare.perception.whole_body.yolox import find_people
from personare.types import Image

if TYPE_CHECKING:
    from personare.perception.whole_body.rtmpose import RTMPose

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

INPUT_SIZE = (288, 384)
"""Width and height that the pose network sees."""
BINS_PER_PIXEL = 2.0
MOST_PEOPLE = 8
"""Of a crowd, the surest: each costs a run of the pose network."""
_MEAN = np.array([123.675, 116.28, 103.53])
_STD = np.array([58.395, 57.12, 57.375])
_MARGIN = 1.25

Pose = Callable[[Floats], tuple[Floats, Floats]]
"""Pictures float32 [n, 3, 384, 288] -> scores of x [n, 133, 576] and of y [n, 133, 768]."""


@dataclass(frozen=True, slots=True)
class People:
    """Those in one picture, the surest first.

    boxes: float64 [p, 4] x0 y0 x1 y1 in px. bins: int16 [p, 133, 2], -1 where a point was not
    found. scores: float32 [p, 133] as the network gives them; they may exceed 1.
    """

    boxes: Doubles
    bins: NDArray[np.int16]
    scores: Floats

    def __len__(self) -> int:
        return len(self.boxes)

    def points(self, person: int) -> Doubles:
        """Float64 [133, 2] in px of the picture."""
        return places(self.bins[person], *centre_and_scale(self.boxes[person]))


NOBODY = People(np.zeros((0, 4)), np.zeros((0, 133, 2), np.int16), np.zeros((0, 133), np.float32))


def centre_and_scale(box: Doubles) -> tuple[Doubles, Doubles]:
    """What the network sees of a box: its centre, and a size in its proportions, both float64
    [2] in px.
    """
    centre = np.array([box[0] + box[2], box[1] + box[3]]) * 0.5
    width, height = (box[2] - box[0]) * _MARGIN, (box[3] - box[1]) * _MARGIN
    aspect = INPUT_SIZE[0] / INPUT_SIZE[1]
    if width > height * aspect:
        return centre, np.array([width, width / aspect])
    return centre, np.array([height * aspect, height])


def warp_of(centre: Doubles, scale: Doubles) -> Doubles:
    """The map from the picture to the network's input, float64 [2, 3], through three pairs of
    points.
    """
    source = _corners(centre, float(scale[0]))
    target = _corners(np.array(INPUT_SIZE) / 2, INPUT_SIZE[0])
    return np.asarray(cv2.getAffineTransform(source, target), np.float64)


def _corners(centre: Doubles, width: float) -> Floats:
    """The centre, a point half a width above it, and the one that makes a square of them."""
    first, second = centre, centre + np.array([0, -width / 2])
    arm = first - second
    return np.array([first, second, second + np.array([-arm[1], arm[0]])], np.float32)


def network_input(picture: Image, centre: Doubles, scale: Doubles) -> Floats:
    """Float32 [3, 384, 288]: bilinear, black beyond the picture, normalised."""
    seen = cv2.warpAffine(picture, warp_of(centre, scale), INPUT_SIZE, flags=cv2.INTER_LINEAR)
    return np.ascontiguousarray(((seen - _MEAN) / _STD).transpose(2, 0, 1), dtype=np.float32)


def bins_of(x: Floats, y: Floats) -> tuple[NDArray[np.int16], Floats]:
    """The best bins int16 [133, 2] and scores float32 [133] of scores [133, bins] of x and y."""
    scores = np.minimum(x.max(axis=1), y.max(axis=1))
    bins = np.stack([x.argmax(axis=1), y.argmax(axis=1)], axis=1).astype(np.int16)
    bins[scores <= 0] = -1
    return bins, scores


def places(bins: NDArray[np.int16], centre: Doubles, scale: Doubles) -> Doubles:
    """Bins [133, 2] as px of the picture, float64 [133, 2]."""
    return np.asarray(bins / BINS_PER_PIXEL / np.array(INPUT_SIZE) * scale + centre - scale / 2, np.float64)


def see_people(picture: Image, detector: Any, pose: Pose, *, always: bool = False) -> People:
    """Everybody in a picture, uint8 [H, W, 3] RGB.

    detector: the session of YOLOX.
    always: where nobody is, the whole picture counts as a person.
    """
    boxes = find_people(detector, picture)[:MOST_PEOPLE]
    if not len(boxes):
        if not always:
            return NOBODY
        boxes = np.array([[0.0, 0.0, picture.shape[1], picture.shape[0]]])
    shown = [network_input(picture, *centre_and_scale(box)) for box in boxes]
    found = [bins_of(x[0], y[0]) for x, y in (pose(each[None]) for each in shown)]
    return People(boxes, np.stack([bins for bins, _ in found]), np.stack([scores for _, scores in found]))


def pose_of_session(session: Any) -> Pose:
    """The network of an ONNX file."""
    name = session.get_inputs()[0].name

    def pose(pictures: Floats) -> tuple[Floats, Floats]:
        x, y = session.run(None, {name: pictures})
        return np.asarray(x, np.float32), np.asarray(y, np.float32)

    return pose


def pose_of_network(network: RTMPose) -> Pose:
    """The same network from its .pth."""
    import torch

    weight = network.head.cls_x.weight

    def pose(pictures: Floats) -> tuple[Floats, Floats]:
        with torch.inference_mode():
            x, y = network(torch.from_numpy(pictures).to(weight.device, weight.dtype))
        return x.float().cpu().numpy(), y.float().cpu().numpy()

    return pose
