"""Linear layers and convolutions of a CPU, their weights in the layout that oneDNN multiplies
fastest.
"""

from __future__ import annotations

from threading import Lock

import torch
from torch import Tensor, nn
from torch.nn import functional


class PackedLinear(nn.Linear):
    """A linear layer; after `pack`, on a CPU in float32, with its weight reordered once and for
    all.

    torch's own linear goes through MKL there, which on processors of other makers than Intel
    runs at less than half of oneDNN's speed (180 rows, 1024 by 4096: 50 against 130 GFLOP/s on
    the machine of docs/engines/float.md). The sums are taken in another order, so results
    differ in the last bits of float32.
    """

    _packed: Tensor | None = None
    _rows: int

    def pack(self, rows: int) -> None:
        """Reorder for inputs of about `rows` rows, and let go of the plain weight. Without
        oneDNN nothing happens.
        """
        plain = self.weight
        if self.packs(plain):
            self._packed = torch.ops.mkldnn._reorder_linear_weight(plain.detach(), rows)
            self.weight = nn.Parameter(torch.empty(0, self.in_features), requires_grad=False)

    @staticmethod
    def packs(weight: Tensor) -> bool:
        """Whether `pack` would do anything with this weight."""
        return (
            weight.device.type == "cpu"
            and weight.dtype == torch.float32
            and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
        )

    def forward(self, x: Tensor) -> Tensor:
        if self._packed is None:
            return functional.linear(x, self.weight, self.bias)
        flat = x.reshape(-1, self.in_features)
        made: Tensor = torch.ops.mkldnn._linear_pointwise(flat, self._packed, self.bias, "none", [], "")
        return made.view(*x.shape[:-1], self.out_features)


def pack_linears(network: nn.Module, rows: int) -> None:
    """Put packed layers in the place of all plain linear layers of a network, such as a
    library's; nothing changes where they would not be packed.
    """
    for part in list(network.modules()):
        for name, child in list(part.named_children()):
            if type(child) is nn.Linear and PackedLinear.packs(child.weight):
                with torch.device("meta"):
                    packed = PackedLinear(child.in_features, child.out_features, child.bias is not None)
                packed.weight, packed.bias = child.weight, child.bias
                packed.pack(rows)
                setattr(part, name, packed.eval())


class PackedConv(nn.Module):
    """A convolution of a CPU in bfloat16, whose weight is reordered once, and not at each use.

    Where maps are small and weights large, reordering takes as long as multiplying (1280
    channels of 8 by 8: 6.6 against 3.9 ms on a processor with AMX). The same bits as the plain
    layer, but where something is added to the result: that sum is rounded once, not twice.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.weight, self.bias = conv.weight, conv.bias
        self._places = (list(conv.padding), list(conv.stride), list(conv.dilation), conv.groups)
        self._packed: Tensor | None = None
        self._packing = Lock()

    @staticmethod
    def packs(layer: nn.Module) -> bool:
        """Whether this is a convolution that gains by it."""
        return (
            type(layer) is nn.Conv2d
            and layer.padding_mode == "zeros"
            and not isinstance(layer.padding, str)
            and layer.weight.device.type == "cpu"
            and layer.weight.dtype == torch.bfloat16
            and hasattr(torch.ops.mkldnn, "_reorder_convolution_weight")
            and "AVX512" in torch.backends.cpu.get_cpu_capability()
            and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
        )

    def forward(self, x: Tensor, added: Tensor | None = None) -> Tensor:
        """x [B, in, H, W] -> [B, out, H', W'], on top of `added` of that shape."""
        weight = self._packed if self._packed is not None else self._pack(list(x.shape))
        if added is None:
            made: Tensor = torch.ops.mkldnn._convolution_pointwise(
                x, weight, self.bias, *self._places, "none", [], ""
            )
        else:
            made = torch.ops.mkldnn._convolution_pointwise.binary(
                x, added, weight, self.bias, *self._places, "add", 1.0, None, [], ""
            )
        return made

    def _pack(self, shape: list[int]) -> Tensor:
        """For maps of this shape; others are multiplied as well. Lets go of the plain weight."""
        with self._packing:
            if self._packed is None:
                self._packed = torch.ops.mkldnn._reorder_convolution_weight(
                    self.weight.detach(), *self._places, shape
                )
                self.weight = nn.Parameter(self.weight.new_empty(0), requires_grad=False)
            return self._packed


def pack_convolutions(network: nn.Module) -> None:
    """Packed layers in the place of all convolutions of a network that gain by it."""
    for part in list(network.modules()):
        for name, child in list(part.named_children()):
            if PackedConv.packs(child):
                assert isinstance(child, nn.Conv2d)
                setattr(part, name, PackedConv(child))
