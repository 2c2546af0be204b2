"""Where faces are: S3FD, DWPose, and the rule that makes a box of both."""

from __future__ import annotations

import numpy as np
import torch

from personare.perception.s3fd import S3FD, candidates, s3fd_from_state, surviving
from tests.conformance.case import Arrays, Case, Replay, Tolerance


def _s3fd(replay: Replay) -> Arrays:
    network = s3fd_from_state(replay.state("s3fd"), "golden")
    with torch.inference_mode():
        levels = network(torch.from_numpy(replay.arrays["x"]))
    outputs = {}
    for i, (classes, offsets) in enumerate(levels, start=1):
        step = 2 if i == 1 else 1
        outputs[f"cls{i}"] = classes[:, :, ::step, ::step].numpy()
        outputs[f"reg{i}"] = offsets[:, :, ::step, ::step].numpy()
    return outputs


CASES = {
    "s3fd": Case(_s3fd, {".*": Tolerance(1e-3, of_std=True)}, inputs=("x",), components=("s3fd",)),
}
