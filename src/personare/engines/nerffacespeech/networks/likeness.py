"""How alike two pictures look: LPIPS 0.1 (Zhang et al. 2018) on the features of VGG-16 or
AlexNet. Widths are those of the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from personare.errors import WeightsMismatch
from personare.weights.loading import load_strictly, unallocated

Kind = Literal["vgg", "alex"]

_POOLS = {"vgg": (4, 9, 16, 23), "alex": (2, 5)}
_TAPS = {"vgg": (3, 8, 15, 22, 29), "alex": (1, 4, 7, 9, 11)}
"""Places of the layers in torchvision's order: pools, and the activations that are compared."""
_CONVOLUTIONS = {
    "vgg": dict.fromkeys((0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28), (1, 1)),
    "alex": {0: (4, 2), 3: (1, 2), 6: (1, 1), 8: (1, 1), 10: (1, 1)},
}
"""Place -> (stride, padding)"""
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)


class Likeness(nn.Module):
    """Pictures become vectors whose squared distance is LPIPS."""

    shift: Tensor
    scale: Tensor

    def __init__(self, kind: Kind, shapes: Mapping[int, tuple[int, int, int]]) -> None:
        """shapes: place of each convolution -> (in, out, kernel)."""
        super().__init__()
        self.kind = kind
        self.features = nn.ModuleDict()
        for place, (stride, padding) in _CONVOLUTIONS[kind].items():
            inputs, outputs, kernel = shapes[place]
            self.features[str(place)] = nn.Conv2d(inputs, outputs, kernel, stride, padding)
        widths = [shapes[max(p for p in shapes if p < tap)][1] for tap in _TAPS[kind]]
        self.weights = nn.ParameterList([nn.Parameter(torch.empty(1, width, 1, 1)) for width in widths])
        self.register_buffer("shift", torch.tensor(_SHIFT)[:, None, None], persistent=False)
        self.register_buffer("scale", torch.tensor(_SCALE)[:, None, None], persistent=False)

    def forward(self, pictures: Tensor) -> Tensor:
        """[B, 3, H, W] in [-1, 1] -> [B, n]"""
        x = (pictures - self.shift) / self.scale
        found: list[Tensor] = []
        for place in range(_TAPS[self.kind][-1] + 1):
            if place in _CONVOLUTIONS[self.kind]:
                x = self.features[str(place)](x)
            elif place in _POOLS[self.kind]:
                x = functional.max_pool2d(x, 2) if self.kind == "vgg" else functional.max_pool2d(x, 3, 2)
            else:
                x = x.relu()
            if place in _TAPS[self.kind]:
                found.append(self._weighed(x, self.weights[len(found)]))
        return torch.cat(found, 1)

    @staticmethod
    def _weighed(x: Tensor, weights: Tensor) -> Tensor:
        length = torch.sqrt(x.square().sum(1, keepdim=True) + 1e-20) + 1e-10
        places = x.shape[2] * x.shape[3]
        return (x / length * torch.sqrt(weights.clamp(min=0) / places)).flatten(1)


def likeness(
    kind: Kind,
    backbone: Mapping[str, Tensor],
    weights: Mapping[str, Tensor],
    device: torch.device | str,
    source: str,
) -> Likeness:
    """backbone: torchvision's file. weights: of LPIPS 0.1 for it. Raises WeightsMismatch."""
    shapes = {}
    for place in _CONVOLUTIONS[kind]:
        tensor = backbone.get(f"features.{place}.weight")
        if tensor is None or tensor.dim() != 4:
            raise WeightsMismatch(
                f"{source} has no features.{place}.weight", hint=f"it must be torchvision's {kind} network"
            )
        shapes[place] = (tensor.shape[1], tensor.shape[0], tensor.shape[2])
    with unallocated():
        network = Likeness(kind, shapes)
    state = {name: tensor for name, tensor in backbone.items() if name.startswith("features.")}
    state |= {f"weights.{n}": weights[f"lin{n}.model.1.weight"] for n in range(5) if _has(weights, n)}
    load_strictly(network, state, device=device, source=source)
    return network


def _has(weights: Mapping[str, Tensor], n: int) -> bool:
    return f"lin{n}.model.1.weight" in weights
