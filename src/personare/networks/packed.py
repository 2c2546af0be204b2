"""Linear layers of a CPU in the layout that oneDNN multiplies fastest."""

from __future__ import annotations

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
