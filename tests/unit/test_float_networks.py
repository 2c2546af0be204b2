"""Every fast path of FLOAT's networks gives what the plain form gives; files that are not the
network are refused.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from personare.engines.float import prepare
from personare.engines.float.motion import Guidance, MotionSampler
from personare.engines.float.networks.config import FloatConfig
from personare.engines.float.networks.loading import DECODER, FloatState
from personare.engines.float.networks.warp import base_grid, gathered
from personare.engines.float.render import FrameDecoder
from personare.errors import WeightsMismatch
from personare.networks.stylegan2 import blurred, doubled
from tests.conformance import float_published
from tests.unit.float_networks import CPU, noise, state

pytestmark = pytest.mark.neural


@pytest.fixture(scope="module")
def seen():
    picture = np.random.default_rng(1).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    return prepare.appearance(state().encoder(CPU), state().decoder(CPU), picture)


@pytest.fixture(scope="module")
def motion(seen):
    return (seen["reference"] + 0.5 * noise(3, 24)).astype(np.float32)


def published(seen, motion, **wrong):
    features = [torch.from_numpy(seen[f"feature{level}"])[None] for level in range(4)]
    rows = [torch.from_numpy(seen["appearance"] + row)[None] for row in motion]
    return torch.cat([float_published.decode(state().part(DECODER), row, features, **wrong) for row in rows])


def test_the_decoder_draws_a_batch_as_the_plain_one_draws_frame_by_frame(seen, motion):
    ours = FrameDecoder(state().decoder(CPU), seen["appearance"], seen, torch.float32).colours(motion)
    assert (ours - published(seen, motion)).abs().max() < 5e-5
    assert (ours - published(seen, motion, align_corners=True)).abs().max() > 1e-2


def test_the_decoder_in_bfloat16_differs_by_less_than_the_eye_sees(seen, motion):
    ours = FrameDecoder(state().decoder(CPU), seen["appearance"], seen, torch.bfloat16).colours(motion)
    error = (ours.clamp(-1, 1) - published(seen, motion).clamp(-1, 1)).square().mean()
    assert 10 * torch.log10(4 / error) > 40


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_feature_maps_stay_channels_last(seen, motion, dtype):
    """Else a transposed convolution takes six times as long, and every level is copied twice."""
    decoder, maps = state().decoder(CPU), []

    def watch(module, inputs, output):
        maps.extend(made for made in (inputs[0], output) if made.shape[1] > 3)

    for layer in (decoder.conv1, *decoder.convs):
        layer.register_forward_hook(watch)
    for layer in decoder.to_rgbs:
        layer.register_forward_pre_hook(lambda module, inputs: maps.append(inputs[0]))
    FrameDecoder(decoder, seen["appearance"], seen, dtype).colours(motion)
    assert len(maps) == 2 * (1 + len(decoder.convs)) + len(decoder.to_rgbs)
    assert all(made.is_contiguous(memory_format=torch.channels_last) for made in maps)


@pytest.mark.parametrize("up", [False, True])
def test_modulating_weights_and_scaling_activations_are_the_same(up):
    layer = state().decoder(CPU).convs[0 if up else 1]
    x, latent = torch.from_numpy(noise(2, 16, 8, 8)), torch.from_numpy(noise(2, 24))
    style = layer.conv.style(latent)
    gain = layer.conv.demodulation(style)
    assert (layer.modulated(x, style, gain) - layer.scaled(x, style, gain)).abs().max() < 1e-5


def test_gathering_is_grid_sampling():
    features, mask = (
        torch.from_numpy(noise(1, 5, 9, 9)),
        torch.rand(2, 1, 9, 9, generator=torch.Generator().manual_seed(0)),
    )
    flow = base_grid(9, CPU) + 0.8 * torch.from_numpy(noise(2, 9, 9, 2))  # far outside as well
    plain = functional.grid_sample(features.expand(2, -1, -1, -1), flow, align_corners=False) * mask
    assert (gathered(features, flow, mask) - plain).abs().max() < 1e-6
    assert (gathered(features, torch.full_like(flow, 1e30), mask) == 0).all()


def test_blurring_and_doubling_are_upfirdn():
    x = torch.from_numpy(noise(2, 3, 5, 7))
    assert (
        doubled(x) - float_published.upfirdn(x, float_published.kernel() * 4, up=2, pad=(2, 1))
    ).abs().max() < 1e-6
    assert (
        blurred(x, 2, 1) - float_published.upfirdn(x, float_published.kernel(), pad=(2, 1))
    ).abs().max() < 1e-6


@pytest.mark.parametrize("scales", [(2.0, 1.0), (1.0, 1.0), (2.0, 0.0), (2.0, 2.0), (0.0, 0.0)])
@pytest.mark.parametrize("packed", [False, True])
def test_sampling_a_chunk_is_three_plain_branches(scales, packed):
    plain, network = state().transformer(CPU), state().transformer(CPU)
    if packed:
        network.pack(42)
    reference, emotion, voice, start = (
        noise(24),
        np.full(7, 1 / 7, np.float32),
        noise(10, 24),
        noise(10, 24, seed=1),
    )
    before = (torch.zeros(4, 24), torch.zeros(4, 24))
    ours = MotionSampler(network, reference, emotion, points=4, guidance=Guidance(*scales)).sample(
        voice, start
    )
    arrays = (torch.from_numpy(array) for array in (reference, emotion))
    expected = float_published.sample_chunk(
        plain,
        *arrays,
        before,
        torch.from_numpy(voice),
        torch.from_numpy(start),
        points=4,
        audio_scale=scales[0],
        emotion_scale=scales[1],
    )
    assert np.abs(ours - expected.numpy()).max() < 1e-4


def test_half_precision_keeps_what_is_added_up_exact():
    exact, mixed = state().transformer(CPU), state().transformer(CPU, torch.bfloat16)
    config = exact.config
    voice, fresh = noise(config.chunk, config.width), noise(config.chunk, config.width, seed=1)

    def motion(network):
        emotion = np.full(7, 1 / 7, np.float32)
        return MotionSampler(network, noise(config.width), emotion).sample(voice, fresh)

    wanted = motion(exact)
    assert {p.dtype for n, p in mixed.named_parameters() if "blocks" not in n} == {torch.float32}
    assert 0 < np.square(motion(mixed) - wanted).mean() < 0.01 * np.square(wanted).mean()


def test_only_the_branches_that_count_are_evaluated():
    assert [len(Guidance(a, e).branches()) for a, e in [(2, 1), (2, 2), (1, 1), (2, 0), (1, 0), (0, 0)]] == [
        3,
        2,
        1,
        2,
        1,
        1,
    ]


@pytest.mark.parametrize("spoil", ["missing", "unknown", "shape"])
def test_a_file_that_is_not_the_network_is_refused(spoil):
    tensors = dict(state().tensors)
    name = "motion_autoencoder.dec.convs.3.conv.weight"
    if spoil == "missing":
        del tensors[name]
    else:
        tensors[name + ("2" if spoil == "unknown" else "")] = torch.zeros(1, 2, 3)
    with pytest.raises(WeightsMismatch, match=r"convs\.3\.conv\.weight"):
        FloatState(tensors, state().config, "float.pth").decoder(CPU)


def test_constants_may_be_in_the_file_or_not():
    config = state().config
    frames = config.previous + config.chunk
    stored = {
        "motion_autoencoder.dec.convs.0.conv.blur.kernel": torch.full((4, 4), 9.0),  # ours is computed
        "fmt.alignment_mask": torch.ones(frames, frames, dtype=torch.bool),
        "fmt.pos_embed": torch.zeros(1, frames, config.hidden),  # a stored table counts
    }
    full = FloatState({**state().tensors, **stored}, config, "float.pth")
    assert (full.transformer(CPU).pos_embed == 0).all()
    assert (full.transformer(CPU).band == state().transformer(CPU).band).all()
    x, latent = torch.from_numpy(noise(1, 16, 4, 4)), torch.from_numpy(noise(1, 24))
    assert torch.equal(full.decoder(CPU).convs[0](x, latent), state().decoder(CPU).convs[0](x, latent))


def test_sizes_come_from_beside_the_checkpoint(tmp_path):
    assert FloatConfig.beside(tmp_path / "float.pth") == FloatConfig()
    (tmp_path / "float.json").write_text("{}")
    with pytest.raises(WeightsMismatch, match="does not describe"):
        FloatConfig.beside(tmp_path / "float.pth")
