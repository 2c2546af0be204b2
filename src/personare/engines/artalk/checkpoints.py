"""The networks of the wing, from the files that are on this machine: leases of what
`weights.resident` holds. ARTalk_wav2vec.pt is read once, whatever is made of it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from personare.engines.artalk.motion import MotionMaker
from personare.engines.artalk.networks.config import ArTalkConfig
from personare.engines.artalk.options import ArTalkOptions
from personare.weights.resident import Lease, NetworkKey, lease

if TYPE_CHECKING:
    import torch

    from personare.engines.artalk.networks.loading import ArTalkState
    from personare.engines.artalk.networks.style import StyleEncoder
    from personare.voice.wav2vec2 import SpeechFeatures
    from personare.weights.finder import Weights

ARTALK = "artalk"

Network = TypeVar("Network")


class Networks:
    """The networks of one run, leased when they are first needed, and what names them in keys.

    Raises WeightsMissing; WeightsMismatch when one is loaded.
    """

    def __init__(self, options: ArTalkOptions, weights: Weights) -> None:
        import torch

        from personare.weights.device import choose_device, choose_dtype

        weights.require(ARTALK)
        located = weights.locate(ARTALK)
        assert located is not None
        self._paths = located.file("weights"), located.file("config")
        self.config = ArTalkConfig.read_file(self._paths[1])
        self.sha256 = (weights.sha256(ARTALK),)
        self._device = choose_device(options.device)
        # Bits are decisions, and each chunk goes on from them: float32, unless another precision
        # is asked for by name.
        named = choose_dtype(self._device, options.precision)
        self._dtype = torch.float32 if options.precision == "auto" else named

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
