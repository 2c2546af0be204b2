"""What becomes of pictures, people and skeletons before a network of MimicMotion's sees them."""

from __future__ import annotations

import numpy as np
import torch

from personare.engines.mimicmotion import pictures, tiles
from personare.engines.mimicmotion.drive import followed_frames
from personare.engines.mimicmotion.options import rate_of
from personare.engines.mimicmotion.pose.align import fitted_line
from personare.engines.mimicmotion.pose.draw import draw
from personare.perception.whole_body import people, yolox
from personare.perception.whole_body.skeleton import Skeletons, skeletons_of
from personare.types import Guide
from tests.conformance.case import EXACT, Arrays, Case, Replay, Tolerance


def waves(height: int, width: int, phase: int = 0) -> np.ndarray:
    """The goldens' pictures, which are a formula."""
    y, x, k = np.meshgrid(np.arange(height), np.arange(width), np.arange(3), indexing="ij")
    levels = 120 * np.sin(0.05 * x + 0.021 * y + phase + k) * np.cos(0.033 * y - 0.4 * k)
    return np.floor(127.5 + levels).astype(np.uint8)


def _numbered(arrays: Arrays, name: str) -> list[int]:
    return [i for i in range(99) if f"{name}{i}" in arrays]


def _image_crop(replay: Replay) -> Arrays:
    given = replay.arrays
    return {
        f"crop_hwc{i}": pictures.cropped(waves(*given[f"hw{i}"]), int(given[f"resolution{i}"]))
        for i in _numbered(given, "hw")
    }


def _pixel_lut(replay: Replay) -> Arrays:
    made = {}
    for name, dtype in (("fp32", torch.float32), ("fp16", torch.float16)):
        made[f"normalised_{name}"] = (torch.arange(256).to(dtype) / 127.5 - 1).float().numpy()
        made[f"roundtrip_{name}"] = pictures.published_levels(dtype)
    return made


def _letterbox(replay: Replay) -> Arrays:
    made = {}
    for i in _numbered(replay.arrays, "hw"):
        shown, ratio = yolox.letterbox(waves(*replay.arrays[f"hw{i}"]))
        made[f"letterbox{i}_s16"] = shown[:, ::16, ::16]
        made[f"ratio{i}_f64"] = np.array(ratio)
        made[f"checksum{i}_f64"] = np.array(shown.sum(dtype=np.float64))
    return made


def _det_decode(replay: Replay) -> Arrays:
    given = replay.arrays
    head = np.zeros((8400, 85), np.float32)
    for j, anchor in enumerate(given["anchor"]):
        head[anchor, :4], head[anchor, 4] = given["rows"][j], given["obj"][j]
        head[anchor, 5 + given["cls"][j]] = given["prob"][j]
    ratio = min(yolox.SIDE / given["hw"][0], yolox.SIDE / given["hw"][1])
    return {"boxes_xyxy_f64": yolox.people_of(head, ratio)}


def _pose_crop(replay: Replay) -> Arrays:
    given, made = replay.arrays, {}
    for i in _numbered(given, "hw"):
        picture, box = waves(*given[f"hw{i}"]), given[f"bbox{i}_f64"]
        if not len(box):
            box = np.array([0, 0, picture.shape[1], picture.shape[0]], np.float64)
        centre, scale = people.centre_and_scale(box)
        made |= {f"center{i}_f64": centre, f"scale{i}_f64": scale}
        made[f"warp{i}_f64"] = people.warp_of(centre, scale)
        made[f"crop{i}_s16"] = people.network_input(picture, centre, scale).transpose(1, 2, 0)[::16, ::16]
    return made


def _simcc_decode(replay: Replay) -> Arrays:
    given, points, scores = replay.arrays, [], []
    for k in range(len(given["bin_x"])):
        x, y = (np.full((133, bins), given["background"], np.float32) for bins in (576, 768))
        for axis, name in ((x, "x"), (y, "y")):
            axis[np.arange(133), given[f"bin_{name}"][k]] = given[f"peak_{name}"][k]
        bins, score = people.bins_of(x, y)
        points.append(people.places(bins, given["center_f64"][k], given["scale_f64"][k]))
        scores.append(score)
    return {"keypoints_f64": np.stack(points), "scores": np.stack(scores)}


def _parts(made: Skeletons) -> dict[str, np.ndarray]:
    """As the published program holds people: all first hands, then all second ones."""
    rows = np.arange(18 * len(made)).reshape(-1, 18)
    return {
        "body_candidate_f64": made.body.reshape(-1, 2),
        "body_subset": np.where(made.seen, rows, -1).astype(np.float32),
        "body_score": made.body_scores,
        "hands_f64": made.hands.swapaxes(0, 1).reshape(-1, 21, 2),
        "hands_score": made.hands_scores.swapaxes(0, 1).reshape(-1, 21),
        "faces_f64": made.face,
        "faces_score": made.face_scores,
    }


