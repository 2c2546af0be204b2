"""mimicmotion's checkpoints, in every layout that they are published in."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import personare
from personare.engines.mimicmotion import checkpoints
from personare.engines.mimicmotion.networks.loading import POSE_NET_ALONE, MimicMotionState
from personare.engines.mimicmotion.networks.unet import FLOAT32_PARTS
from personare.errors import WeightsMismatch, WeightsMissing
from personare.weights.finder import Weights
from personare.weights.loading import read_state
from tests.conformance.seeded_checkpoint import write_checkpoints
from tests.conftest import error_lines
from tests.e2e.mimicmotion_runs import five_pictures, followed

pytestmark = pytest.mark.neural


@pytest.fixture(scope="module")
def guide(tmp_path_factory):
    return five_pictures(tmp_path_factory.mktemp("guide") / "guide.mp4")


@pytest.fixture(scope="module")
def whole(weights, portrait, guide, tmp_path_factory):
    """The frames of an uninterrupted run."""
    opened = personare.open_engine("mimicmotion", weights=weights, cache_dir=tmp_path_factory.mktemp("whole"))
    return followed(opened, portrait, guide)[0]


def test_the_merged_file_and_dwpose_of_its_pth_serve_as_well(weights, portrait, guide, tmp_path, whole):

    from personare.weights.loading import read_state

    other = tmp_path / "weights"
    shutil.copytree(weights / "svd", other / "svd")
    shutil.copytree(weights / "dwpose", other / "dwpose")
    (other / "mimicmotion").mkdir()
    state = read_state(weights / "mimicmotion/MimicMotion_1-1.pth")
    merged = other / "mimicmotion/MimicMotionMergedUnet_1-1-fp16.safetensors"
    unet = {
        name.removeprefix("unet."): tensor.clone() for name, tensor in state.items() if "unet." in name[:5]
    }
    save_file(unet, merged)
    shutil.copy(weights / "mimicmotion/MimicMotion_1-1.json", merged.with_suffix(".json"))
    with pytest.raises(WeightsMissing, match="holds the UNet alone"):
        MimicMotionState.read(merged)
    alone = {
        name.removeprefix("pose_net."): tensor.clone() for name, tensor in state.items() if "pose" in name[:5]
    }
    assert len(unet) + len(alone) == len(state)
    save_file(alone, merged.parent / POSE_NET_ALONE)
    opened = personare.open_engine("mimicmotion", weights=other, cache_dir=tmp_path / "cache")
    frames, _ = followed(opened, portrait, guide)
    # Where tensors lie in a file decides which kernels read them, and so the last bits.
    assert np.abs(frames.astype(int) - whole).max() <= 1

    (other / "dwpose/dw-ll_ucoco_384.onnx").unlink()
    assert checkpoints.pose_component(Weights(other)) == "dwpose-onnx"
    write_checkpoints("musetalk", "tiny", other, only=["dwpose"])
    assert checkpoints.pose_component(Weights(other)) == "dwpose"
    with checkpoints._watcher(Weights(other), torch.device("cpu")) as watcher:
        x, y = watcher.pose(np.zeros((1, 3, 128, 96), np.float32))  # the tiny one sees a third
    assert (x.shape, y.shape) == ((1, 133, 192), (1, 133, 256))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda state: state.pop("unet.conv_in.bias"), r"1 missing \(conv_in.bias\)"),
        (lambda state: state.pop("pose_net.scale"), r"1 missing \(scale\)"),
        (lambda state: state.update({"unet.more": torch.zeros(1)}), r"1 unknown \(more\)"),
        (
            lambda state: state.update({"vae.more": torch.zeros(1)}),
            "neither the UNet nor PoseNet knows: vae.more",
        ),
    ],
)
def test_the_released_file_is_read_strictly(weights, change, told):

    file = weights / "mimicmotion/MimicMotion_1-1.pth"
    state = read_state(file)
    change(state)
    with pytest.raises(WeightsMismatch, match=told):
        _read_both(state, file)


def _read_both(state, file):
    made = MimicMotionState.of(state, file)
    made.unet()
    made.pose_net()


def test_in_half_precision_the_first_and_last_layers_stay_as_they_are(weights):
    """Not rounded and turned back: as the file has them."""
    file = weights / "mimicmotion/MimicMotion_1-1.pth"
    state = read_state(file)
    half, exact = (MimicMotionState.of(state, file).unet(dtype=d) for d in (torch.bfloat16, torch.float32))
    for name, tensor in half.named_parameters():
        if name.startswith(FLOAT32_PARTS):
            assert torch.equal(tensor, state[f"unet.{name}"].float())
        else:
            assert tensor.dtype == torch.bfloat16
    generator = torch.Generator().manual_seed(0)
    width = exact.config.cross_attention_dim
    shapes = (1, 2, 8, 8, 8), (1, 1, width), (1, 3)
    sample, context, ids = (torch.randn(shape, generator=generator) for shape in shapes)
    with torch.inference_mode():
        expected = checkpoints.unet_output(exact, sample, torch.tensor(0.5), context, ids)
        given = (value.bfloat16() for value in (context, ids))
        made = checkpoints.unet_output(half, sample.bfloat16(), torch.tensor(0.5), *given)
    assert made.dtype == torch.bfloat16
    assert (made - expected).square().mean() < 1e-3 * expected.square().mean()


def test_without_weights_it_says_what_to_fetch(cli, portrait, guide, tmp_path):
    ended = cli(
        *(
            "follow",
            portrait,
            guide,
            "-o",
            tmp_path / "a.mp4",
            "--engine",
            "mimicmotion",
            "--weights",
            tmp_path,
        )
    )
    error, hint = error_lines(ended)
    assert ended.code == 4
    assert "MimicMotion_1-1.pth" in error or "mimicmotion-1-1" in error
    assert "weights pull" in hint
