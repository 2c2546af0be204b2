"""Convolutions whose weights lie as the processor multiplies them: what the plain ones compute."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from personare.networks.packed import PackedConv, pack_convolutions

pytestmark = pytest.mark.neural

LAYERS = [
    {"kernel_size": 3, "padding": 1},
    {"kernel_size": 3, "padding": 1, "stride": 2},
    {"kernel_size": 1, "bias": False},
    {"kernel_size": 3, "padding": 2, "dilation": 2},
    {"kernel_size": 3, "padding": 1, "groups": 2},
]


def layer(**chosen: object) -> nn.Conv2d:
    torch.manual_seed(0)
    made = nn.Conv2d(32, 48, **chosen).to(torch.bfloat16)  # type: ignore[arg-type]
    return made.requires_grad_(False).to(memory_format=torch.channels_last)


def maps(*shape: int, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    made = torch.randn(shape, generator=generator).to(torch.bfloat16)
    return made.contiguous(memory_format=torch.channels_last)


packs_here = pytest.mark.skipif(
    not PackedConv.packs(layer(**LAYERS[0])), reason="a processor without products in bfloat16"
)


@packs_here
@pytest.mark.parametrize("chosen", LAYERS, ids=str)
def test_packed_is_plain_to_the_bit(chosen: dict[str, object]) -> None:
    """Also on maps of other sizes than that which the weight was packed for."""
    plain, packed = layer(**chosen), PackedConv(layer(**chosen))
    with torch.inference_mode():
        for shape in [(4, 32, 8, 8), (1, 32, 8, 8), (2, 32, 17, 5)]:
            x = maps(*shape)
            assert torch.equal(packed(x), plain(x))
    assert packed.weight.numel() == 0  # held once


@packs_here
def test_what_is_added_is_added_before_rounding() -> None:
    plain, packed = layer(kernel_size=3, padding=1), PackedConv(layer(kernel_size=3, padding=1))
    x, rest = maps(2, 32, 8, 8), maps(2, 48, 8, 8, seed=2)
    kept = rest.clone()
    with torch.inference_mode():
        made, exact = packed(x, rest), plain.float()(x.float()) + rest.float()
    assert torch.equal(rest, kept)
    assert ((made.float() - exact).abs() <= exact.abs() * 2**-8 + 1e-3).all()


@packs_here
def test_many_threads_pack_once() -> None:
    plain, packed, x = (
        layer(kernel_size=3, padding=1),
        PackedConv(layer(kernel_size=3, padding=1)),
        maps(1, 32, 16, 16),
    )
    with torch.inference_mode():
        wanted = plain(x)

    def run(_: int) -> bool:
        with torch.inference_mode():
            return torch.equal(packed(x), wanted)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(run, range(32)))


def test_what_does_not_gain_stays_as_it_is() -> None:
    network = nn.Sequential(
        nn.Conv2d(4, 4, 3),
        nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect").to(torch.bfloat16),
        nn.Linear(4, 4),
    )
    before = list(network)
    pack_convolutions(network)
    assert list(network) == before
