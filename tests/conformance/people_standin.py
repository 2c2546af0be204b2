"""YOLOX and DWPose as ONNX files that see what a test wants them to: closed formulas of the
picture in place of the released networks.

A flat grey picture has nobody in it, any other one a person, a bluish one a second person on
the left. Everybody stands like `BODY` and leans to the right as the picture gets brighter.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CONTRAST, BLUE = 40.0, 40.0
BOXES = np.array([[320, 320, 300, 520], [120, 340, 180, 460]], np.float32)
"""Centre and size of the two people, in px of the detector's 640 x 640."""
LEAN = 12.0
"""px of the pose network's input between black and white."""
_CELL = 20
"""Rows of the head that the two are told in: among those of stride 32."""


def _fan(wrist: tuple[float, float], side: float) -> list[tuple[float, float]]:
    """A hand of 21 points below a wrist."""
    points = [wrist]
    for finger in range(5):
        dx = side * (finger - 2) * 3.0
        points += [(wrist[0] + dx * (0.6 + 0.3 * j), wrist[1] + 6.0 + 5.0 * j) for j in range(4)]
    return points


def body() -> np.ndarray:
    """133 points of somebody who stands, float32 [133, 2] in px of the pose network's input."""
    coco = [
        (144, 62), (150, 56), (138, 56), (158, 60), (130, 60), (176, 112), (112, 112), (196, 166), (92, 166),
        (202, 216), (86, 216), (164, 220), (124, 220), (166, 290), (122, 290), (167, 356), (121, 356),
    ]  # fmt: skip
    feet = [(172, 366), (178, 364), (164, 362), (116, 366), (110, 364), (124, 362)]
    turn = np.linspace(np.pi, 2 * np.pi, 17)
    jaw = [(144 + 15 * np.cos(a), 60 - 24 * np.sin(a)) for a in turn]
    rest = [
        (144 + 10 * np.cos(a), 58 + 12 * np.sin(a)) for a in np.linspace(0, 2 * np.pi, 51, endpoint=False)
    ]
    points = [*coco, *feet, *jaw, *rest, *_fan((202, 218), 1), *_fan((86, 218), -1)]
    return np.array(points, np.float32)


BODY = body()
SCORES = np.where(np.arange(133) < 91, 0.95, 0.8).astype(np.float32)


def write_detector(path: Path) -> None:
    """As yolox_l.onnx: (1, 3, 640, 640) -> (1, 8400, 85)."""
    head = np.zeros((1, 8400, 85), np.float32)
    shares = []
    for person, (x, y, width, height) in enumerate(BOXES):
        row = 8000 + person * _CELL
        cell = row - 8000
        head[0, row, :4] = (x / 32 - cell % 20, y / 32 - cell // 20, np.log(width / 32), np.log(height / 32))
        head[0, row, 4] = 1.0
        share = np.zeros((1, 8400, 85), np.float32)
        share[0, row, 5] = 0.9 - 0.1 * person
        shares.append(share)
    nodes = [
        helper.make_node("ReduceMax", ["picture"], ["high"], keepdims=0),
        helper.make_node("ReduceMin", ["picture"], ["low"], keepdims=0),
        helper.make_node("Sub", ["high", "low"], ["contrast"]),
        helper.make_node("ReduceMean", ["picture"], ["colours"], axes=[0, 2, 3], keepdims=0),
        helper.make_node("Gather", ["colours", "red"], ["reds"]),
        helper.make_node("Gather", ["colours", "blue"], ["blues"]),
        helper.make_node("Sub", ["blues", "reds"], ["bluish"]),
    ]
    for person, (what, limit) in enumerate((("contrast", "enough"), ("bluish", "very"))):
        nodes += [
            helper.make_node("Greater", [what, limit], [f"is{person}"]),
            helper.make_node("Cast", [f"is{person}"], [f"there{person}"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [f"there{person}", f"share{person}"], [f"seen{person}"]),
        ]
    nodes += [
        helper.make_node("Add", ["head", "seen0"], ["one"]),
        helper.make_node("Add", ["one", "seen1"], ["output"]),
    ]
    constants = {
        "head": head,
        "share0": shares[0],
        "share1": shares[1],
        "red": np.array(0),
        "blue": np.array(2),
        "enough": np.array(CONTRAST, np.float32),
        "very": np.array(BLUE, np.float32),
    }
    _write(path, nodes, constants, {"picture": (1, 3, 640, 640)}, {"output": (1, 8400, 85)})


def write_pose(path: Path) -> None:
    """As dw-ll_ucoco_384.onnx: (1, 3, 384, 288) -> (1, 133, 576) and (1, 133, 768)."""
    nodes = [
        helper.make_node("ReduceMean", ["picture"], ["light"], keepdims=0),
        helper.make_node("Mul", ["light", "lean"], ["shift"]),
        helper.make_node("Add", ["places_x", "shift"], ["leaning"]),
    ]
    for axis, places in (("x", "leaning"), ("y", "places_y")):
        nodes += [
            helper.make_node("Sub", [f"bins_{axis}", places], [f"off_{axis}"]),
            helper.make_node("Mul", [f"off_{axis}", f"off_{axis}"], [f"square_{axis}"]),
            helper.make_node("Mul", [f"square_{axis}", "steep"], [f"down_{axis}"]),
            helper.make_node("Sub", ["scores", f"down_{axis}"], [f"simcc_{axis}"]),
        ]
    constants = {
        "lean": np.array(LEAN / 2, np.float32),  # the network sees about -2 to 2
        "steep": np.array(0.01, np.float32),
        "scores": SCORES[None, :, None],
        "places_x": 2 * BODY[None, :, :1],
        "places_y": 2 * BODY[None, :, 1:],
        "bins_x": np.arange(576, dtype=np.float32)[None, None],
        "bins_y": np.arange(768, dtype=np.float32)[None, None],
    }
    outputs = {"simcc_x": (1, 133, 576), "simcc_y": (1, 133, 768)}
    _write(path, nodes, constants, {"picture": (1, 3, 384, 288)}, outputs)


def _write(
    path: Path,
    nodes: list[onnx.NodeProto],
    constants: dict[str, np.ndarray],
    inputs: dict[str, tuple[int, ...]],
    outputs: dict[str, tuple[int, ...]],
) -> None:
    def told(shapes: dict[str, tuple[int, ...]]) -> list[onnx.ValueInfoProto]:
        return [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n, shape in shapes.items()]

    held = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "people", told(inputs), told(outputs), held)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