def _draw(replay: Replay) -> Arrays:
    given = replay.arrays
    size = (int(given["hw"][0]), int(given["hw"][1]))
    made = skeletons_of(given["keypoints_px_f64"], given["scores"], size)
    return _parts(made) | {"rgb_chw": draw(made, size).transpose(2, 0, 1)}


def _preprocess(replay: Replay) -> Arrays:
    from fractions import Fraction

    given = replay.arrays
    picture = pictures.cropped(waves(*given["image_hw"]), int(given["resolution"]))
    canvas, size = picture.shape[:2], tuple(int(side) for side in given["video_hw"])
    fps, frames = Fraction(float(given["avg_fps"])), int(given["video_frames"])
    guide = Guide("golden", (), size, fps, frames, lambda: iter(()))
    used = followed_frames(guide, rate_of(guide, int(given["sample_stride"]), None))
    reference = skeletons_of(given["ref_keypoints_f64"], given["ref_scores"], canvas)
    ends = np.cumsum(given["persons"])
    moving = [
        skeletons_of(given["keypoints_f64"][end - n : end], given["scores"][end - n : end], size)
        for end, n in zip(ends, given["persons"], strict=True)
    ]
    line = fitted_line(reference, moving, size, canvas, published=True)
    aligned = [line.apply(each) for each in moving]
    parts = [_parts(each) for each in aligned]
    drawn = np.stack([draw(each, canvas).transpose(2, 0, 1) for each in (reference, *aligned)])
    levels = pictures.pose_input(drawn.transpose(0, 2, 3, 1))
    return {
        "used_frames": np.array(used),
        "a_b_for_x_then_y_f64": np.stack([line.factor, line.shift], axis=1),
        "aligned_body_f64": np.concatenate([each["body_candidate_f64"] for each in parts]),
        "aligned_hands_f64": np.concatenate([each["hands_f64"] for each in parts]),
        "aligned_faces_f64": np.concatenate([each["faces_f64"] for each in parts]),
        "pose_u8": drawn,
        "image_u8": picture.transpose(2, 0, 1)[None],
        "pose_f32_min_max": np.array([levels.min(), levels.max()]),
    }


def _tiles(replay: Replay) -> Arrays:
    made = {}
    for name in replay.arrays:
        case, _, what = name.rpartition("_")
        if what == "indices":
            frames, size, overlap = (int(part[1:]) for part in case.split("_"))
            indices, weight = tiles.tiles_of(frames, size, overlap), tiles.tile_weights(size)
            total = np.zeros(frames, np.float32)
            for tile in indices:
                total[tile] += weight
            made |= {f"{case}_indices": indices, f"{case}_weight": weight, f"{case}_sum": total}
    return made


_POINTS = ("hw", "keypoints_px_f64", "scores")
_DET = Case(_det_decode, {".*": Tolerance(1e-2)}, inputs=("hw", "anchor", "rows", "obj", "cls", "prob"))
_DRAW = Case(_draw, {".*_f64": Tolerance(1e-9), ".*": EXACT}, inputs=_POINTS)
_PREPROCESS = Case(
    _preprocess,
    {
        "used_frames": EXACT,
        # Last bits of the line move truncated coordinates: 0.05 % of the pixels may differ.
        "pose_u8": Tolerance(255, mean=255 * 0.0005),
        "image_u8": Tolerance(1, mean=0.001),
        ".*": Tolerance(1e-6),
    },
    inputs=(
        "image_hw|resolution|video_hw|video_frames|avg_fps|sample_stride",
        "ref_keypoints_f64|ref_scores|persons|keypoints_f64|scores",
    ),
)

POSE_CASES = {
    "image_crop": Case(_image_crop, {".*": Tolerance(1, mean=0.001)}, inputs=(r"hw\d+", r"resolution\d+")),
    "pixel_lut": Case(_pixel_lut, {"normalised_.*": Tolerance(1e-7), ".*": EXACT}),
    "det_letterbox": Case(_letterbox, {".*": EXACT}, inputs=(r"hw\d+",)),
    "det_decode_0": _DET,
    "det_decode_1": _DET,
    "pose_crop": Case(
        _pose_crop, {"crop.*": Tolerance(0.1), ".*": Tolerance(1e-3)}, inputs=(r"hw\d+", r"bbox\d+_f64")
    ),
    "simcc_decode": Case(
        _simcc_decode,
        {"scores": EXACT, ".*": Tolerance(1e-3)},
        inputs=("(bin|peak)_[xy]", "background", "center_f64", "scale_f64"),
    ),
    "draw_0": _DRAW,
    "draw_1": _DRAW,
    "draw_2": _DRAW,
    "preprocess_portrait": _PREPROCESS,
    "preprocess_landscape": _PREPROCESS,
    "tiles": Case(_tiles, {".*_indices": EXACT, ".*": Tolerance(1e-6)}),
}
