"""Where faces are in pictures, what the networks are shown of them, and how painted faces come
back.
"""

from __future__ import annotations

import re

import numpy as np

from personare.engines.musetalk import compose
from personare.engines.musetalk.template import boxes, masks
from personare.media.template import palindrome
from personare.perception.s3fd import candidates, surviving
from personare.perception.whole_body import dwpose as pose
from tests.conformance.case import EXACT, Arrays, Case, Replay, Tolerance


def rgb(bgr: np.ndarray) -> np.ndarray:
    """Blue, green, red to red, green, blue, and back."""
    return np.ascontiguousarray(bgr[..., ::-1])


def _s3fd_post(replay: Replay) -> Arrays:
    shown = boxes.s3fd_input(rgb(replay.arrays["image_bgr"]))
    maps = [(replay.arrays[f"cls{i}"][0], replay.arrays[f"reg{i}"][0]) for i in range(1, 7)]
    found = candidates(maps)
    faces = surviving(found)
    best = boxes.first_face(faces)
    return {
        "net_input_8x8": shown[None, :, ::8, ::8],
        "candidates": found,
        "after_nms": faces,
        "final_box": np.array(best if best else (-1, -1, -1, -1)),
    }


def _dwpose_prepost(replay: Replay) -> Arrays:
    outputs = {
        "flip_indices": pose.MIRROR,
        "flip_out_x": pose.unmirrored(replay.arrays["flip_in_x"], along_x=True),
        "flip_out_y": pose.unmirrored(replay.arrays["flip_in_y"], along_x=False),
    }
    for name in replay.arrays:
        if match := re.fullmatch(r"((\d+)x(\d+))_image_bgr", name):
            outputs |= _one_pose(replay.arrays, match[1], (int(match[2]), int(match[3])))
    return outputs


def _one_pose(arrays: Arrays, case: str, size: tuple[int, int]) -> dict[str, np.ndarray]:
    view = pose.whole_picture(size, (288, 384))
    scores = [
        np.full((len(arrays[f"{case}_peak_{a}"]), bins), -1, np.float32)
        for a, bins in (("x", 576), ("y", 768))
    ]
    for axis, vector in zip("xy", scores, strict=True):
        vector[np.arange(len(vector)), arrays[f"{case}_peak_{axis}"]] = arrays[f"{case}_peak_v{axis}"]
    points, score = pose.decoded(scores[0], scores[1], view)
    picture = rgb(arrays[f"{case}_image_bgr"])
    outputs = {
        f"{case}_center": view.centre,
        f"{case}_scale": view.scale,
        f"{case}_matrix": view.matrix,
        f"{case}_keypoints_image": points,
        f"{case}_scores": score,
        f"{case}_warped_bgr_6x6": np.zeros((0, 288, 3), np.uint8),
        f"{case}_net_input_16x16": np.zeros((0, 288, 3), np.float32),
    }
    if picture.size:
        shown = pose.network_input(picture, view)
        warped = np.rint(shown.transpose(1, 2, 0) * pose.PIXEL_STD_RGB + pose.PIXEL_MEAN_RGB).astype(np.uint8)
        outputs[f"{case}_warped_bgr_6x6"] = rgb(warped)[::6, ::6]
        outputs[f"{case}_net_input_16x16"] = shown[:, ::16, ::16]
    return outputs


def _landmark_bbox(replay: Replay) -> Arrays:
    points = replay.arrays["keypoints"][:, pose.FACE]
    detected = [None if set(box) == {-1} else box for box in replay.arrays["detector_boxes"].tolist()]
    outputs: dict[str, np.ndarray] = {}
    for name in replay.arrays:
        if match := re.fullmatch(r"(boxes|range)_shift_(-?\d+)", name):
            shift = int(match[2])
            found = [boxes.released_box(p, box, shift) for p, box in zip(points, detected, strict=True)]
            outputs[f"boxes_shift_{shift}"] = np.array([box or (0, 0, 0, 0) for box in found], np.float32)
            outputs[f"range_shift_{shift}"] = np.array(
                boxes.shift_range(points[[box is not None for box in found]])
            )
    return outputs


def _crop256(replay: Replay) -> Arrays:
    frame, box = rgb(replay.arrays["frame_bgr"]), replay.arrays["box"].tolist()
    longer = (box[0], box[1], box[2], min(box[3] + 10, frame.shape[0]))
    return {
        "crop_v10": rgb(boxes.face_crop(frame, box))[::2, ::2],
        "crop_v15_margin10": rgb(boxes.face_crop(frame, longer))[::2, ::2],
        "y2_v15": np.array(longer[3]),
    }


def _parsing_input(replay: Replay) -> Arrays:
    picture = replay.arrays["image_rgb_u8"]
    shown = masks.parser_input(picture)
    return {
        "resized_u8": masks.parser_picture(picture)[::8, ::8],
        "net_input": shown[None, :, 5::64, 7::64],
        "net_input_mean": shown.mean(axis=(1, 2), dtype=np.float64),
    }


