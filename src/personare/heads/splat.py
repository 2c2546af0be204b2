"""Gaussian splatting (Kerbl et al. 2023) on torch, with any number of channels, from
covariances.

Tile by tile, all its Gaussians and pixels at once: the numbers of the released rasteriser,
whose rule of 16-pixel tiles is visible at the rims of Gaussians, on a CPU.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

TILE = 16
FOCAL = 12.0
"""Half the picture is seen at this distance for each unit of width."""
NEAREST, _NEAR, _FAR = 0.2, 0.01, 100.0
_CLAMP = 1.3
"""Slopes beyond this share of the field of view count as at it, where a Gaussian is flattened."""
BLUR = 0.3
"""px^2 added to the extent of every Gaussian."""
_OPAQUE, _FAINT, _SATURATED = 0.99, 1 / 255, 1e-4
_AT_ONCE = 1024
"""Gaussians of a tile that are added together; few tiles need more before they are opaque."""


@dataclass(frozen=True, slots=True)
class Gaussians:
    """n Gaussians.

    means: float32 [n, 3].
    covariances: float32 [n, 6], the upper triangle row by row.
    opacities: float32 [n].
    features: float32 [n, C].
    """

    means: Tensor
    covariances: Tensor
    opacities: Tensor
    features: Tensor

    def to(self, device: torch.device) -> Gaussians:
        """The same there; themselves if they are there already."""
        parts = (self.means, self.covariances, self.opacities, self.features)
        return Gaussians(*(part.to(device) for part in parts))


@dataclass(frozen=True, slots=True)
class Projected:
    """Gaussians as a camera sees them.

    places: float32 [n, 2] px, x right and y down.
    conics: float32 [n, 3], the inverse of the extent: xx, xy, yy.
    depths: float32 [n].
    radii: int64 [n] px; 0 for those that are not seen.
    """

    places: Tensor
    conics: Tensor
    depths: Tensor
    radii: Tensor


def covariances(scales: Tensor, quaternions: Tensor) -> Tensor:
    """float32 [n, 6] of scales [n, 3] and quaternions [n, 4] (w, x, y, z), which are taken as
    they
    are: one that is not of length 1 turns by less.
    """
    w, x, y, z = quaternions.unbind(-1)
    turn = torch.stack(
        [
            1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
            2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
            2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
        ],
        -1,
    ).view(-1, 3, 3)  # fmt: skip
    spread = turn * scales[:, None]
    full = spread @ spread.transpose(1, 2)
    rows, columns = torch.triu_indices(3, 3)
    return full[:, rows, columns]


def view_matrix(camera: Tensor) -> Tensor:
    """float32 [4, 4], for row vectors, of a camera [3, 4] = [R | T], whose x is to the left."""
    view = torch.eye(4)
    view[:3, :3], view[3, :3] = camera[:, :3], camera[:, 3]
    view[:, :2] *= -1
    return view


def projection_matrix(view: Tensor) -> Tensor:
    """float32 [4, 4], for row vectors: view and perspective together."""
    lens = torch.zeros(4, 4)
    lens[0, 0] = lens[1, 1] = FOCAL
    lens[2, 2], lens[2, 3] = _FAR / (_FAR - _NEAR), -(_FAR * _NEAR) / (_FAR - _NEAR)
    lens[3, 2] = 1
    return view @ lens.T


def project(gaussians: Gaussians, camera: Tensor, width: int, height: int) -> Projected:
    """What a camera [3, 4] sees in a picture of that size. Steps and constants are those of the
    released rasteriser.
    """
    means = gaussians.means
    view = view_matrix(camera)
    full = projection_matrix(view)
    seen = means @ view[:3, :3] + view[3, :3]
    flat = means @ full[:3] + full[3]
    inverse = 1 / (flat[:, 3] + 1e-7)
    size = torch.tensor([width, height])
    places = ((flat[:, :2] * inverse[:, None] + 1) * size - 1) / 2
    depth = seen[:, 2]
    slopes = (seen[:, :2] / depth[:, None]).clamp(-_CLAMP / FOCAL, _CLAMP / FOCAL)
    focal = size * (FOCAL / 2)
    jacobian = torch.zeros(len(means), 2, 3)
    jacobian[:, 0, 0], jacobian[:, 1, 1] = focal[0] / depth, focal[1] / depth
    jacobian[:, :, 2] = -focal * slopes / depth[:, None]
    extent = torch.zeros(len(means), 3, 3)
    rows, columns = torch.triu_indices(3, 3)
    extent[:, rows, columns] = extent[:, columns, rows] = gaussians.covariances
    turned = jacobian @ view[:3, :3].T
    flattened = turned @ extent @ turned.transpose(1, 2)
    a, b, c = flattened[:, 0, 0] + BLUR, flattened[:, 0, 1], flattened[:, 1, 1] + BLUR
    area = a * c - b * b
    middle = (a + c) / 2
    radii = (3 * (middle + (middle * middle - area).clamp(min=0.1).sqrt()).sqrt()).ceil()
    radii = torch.where((depth > NEAREST) & (area != 0), radii, 0.0)
    first, last = _tiles(places, radii, width, height)
    shown = (radii > 0) & ((last - first) > 0).all(1)
    return Projected(
        places,
        torch.stack([c, -b, a], 1) / area[:, None],
        depth,
        torch.where(shown, radii, 0.0).long(),
    )


def splat(
    gaussians: Gaussians,
    camera: Tensor,
    width: int,
    height: int,
    background: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """(picture float32 [C, height, width], what shines through it [height, width]).

    camera: [3, 4], see `view_matrix`.
    background: [C]; None is 0.
    """
    projected = project(gaussians, camera, width, height)
    across, down = -(-width // TILE), -(-height // TILE)
    shown = projected.radii.nonzero()[:, 0]
    # Nearest first, ties by number: a tile takes its Gaussians in this order.
    shown = shown[torch.sort(projected.depths[shown], stable=True).indices]
    tiles, members = _in_tiles(projected, shown, width, height, across)
    channels = gaussians.features.shape[1]
    picture = torch.zeros(down * TILE, across * TILE, channels)
    through = torch.ones(down * TILE, across * TILE)
    starts = torch.searchsorted(tiles, torch.arange(across * down + 1))
    corner = torch.arange(TILE, dtype=torch.float32)
    for tile in torch.nonzero(starts[1:] > starts[:-1])[:, 0].tolist():
        row, column = divmod(tile, across)
        own = members[starts[tile] : starts[tile + 1]]
        colours, left = _tile(gaussians, projected, own, corner + column * TILE, corner + row * TILE)
        area = (slice(row * TILE, (row + 1) * TILE), slice(column * TILE, (column + 1) * TILE))
        picture[area], through[area] = colours.view(TILE, TILE, channels), left.view(TILE, TILE)
    picture, through = picture[:height, :width], through[:height, :width]
    if background is not None:
        picture = picture + through[..., None] * background
    return picture.permute(2, 0, 1).contiguous(), through.contiguous()


def _tiles(places: Tensor, radii: Tensor, width: int, height: int) -> tuple[Tensor, Tensor]:
    """(first, last + 1) tile of each Gaussian, int64 [n, 2] each, across and down."""
    grid = torch.tensor([-(-width // TILE), -(-height // TILE)])
    reach = radii[:, None].to(places)
    first = ((places - reach) / TILE).trunc()
    last = ((places + reach + (TILE - 1)) / TILE).trunc()
    return tuple(torch.minimum(edge.clamp(min=0).long(), grid) for edge in (first, last))  # type: ignore[return-value]


def _in_tiles(
    projected: Projected, shown: Tensor, width: int, height: int, across: int
) -> tuple[Tensor, Tensor]:
    """(tile, Gaussian) of every pair, by tile, and in the order of `shown` within one."""
    first, last = _tiles(projected.places[shown], projected.radii[shown], width, height)
    spans = last - first
    counts = spans[:, 0] * spans[:, 1]
    owner = torch.repeat_interleave(torch.arange(len(shown)), counts)
    number = torch.arange(len(owner)) - (counts.cumsum(0) - counts)[owner]
    tiles = (
        (first[owner, 1] + number // spans[owner, 0]) * across + first[owner, 0] + number % spans[owner, 0]
    )
    order = torch.sort(tiles, stable=True).indices
    return tiles[order], shown[owner[order]]


def _tile(
    gaussians: Gaussians, projected: Projected, own: Tensor, x: Tensor, y: Tensor
) -> tuple[Tensor, Tensor]:
    """Colours [pixels, C] and what shines through [pixels] of one tile."""
    colours = torch.zeros(TILE * TILE, gaussians.features.shape[1])
    left, going = torch.ones(TILE * TILE), torch.ones(TILE * TILE, dtype=torch.bool)
    for part in torch.split(own, _AT_ONCE):
        place, conic = projected.places[part], projected.conics[part]
        dx = (place[:, :1] - x)[:, None, :]
        dy = (place[:, 1:] - y)[:, :, None]
        power = -0.5 * (conic[:, :1, None] * dx * dx + conic[:, 2:, None] * dy * dy)
        power = (power - conic[:, 1:2, None] * dx * dy).flatten(1)  # (Gaussians, pixels)
        alpha = (gaussians.opacities[part][:, None] * power.exp()).clamp(max=_OPAQUE)
        alpha = torch.where((power > 0) | (alpha < _FAINT), 0.0, alpha)
        after = left * (1 - alpha).cumprod(0)
        before = torch.cat([left[None], after[:-1]])
        # A pixel ends before the Gaussian that would leave it all but opaque.
        adds = going & (after >= _SATURATED)
        colours = colours + (torch.where(adds, alpha * before, 0.0)).T @ gaussians.features[part]
        left = torch.where(adds, after, left).amin(0)
        going = adds[-1]
        if not going.any():
            break
    return colours, left
