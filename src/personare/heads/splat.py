"""Gaussian splatting (Kerbl et al. 2023) on torch, with any number of channels, from
covariances.

The numbers of the released rasteriser, whose rule of 16-pixel tiles is visible at the rims of
Gaussians, on a CPU: of every block of 4 by 4 pixels just the Gaussians that it can show, many
blocks at once, the nearest Gaussians first, until nothing shines through.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

TILE, BLOCK = 16, 4
"""px"""
FOCAL = 12.0
"""Half the picture is seen at this distance for each unit of width."""
NEAREST, _NEAR, _FAR = 0.2, 0.01, 100.0
_CLAMP = 1.3
"""Slopes beyond this share of the field of view count as at it, where a Gaussian is flattened."""
BLUR = 0.3
"""px^2 added to the extent of every Gaussian."""
_OPAQUE, _FAINT, _SATURATED = 0.99, 1 / 255, 1e-4
_AT_ONCE = 32
"""Gaussians of a block that are added together, before it is seen whether it is opaque."""
_BLOCKS_AT_ONCE = 1024
_SLACK = 1e-2
"""px and logarithm that the rims of Gaussians are taken wider, for rounding."""


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
    across, down = (-(-side // TILE) * TILE // BLOCK for side in (width, height))
    blocks, members = _in_blocks(projected, gaussians.opacities, width, height)
    starts = torch.searchsorted(blocks, torch.arange(across * down + 1))
    channels, pixels = gaussians.features.shape[1], BLOCK * BLOCK
    picture = torch.zeros(across * down, pixels, channels)
    through = torch.ones(across * down, pixels)
    lengths = starts[1:] - starts[:-1]
    # Those that are about as full together.
    order = torch.sort(lengths, descending=True).indices[: int((lengths > 0).sum())]
    for some in torch.split(order, _BLOCKS_AT_ONCE):
        corners = torch.stack([some % across, some // across], 1) * BLOCK
        picture[some], through[some] = _blended(
            gaussians, projected, members, starts[some], starts[some + 1], corners.float()
        )

    def laid_out(values: Tensor) -> Tensor:
        rows = values.view(down, across, BLOCK, BLOCK, -1).transpose(1, 2)
        return rows.reshape(down * BLOCK, across * BLOCK, -1)[:height, :width]

    picture, through = laid_out(picture), laid_out(through)[..., 0]
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


def _in_blocks(projected: Projected, opacities: Tensor, width: int, height: int) -> tuple[Tensor, Tensor]:
    """(block, Gaussian) of every pair of which something may be seen, by block, and within one
    the nearest Gaussian first, ties by number.
    """
    shown = projected.radii.nonzero()[:, 0]
    shown = shown[torch.sort(projected.depths[shown], stable=True).indices]
    places = projected.places[shown]
    first, last = (edge * TILE // BLOCK for edge in _tiles(places, projected.radii[shown], width, height))
    # Beyond this distance it is too faint to count.
    xx, xy, yy = projected.conics[shown].unbind(1)
    narrow = xx * yy - xy * xy
    reach = 2 * ((255 * opacities[shown]).log() + _SLACK)
    away = (reach.clamp(min=0)[:, None] * torch.stack([yy, xx], 1) / narrow[:, None]).sqrt() + _SLACK
    # Extents whose inverse is lost in rounding end with their tiles.
    away = torch.where(narrow[:, None] > 0, away, torch.inf).nan_to_num(torch.inf)
    low = ((places - away) / BLOCK).floor().clamp(min=-1e6, max=1e6).long()
    high = ((places + away) / BLOCK).floor().clamp(min=-1e6, max=1e6).long() + 1
    first, last = torch.maximum(first, low), torch.minimum(last, high)
    spans = torch.where(reach[:, None] > 0, (last - first).clamp(min=0), 0)
    counts = spans[:, 0] * spans[:, 1]
    owner = torch.repeat_interleave(torch.arange(len(shown)), counts)
    number = torch.arange(len(owner)) - (counts.cumsum(0) - counts)[owner]
    wide = spans[owner, 0]
    down = torch.div(number, wide, rounding_mode="floor")
    across = -(-width // TILE) * TILE // BLOCK
    blocks = (first[owner, 1] + down) * across + first[owner, 0] + number - down * wide
    keys = blocks.numpy()
    if across * -(-height // TILE) * TILE // BLOCK <= 1 << 16:
        keys = keys.astype(np.uint16)  # which numpy sorts by its digits
    order = torch.from_numpy(np.argsort(keys, kind="stable"))
    return blocks[order], shown[owner[order]]


def _blended(
    gaussians: Gaussians,
    projected: Projected,
    members: Tensor,
    starts: Tensor,
    ends: Tensor,
    corners: Tensor,
) -> tuple[Tensor, Tensor]:
    """Colours [n, pixels, C] and what shines through [n, pixels] of n blocks.

    members: Gaussians of all blocks, those of block i from starts[i] to ends[i].
    corners: the blocks' first pixels [n, 2].
    """
    steps = torch.arange(BLOCK, dtype=torch.float32)
    x = (corners[:, :1] + steps.repeat(BLOCK))[..., None]
    y = (corners[:, 1:] + steps.repeat_interleave(BLOCK))[..., None]
    count, pixels = len(corners), BLOCK * BLOCK
    colours = torch.zeros(count, pixels, gaussians.features.shape[1])
    through = torch.ones(count, pixels)
    left, going = torch.ones(count, pixels, 1), torch.ones(count, pixels, 1, dtype=torch.bool)
    table = torch.cat([projected.places, projected.conics, gaussians.opacities[:, None]], 1)
    blocks, at, run = torch.arange(count), starts.clone(), torch.arange(_AT_ONCE)
    while len(blocks):
        number = at[:, None] + run
        own = members[number.clamp(max=len(members) - 1)].flatten()
        shapes = table.index_select(0, own).view(*number.shape, -1).permute(2, 0, 1).contiguous()
        u, v, xx, xy, yy, solid = shapes[:, :, None]  # (n, 1, Gaussians) each
        dx, dy = u - x, v - y  # (n, pixels, Gaussians)
        power = (xx * dx).mul_(dx).add_((yy * dy).mul_(dy)).mul_(-0.5).sub_((xy * dx).mul_(dy))
        solid = torch.where((number < ends[:, None])[:, None], solid, 0.0)
        alpha = (solid * power.exp()).clamp_(max=_OPAQUE)
        alpha = alpha.masked_fill_((power > 0) | (alpha < _FAINT), 0.0)
        after = left * (1 - alpha).cumprod(2)
        before = torch.cat([left, after[..., :-1]], 2)
        # A pixel ends before the Gaussian that would leave it all but opaque.
        adds = going & (after >= _SATURATED)
        features = gaussians.features.index_select(0, own).view(*number.shape, -1)
        colours.index_add_(0, blocks, alpha.mul_(before).masked_fill_(~adds, 0.0) @ features)
        left = torch.where(adds, after, left).amin(2, keepdim=True)
        through[blocks] = left[..., 0]
        going, at = adds[..., -1:], at + _AT_ONCE
        on = (going[..., 0].any(1) & (at < ends)).nonzero()[:, 0]
        blocks, at, ends, x, y = blocks[on], at[on], ends[on], x[on], y[on]
        left, going = left[on], going[on]
    return colours, through
