"""The UNet and PoseNet from a released file: both in one .pth, or the UNet alone, with names
without a prefix, and PoseNet beside it (SPEC g). Exactly the tensors that belong to them, no
more and no less.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from personare.engines.mimicmotion.networks.pose_net import PoseNet, pose_net_from_state
from personare.engines.mimicmotion.networks.unet import RELEASED, unet_from_state
from personare.errors import WeightsMismatch, WeightsMissing
from personare.networks.diffusion import read_config
from personare.weights.loading import read_state

UNET, POSE_NET = "unet.", "pose_net."
POSE_NET_ALONE = "mimic_motion_pose_net.safetensors"
"""The name under which PoseNet is published alone."""


class MimicMotionState:
    """The tensors of a release; each network takes its part."""

    def __init__(
        self,
        unet: Mapping[str, Tensor],
        pose_net: Mapping[str, Tensor],
        config: Mapping[str, Any],
        source: str,
    ) -> None:
        self._unet, self._pose_net, self._config, self._source = unet, pose_net, config, source

    @classmethod
    def read(cls, file: Path) -> MimicMotionState:
        """Raises WeightsMismatch for another file, WeightsMissing where PoseNet is wanted
        beside it.
        """
        return cls.of(read_state(file), file)

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], file: Path) -> MimicMotionState:
        """The same of tensors that are read already."""
        sizes = sizes_beside(file)
        config = RELEASED if sizes is None else read_config(sizes)
        unet = {n.removeprefix(UNET): t for n, t in tensors.items() if n.startswith(UNET)}
        pose_net = {n.removeprefix(POSE_NET): t for n, t in tensors.items() if n.startswith(POSE_NET)}
        others = [name for name in tensors if not name.startswith((UNET, POSE_NET))]
        if not unet and not pose_net:
            beside = pose_net_beside(file)
            return cls(tensors, _plain(read_state(beside)), config, str(file))
        if others:
            raise WeightsMismatch(
                f"{file} holds what neither the UNet nor PoseNet knows: {', '.join(others[:5])}"
                + (f" and {len(others) - 5} more" if len(others) > 5 else ""),
                hint="another version of the model; personare weights verify checks the file",
            )
        return cls(unet, pose_net, config, str(file))

    def unet(self, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> Any:
        """Raises WeightsMismatch, as `pose_net`, with the names that are missing and too many."""
        return unet_from_state(self._unet, self._config, self._source, device, dtype)

    def pose_net(self, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> PoseNet:
        return pose_net_from_state(self._pose_net, self._source, device, dtype)


def sizes_beside(file: Path) -> Path | None:
    """Where the sizes of a network are written that is not of the released ones."""
    sizes = file.with_suffix(".json")
    return sizes if sizes.is_file() else None


def pose_net_beside(file: Path) -> Path:
    """PoseNet's own file. Raises WeightsMissing."""
    beside = file.parent / POSE_NET_ALONE
    if not beside.is_file():
        raise WeightsMissing(
            f"{file.name} holds the UNet alone, and {beside} is not there",
            hint=f"put PoseNet's file beside it as {POSE_NET_ALONE}, or use MimicMotion's own .pth",
        )
    return beside


def _plain(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(POSE_NET): tensor for name, tensor in state.items()}