def _parsing_modes(replay: Replay) -> Arrays:
    labels = replay.arrays["labels"]
    outputs: dict[str, np.ndarray] = {
        "raw": masks.hard_mask(labels, "raw"),
        "neck": masks.hard_mask(labels, "neck"),
        "jaw_kernel": masks.jaw_kernel(),
        "cheek_kernel": masks.cheek_kernel(),
    }
    for name in replay.arrays:
        if match := re.fullmatch(r"jaw_(\d+)_(\d+)", name):
            outputs[name] = masks.hard_mask(labels, "jaw", int(match[1]), int(match[2]))
        elif match := re.fullmatch(r"cheek_mask_(\d+)_(\d+)_row0", name):
            outputs[name] = masks.cheek_mask(int(match[1]), int(match[2]))
    return outputs


def _crop_box(replay: Replay) -> Arrays:
    faces = replay.arrays["boxes"].tolist()
    return {
        "crop": np.array([masks.square_around(box) for box in faces]),
        "crop12": np.array([masks.square_around(box, 1.2) for box in faces]),
    }


def _blend(replay: Replay) -> Arrays:
    body, labels = rgb(replay.arrays["body_bgr"]), replay.arrays["labels"]
    outputs: dict[str, np.ndarray] = {}
    for name in [
        n.removesuffix("_box") for n in replay.arrays if n.endswith("_box") and not n.endswith("_crop_box")
    ]:
        box = replay.arrays[f"{name}_box"].tolist()
        face = rgb(replay.arrays[f"{name}_face_bgr"])
        painted = replay.arrays[f"{name}_pred256"]
        if painted.size:
            face = compose.face_in_box(rgb(painted), box)
        outputs[f"{name}_face_bgr"] = rgb(face)
        outputs[f"{name}_crop_box"] = np.array(masks.square_around(box))
        outputs[f"{name}_mask_prepared_jaw"] = _mask(labels, box, "jaw", 0.10).alpha
        for kind, mode, blur in (
            ("offline_jaw", "jaw", 0.05),
            ("offline_raw", "raw", 0.05),
            ("realtime_jaw", "jaw", 0.10),
        ):
            outputs[f"{name}_{kind}"] = rgb(
                compose.paste(body.copy(), face, box, _mask(labels, box, mode, blur))
            )
    return outputs


def _blend_legacy(replay: Replay) -> Arrays:
    given = replay.golden("blend")
    box = replay.arrays["box"].tolist()
    mask = _mask(given["labels"], box, "original", 0.10, 1.2)
    out = compose.paste(rgb(given["body_bgr"]), rgb(given["in_face_bgr"]), box, mask)
    return {"mask": mask.alpha, "out": rgb(out)}


def _mask(
    labels: np.ndarray, box: list[int], mode: masks.ParsingMode, blur: float, expand: float = 1.5
) -> compose.BlendMask:
    square = masks.square_around(box, expand)
    alpha = masks.soft_mask(masks.hard_mask(labels, mode), box, square, blur)
    return compose.BlendMask(alpha, square[0], square[1])


def _cycle(replay: Replay) -> Arrays:
    count, batch = int(replay.arrays["n_audio"]), int(replay.arrays["batch_size"])
    index = [palindrome(i, int(replay.arrays["n_frames"])) for i in range(count)]
    return {
        "source_index": np.array(index),
        "batch_sizes": np.array([len(rows) for rows in batches(count, batch)]),
    }


def batches(count: int, size: int) -> list[np.ndarray]:
    """Row numbers as the product sends them through a network together."""
    import torch

    from personare.engines.neural import BatchSize, in_batches

    return list(in_batches(lambda rows: rows, count, BatchSize(size, torch.device("cpu"))))


CASES = {
    "s3fd_post": Case(
        _s3fd_post, {"final_box": EXACT, ".*": Tolerance(1e-3)}, inputs=("image_bgr", r"(cls|reg)\d")
    ),
    "dwpose_prepost": Case(
        _dwpose_prepost,
        {
            "flip_.*": EXACT,
            ".*_warped_bgr_6x6": Tolerance(4),
            ".*_net_input_16x16": Tolerance(4 / 57.12 + 1e-3),
            ".*": Tolerance(1e-3),
        },
        inputs=(".*_image_bgr", ".*_peak_.*", "flip_in_.*"),
    ),
    "landmark_bbox": Case(_landmark_bbox, {".*": EXACT}, inputs=("keypoints", "detector_boxes")),
    "crop256": Case(_crop256, {".*": EXACT}, inputs=("frame_bgr", "box")),
    "parsing_input": Case(
        _parsing_input, {"resized_u8": EXACT, ".*": Tolerance(1e-5)}, inputs=("image_rgb_u8",)
    ),
    "parsing_modes": Case(_parsing_modes, {".*": EXACT}, inputs=("labels",)),
    "crop_box": Case(_crop_box, {".*": EXACT}, inputs=("boxes",)),
    "blend": Case(
        _blend, {".*": EXACT}, inputs=("body_bgr", "labels", r"(?!.*_crop_box$).*_box", ".*_pred256")
    ),
    "blend_legacy": Case(_blend_legacy, {".*": EXACT}, inputs=("box",)),
    "cycle": Case(_cycle, {".*": EXACT}, inputs=("n_frames", "n_audio", "batch_size")),
}
