"""The networks of the wing, from the files that are on this machine: leases of what
`weights.resident` holds. ARTalk_wav2vec.pt is read once, whatever is made of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from personare.engines.artalk.motion import MotionMaker
from personare.engines.artalk.networks.config import ArTalkConfig
from personare.engines.artalk.options import ArTalkOptions
from personare.errors import WeightsMismatch
from personare.weights.resident import Lease, NetworkKey, lease, lease_component

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from personare.engines.artalk.networks.gaussians import AvatarNetworks
    from personare.engines.artalk.networks.loading import ArTalkState
    from personare.engines.artalk.networks.style import StyleEncoder
    from personare.engines.artalk.networks.style_unet import StyleUNet
    from personare.voice.wav2vec2 import SpeechFeatures
    from personare.weights.finder import Weights

ARTALK, GAGAVATAR = "artalk", "gagavatar"
DINO_HEADS = 12

Network = TypeVar("Network")


def lease_avatar_networks(options: ArTalkOptions, weights: Weights) -> Lease[AvatarNetworks]:
    """What makes Gaussians of a picture. Raises WeightsMissing, WeightsMismatch, as the next
    one.
    """
    from personare.engines.artalk.networks.gaussians import avatar_networks

    return _lease_gagavatar(
        options,
        weights,
        "avatar",
        lambda state, path, device: avatar_networks(state, str(path), _dino_heads(path), device),
    )


def lease_upsampler(options: ArTalkOptions, weights: Weights) -> Lease[StyleUNet]:
    """What makes a picture of splatted features."""
    from personare.engines.artalk.networks.gaussians import upsampler_network

    return _lease_gagavatar(
        options,
        weights,
        "upsampler",
        lambda state, path, device: upsampler_network(state, str(path), device),
    )


def _lease_gagavatar(
    options: ArTalkOptions,
    weights: Weights,
    part: str,
    made: Callable[[dict[str, Tensor], Path, torch.device], Network],
) -> Lease[Network]:
    import torch

    from personare.weights.device import choose_device
    from personare.weights.loading import read_state

    device = choose_device(options.device)

    def load(path: Path) -> Network:
        return made(read_state(path), path, device)

    return lease_component(weights, GAGAVATAR, load, device, torch.float32, part)


def _dino_heads(checkpoint: Path) -> int:
    """Heads of attention, which no tensor tells: the released ones, unless a .json beside the
    checkpoint describes another size.
    """
    sizes = checkpoint.with_suffix(".json")
    if not sizes.is_file():
        return DINO_HEADS
    try:
        described = json.loads(sizes.read_text(encoding="utf-8"))["dino"]
        # The released sizes are described in words.
        return int(described["num_heads"]) if isinstance(described, Mapping) else DINO_HEADS
    except (ValueError, KeyError, TypeError) as error:
        raise WeightsMismatch(
            f"{sizes} does not describe GAGAvatar.pt: {error!r}", hint="remove or restore it"
        ) from None


class Networks:
    """The networks of one run, leased when they are first needed, and what names them in keys.

    Raises WeightsMissing; WeightsMismatch when one is loaded.
    """

    def __init__(self, options: ArTalkOptions, weights: Weights) -> None:
        from personare.weights.device import choose_device, choose_dtype

        weights.require(ARTALK)
        located = weights.locate(ARTALK)
        assert located is not None
        self._paths = located.file("weights"), located.file("config")
        self.config = ArTalkConfig.read_file(self._paths[1])
        self.sha256 = (weights.sha256(ARTALK),)
        self._device = choose_device(options.device)
        # Bits are decisions, and each chunk goes on from them: float32, unless another
        # precision is asked for by name.
        precision = "float32" if options.precision == "auto" else options.precision
        self._dtype = choose_dtype(self._device, precision)

    @property
    def numeric_format(self) -> str:
        """Of hearing and of the transformer."""
        return str(self._dtype).removeprefix("torch.")

    @property
    def hearing(self) -> SpeechFeatures:
        return self._hearing.network

    @property
    def style(self) -> StyleEncoder:
        return self._style.network

    @property
    def maker(self) -> MotionMaker:
        return self._maker.network

    def forget(self) -> None:
        """Give all networks back; they are leased again if they are needed again."""
        for name in ("_hearing", "_style", "_maker"):
            if held := self.__dict__.pop(name, None):
                held.close()

    @cached_property
    def _hearing(self) -> Lease[SpeechFeatures]:
        return self._lease("hearing", self._dtype, lambda state: state.hearing(self._device, self._dtype))

    @cached_property
    def _style(self) -> Lease[StyleEncoder]:
        import torch

        return self._lease("style", torch.float32, lambda state: state.style(self._device))

    @cached_property
    def _maker(self) -> Lease[MotionMaker]:
        def made(state: ArTalkState) -> MotionMaker:
            return MotionMaker(state.transformer(self._device, self._dtype), state.codec(self._device))

        return self._lease("motion", self._dtype, made)

    def _lease(self, part: str, dtype: torch.dtype, made: Callable[[ArTalkState], Network]) -> Lease[Network]:
        from personare.engines.artalk.networks.loading import ArTalkState

        def load() -> Network:
            file = NetworkKey(self.sha256, f"{ARTALK}/file")
            with lease(file, lambda: ArTalkState.read(*self._paths)) as state:
                return made(state)

        return lease(NetworkKey.of(self.sha256, f"{ARTALK}/{part}", self._device, dtype), load)
