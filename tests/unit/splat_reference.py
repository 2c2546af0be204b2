"""The released rasteriser's rule, Gaussian after Gaussian and pixel by pixel: slow and plain."""

from __future__ import annotations

import numpy as np

from personare.heads.splat import Gaussians, Projected


def splatted(
    gaussians: Gaussians, seen: Projected, width: int, height: int, background: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(picture [C, height, width], what shines through [height, width]) of projected Gaussians."""
    features, opacities = gaussians.features.numpy().astype(float), gaussians.opacities.numpy()
    picture = np.zeros((height, width, features.shape[1]))
    through, going = np.ones((height, width)), np.ones((height, width), bool)
    places, radii = seen.places.numpy(), seen.radii.numpy()
    for number in np.argsort(seen.depths.numpy(), kind="stable"):
        radius = radii[number]
        if radius == 0:
            continue
        u, v = places[number]
        left, right = int((u - radius) / 16), int((u + radius + 15) / 16)
        top, bottom = int((v - radius) / 16), int((v + radius + 15) / 16)
        a, b, c = seen.conics[number].tolist()
        for y in range(max(top * 16, 0), min(bottom * 16, height)):
            for x in range(max(left * 16, 0), min(right * 16, width)):
                power = -0.5 * (a * (u - x) ** 2 + c * (v - y) ** 2) - b * (u - x) * (v - y)
                alpha = min(0.99, opacities[number] * np.exp(power))
                if not going[y, x] or power > 0 or alpha < 1 / 255:
                    continue
                if through[y, x] * (1 - alpha) < 1e-4:
                    going[y, x] = False
                    continue
                picture[y, x] += alpha * through[y, x] * features[number]
                through[y, x] *= 1 - alpha
    return (picture + through[..., None] * background).transpose(2, 0, 1), through
