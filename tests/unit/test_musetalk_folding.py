"""What runs against what the library computes: the same results, with the constants folded in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from personare.engines.musetalk.drive import positional_encoding
from personare.engines.musetalk.motion import FacePredictor
from personare.engines.musetalk.render import FaceDecoder
from personare.engines.musetalk.template import latents as published
from personare.errors import EngineError
from personare.networks.diffusion import unet_from_state, vae_from_state
from personare.networks.folding import LeanResnet, QuarterUpsample, lean_resnets
from tests.conformance.case import HERE, Replay

pytestmark = pytest.mark.neural


@pytest.fixture(scope="module")
def tiny() -> Replay:
    return Replay("musetalk", HERE / "musetalk", {}, 0)


def unet(tiny: Replay, dtype: Any = torch.float32) -> Any:
    return unet_from_state(tiny.state("unet"), tiny.config("unet"), "tiny", dtype=dtype)


def vae(tiny: Replay, dtype: Any = torch.float32) -> Any:
    return vae_from_state(tiny.state("vae"), tiny.config("vae"), "tiny", dtype=dtype)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def plain(network: Any, latents: np.ndarray, tokens: np.ndarray) -> Any:
    """The library's own forward at timestep 0, as SPEC section e describes the loop. In float64
    its rounding adds nothing to ours.
    """
    heard = torch.from_numpy(tokens + positional_encoding(*tokens.shape[1:])).to(network.dtype)
    given = torch.from_numpy(latents).to(network.dtype)
    with torch.inference_mode():
        return network(given, torch.tensor(0), encoder_hidden_states=heard, return_dict=False)[0]


def relative(made: Any, wanted: Any) -> float:
    return float((made - wanted).abs().max() / wanted.std())


@pytest.mark.parametrize(("rows", "height", "width"), [(1, 16, 16), (3, 32, 32), (2, 16, 24)])
def test_the_unet_is_the_librarys(tiny: Replay, rows: int, height: int, width: int) -> None:
    given, tokens = noise(rows, 8, height, width), noise(rows, 50, 48, seed=1)
    folded = FacePredictor(unet(tiny))
    made = folded.predict(given, tokens)
    assert relative(made, plain(unet(tiny, torch.float64), given, tokens)) < 1e-5
    assert relative(folded.predict(given, noise(rows, 50, 48, seed=2)), made) > 0.01  # it does listen


def test_the_time_embedding_was_not_nothing(tiny: Replay) -> None:
    """Folding another timestep gives another network, so the test above would see one that is
    left out.
    """
    from personare.networks.folding import fold_time, predict

    given, tokens = torch.from_numpy(noise(1, 8, 16, 16)), torch.from_numpy(noise(1, 50, 48))
    made = []
    for timestep in (0, 500):
        network = unet(tiny)
        fold_time(network, timestep)
        with torch.inference_mode():
            made.append(predict(network, given, tokens))
    assert relative(made[1], made[0]) > 0.01


@pytest.mark.parametrize("shape", [(1, 5, 1, 1), (2, 5, 7, 4)])
@pytest.mark.parametrize("bias", [True, False])
def test_four_small_convolutions_are_one_over_repeated_pixels(shape: tuple[int, ...], bias: bool) -> None:
    conv = torch.nn.Conv2d(5, 6, 3, padding=1, bias=bias)
    x = torch.from_numpy(noise(*shape))
    with torch.inference_mode():
        wanted = conv(torch.nn.functional.interpolate(x, scale_factor=2.0, mode="nearest"))
        torch.testing.assert_close(QuarterUpsample(conv)(x), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 4, 8, 8), (2, 4, 32, 32), (1, 4, 5, 9)])
def test_the_decoder_gives_the_published_bytes(tiny: Replay, shape: tuple[int, ...]) -> None:
    given = torch.from_numpy(0.18215 * noise(*shape))
    wanted = published.to_bytes(published.decoded(vae(tiny), given))
    made = FaceDecoder(vae(tiny)).decode(given)
    assert made.shape == wanted.shape
    assert np.ptp(wanted) > 50
    difference = np.abs(made.astype(int) - wanted)
    assert difference.max() <= 1  # where a level lies between two
    assert (difference > 0).mean() < 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_lean_blocks_are_the_librarys_to_the_bit(tiny: Replay, dtype: Any) -> None:
    given = torch.from_numpy(noise(1, 3, 16, 16)).to(dtype)
    encoder = vae(tiny, dtype).encoder
    with torch.inference_mode():
        wanted = encoder(given)
        lean_resnets(encoder)
        assert any(isinstance(part, LeanResnet) for part in encoder.modules())
        assert torch.equal(encoder(given), wanted)


def test_the_encoder_in_bfloat16_sees_the_same(tiny: Replay) -> None:
    """Channels last, its convolutions packed where the processor has them."""
    pictures = noise(2, 3, 32, 32).clip(-1, 1)
    wanted, _ = published.posterior(vae(tiny), pictures)
    made, _ = published.posterior(published.lean_encoder(vae(tiny, torch.bfloat16)), pictures)
    error = float((made - wanted).square().mean().sqrt() / wanted.std())
    assert 0 < error < 0.03


def test_a_block_that_is_not_plain_is_refused(tiny: Replay) -> None:
    with pytest.raises(ValueError, match="not plain"):
        lean_resnets(unet(tiny))  # with a time embedding in every block


def test_bfloat16_paints_the_same_picture(tiny: Replay) -> None:
    given, tokens = noise(2, 8, 32, 32), noise(2, 50, 48, seed=1)

    def painted(dtype: Any) -> np.ndarray:
        return (
            FaceDecoder(vae(tiny, dtype))
            .decode(FacePredictor(unet(tiny, dtype)).predict(given, tokens))
            .astype(float)
        )

    error = np.square(painted(torch.float32) - painted(torch.bfloat16)).mean()
    assert 10 * np.log10(255**2 / error) > 40


def test_a_face_that_is_not_finite_is_an_error(tiny: Replay) -> None:
    broken = torch.full((1, 4, 8, 8), float("nan"))
    with pytest.raises(EngineError, match="not finite") as raised:
        FaceDecoder(vae(tiny)).decode(broken)
    assert "precision" in raised.value.hint
