"""Which part of a motion is the mouth's: found for each portrait from what the decoder's own
flow does.

The motion latents have no named axes. But the decoder says where each place of the picture
comes from, so the effect of each direction of the motion basis is seen by trying it: J, the
change of the flow on 64 x 64 places per unit of each of the 20 coefficients, taken by central
differences around the portrait's own pose. A motion d is then divided by least squares: its
mouth part is the e with

    |J_mouth (e - d)|^2 + STIFFNESS |J_rest e|^2     smallest,

each norm a mean over its places. What moves the whole head moves both alike and is cut to 1 /
(1 + STIFFNESS); what moves the mouth alone stays. This is a separation by place, not by
meaning: a jaw that moves the cheeks is damped with them, and a head that nods takes the mouth
along.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from personare.engines.float.networks.decoder import StyleDecoder

Floats = NDArray[np.float32]

MOUTH_CENTRE, MOUTH_RADII = (0.68, 0.50), (0.13, 0.18)
"""(down, across) in sides of the square: where the crop of `prepare` has mouth and chin of an
upright face.
"""
STIFFNESS = 20.0
TRIED = 0.1
"""Step of the differences, in root mean squares of the portrait's own coefficients."""


def mouth_share(network: StyleDecoder, seen: Mapping[str, NDArray[Any]]) -> Floats:
    """float32 [motions, motions]: coefficients of a motion -> those of its mouth part. seen:
    what `prepare.appearance` gives.
    """
    mouth, rest = regions()
    jacobian = flow_per_coefficient(network, seen)  # (motions, 64, 64, 2)

    def energy(weight: Floats) -> NDArray[np.float64]:
        weighted = (jacobian * weight[None, :, :, None]).reshape(len(jacobian), -1).astype(np.float64)
        return np.asarray(weighted @ jacobian.reshape(len(jacobian), -1).T.astype(np.float64) / weight.sum())

    moved, kept_still = energy(mouth), energy(rest)
    both = moved + STIFFNESS * kept_still
    # Directions that move nothing anywhere are left to neither part.
    return np.asarray(np.linalg.lstsq(both, moved, rcond=1e-9)[0], np.float32)


def flow_per_coefficient(network: StyleDecoder, seen: Mapping[str, NDArray[Any]]) -> Floats:
    """float32 [motions, 64, 64, 2]: change of the flow per unit of each coefficient, around the
    portrait's own pose.
    """
    import torch

    basis = network.direction.basis
    assert basis is not None
    device = basis.device
    features = [
        torch.from_numpy(np.array(seen[f"feature{level}"]))[None].to(device)
        for level in range(len(network.to_flows))
    ]
    pose = torch.from_numpy(np.array(seen["appearance"] + seen["reference"])).to(device)
    step = TRIED * max(1e-3, float(np.sqrt(np.mean(np.square(seen["coefficients"])))))
    rows = []
    with torch.inference_mode():
        for direction in basis.T:
            low, high = network.flow(
                torch.stack([pose - step * direction, pose + step * direction]), features
            )
            rows.append(((high - low) / (2 * step)).cpu().numpy())
    return np.asarray(np.stack(rows), np.float32)


def regions(side: int = 64) -> tuple[Floats, Floats]:
    """Weights float32 [side, side] of the mouth and of the rest; between the two is a belt that
    belongs to neither.
    """
    place = (np.arange(side) + 0.5) / side
    down, across = (
        (place - centre) / radius for centre, radius in zip(MOUTH_CENTRE, MOUTH_RADII, strict=True)
    )
    distance = np.hypot(down[:, None], across[None, :])
    return (distance <= 1).astype(np.float32), (distance > 1.5).astype(np.float32)


class MouthAndHead:
    """Divides motions into the mouth's part and the head's, and scales each.

    head_motion: scale of what is not the mouth's. rest_in_silence: how much of the mouth's is
    taken away where nobody speaks.
    """

    def __init__(
        self, reference: Floats, share: Floats, basis: Floats, head_motion: float, rest_in_silence: float
    ) -> None:
        self._reference = reference
        self._mouth = basis @ share @ basis.T  # [width, width]
        self._head_motion, self._rest = head_motion, rest_in_silence

    def apply(self, motion: Floats, silence: Floats) -> Floats:
        """motion [n, width], silence [n] from 0 (speaks) to 1 -> [n, width]"""
        moved = motion - self._reference
        mouth = moved @ self._mouth.T
        moved = self._head_motion * moved + (1 - self._head_motion) * mouth
        mouth = moved @ self._mouth.T
        return np.asarray(self._reference + moved - (self._rest * silence)[:, None] * mouth, np.float32)
