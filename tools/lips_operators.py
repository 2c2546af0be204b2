"""The operators with which MediaPipe's attention mesh looks at the lips again, in ONNX.

Landmarks2TransformMatrix lays a box around the landmarks of the lips, upright along the line
between two of them; TransformTensorBilinear takes the features inside it; TransformLandmarks
brings what is found there back (Grishchenko et al. 2020, "Attention Mesh"). A box is kept as
three ONNX values: its centre [1, 2], the rotation [2, 2] of its rows and the size [1, 2] of one
step, so that a place q of the box lies at centre + ((q - half) * step) @ rotation.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from flatbuffers import flexbuffers


@dataclass(frozen=True)
class Box:
    """Names of ONNX values; how many steps the box has to a side; by how much the landmarks'
    picture is larger than that of the features.
    """

    centre: str
    rotation: str
    step: str
    steps: int
    larger: float = 1.0


class LipsOperators:
    """What a Conversion knows of boxes."""

    _values: dict[int, str]
    _constants: dict[int, Any]

    def __init__(self) -> None:
        self._boxes: dict[int, Box] = {}

    def _add(self, kind: str, inputs: Any, **attributes: Any) -> str:
        raise NotImplementedError

    def _initialiser(self, array: Any) -> str:
        raise NotImplementedError

    def _shape(self, index: int) -> list[int]:
        raise NotImplementedError

    def _convert_landmarks2transformmatrix(self, operator: Any, options: Any) -> str:  # noqa: ARG002
        wanted = flexbuffers.Loads(bytes(operator.customOptions))
        if wanted["target_rotation_radians"] or wanted["output_height"] != wanted["output_width"]:
            raise NotImplementedError("a box that is not upright or not square")
        places = self._picked(self._values[operator.inputs[0]], [0, 1], axis=2)
        left, right = (
            self._add(
                "Squeeze", [self._picked(places, [wanted[f"{side}_rotation_idx"]], axis=1), self._axis(1)]
            )
            for side in ("left", "right")
        )
        along = self._add("Sub", [right, left])
        length = self._add("ReduceL2", [along], axes=[1], keepdims=1)
        along = self._add("Div", [along, length])
        across = self._add(
            "Mul", [self._picked(along, [1, 0], axis=1), self._initialiser(np.array([[-1, 1]], np.float32))]
        )
        rotation = self._add("Concat", [along, across], axis=0)
        upright = self._add("Transpose", [rotation], perm=(1, 0))
        turned = self._add("MatMul", [self._picked(places, wanted["subset_idxs"], axis=1), upright])
        low, high = (self._add(kind, [turned], axes=[1], keepdims=0) for kind in ("ReduceMin", "ReduceMax"))
        middle = self._add("Mul", [self._add("Add", [low, high]), self._initialiser(np.float32(0.5))])
        scale = np.array([[wanted["scale_x"], wanted["scale_y"]]], np.float32) / wanted["output_width"]
        step = self._add("Mul", [self._add("Sub", [high, low]), self._initialiser(scale)])
        centre = self._add("MatMul", [middle, rotation])
        self._boxes[operator.outputs[0]] = Box(centre, rotation, step, wanted["output_width"])
        return centre

    def _convert_transformtensorbilinear(self, operator: Any, options: Any) -> str:  # noqa: ARG002
        features, box = operator.inputs[0], self._boxes[operator.inputs[1]]
        middles = np.arange(box.steps, dtype=np.float32) + 0.5
        grid = np.stack(np.meshgrid(middles, middles), axis=-1).reshape(1, -1, 2)
        places = self._placed(self._initialiser(grid), box)
        side = self._shape(features)[1]
        scaled = self._add("Mul", [places, self._initialiser(np.float32(2 / side))])
        seen = self._add("Sub", [scaled, self._initialiser(np.float32(1))])
        shape = self._initialiser(np.array([1, box.steps, box.steps, 2], np.int64))
        return self._add("GridSample", [self._values[features], self._add("Reshape", [seen, shape])])

    def _convert_transformlandmarks(self, operator: Any, options: Any) -> str:  # noqa: ARG002
        box = self._boxes[operator.inputs[1]]
        larger = self._initialiser(np.float32(box.larger))
        found = self._add("Div", [self._values[operator.inputs[0]], larger])
        return self._add("Mul", [self._placed(found, box), larger])

    def _convert_mul(self, operator: Any, options: Any) -> str:  # noqa: ARG002
        """Also of a box, whose shift and nothing else is then larger."""
        first, second = operator.inputs
        if first in self._boxes:
            box, larger = self._boxes[first], float(self._constants[second][0, 0, 3])
            self._boxes[operator.outputs[0]] = replace(box, larger=larger)
            return box.centre
        factor = self._constants.get(second)
        other = self._values[second] if factor is None else self._initialiser(factor.astype(np.float32))
        return self._add("Mul", [self._values[first], other])

    def _placed(self, places: str, box: Box) -> str:
        """Places [1, n, 2] of a box, in the features that it was taken from."""
        from_middle = self._add("Sub", [places, self._initialiser(np.float32(box.steps / 2))])
        return self._add(
            "Add",
            [self._add("MatMul", [self._add("Mul", [from_middle, box.step]), box.rotation]), box.centre],
        )

    def _picked(self, value: str, indices: list[int], axis: int) -> str:
        return self._add("Gather", [value, self._initialiser(np.array(indices, np.int64))], axis=axis)

    def _axis(self, axis: int) -> str:
        return self._initialiser(np.array([axis], np.int64))
