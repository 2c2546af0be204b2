"""Cameras, rays, samples along them, and what a ray sees of them (Mildenhall et al. 2020; the
background as in NeRF++, Zhang et al. 2020).

The world of the field: x towards the camera, y to the right, z up. A camera is a matrix
[4, 4] whose first three columns are its axes and whose fourth is its place; it looks along its
own -z. Without displacement all is fixed but the camera.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from personare.engines.nerffacespeech.networks.config import GeneratorConfig

_AXES = torch.tensor([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
"""From the face model's axes to the field's."""
FROZEN_V = 0.2 + math.pi / 2
"""The polar angle of the camera that the background is seen from, whatever the head does."""


def rotations(angles: Tensor) -> Tensor:
    """[B, 3] radians about x, y, z -> [B, 3, 3] for points as rows: the transpose of Rz Ry Rx."""
    sine, cosine = angles.sin(), angles.cos()
    one, zero = torch.ones_like(angles[:, 0]), torch.zeros_like(angles[:, 0])
    (sx, sy, sz), (cx, cy, cz) = sine.unbind(1), cosine.unbind(1)
    x = torch.stack([one, zero, zero, zero, cx, -sx, zero, sx, cx], 1).view(-1, 3, 3)
    y = torch.stack([cy, zero, sy, zero, one, zero, -sy, zero, cy], 1).view(-1, 3, 3)
    z = torch.stack([cz, -sz, zero, sz, cz, zero, zero, zero, one], 1).view(-1, 3, 3)
    return (z @ y @ x).transpose(1, 2)


def cameras(angles: Tensor) -> Tensor:
    """Cameras [B, 4, 4] that see a frontal head as heads with these angles [B, 3] are seen: on
    the unit sphere, looking at its middle. Zero angles give the front camera.
    """
    turned = _AXES.to(angles) @ rotations(angles)
    return _matrix(turned, turned[:, :, 2])


def camera_at(u: float, v: float, radius: float = 1.0) -> Tensor:
    """The camera [1, 4, 4] at azimuth u and polar angle v, radians, looking at the middle."""
    place = radius * torch.tensor(
        [math.sin(v) * math.cos(u), math.sin(v) * math.sin(u), math.cos(v)], dtype=torch.float32
    )
    z = place / place.norm()
    x = torch.linalg.cross(torch.tensor([0.0, 0.0, 1.0]), z)
    x = x / x.norm()
    y = torch.linalg.cross(z, x)
    return _matrix(torch.stack([x, y / y.norm(), z], 1)[None], place[None])


def _matrix(axes: Tensor, place: Tensor) -> Tensor:
    made = torch.zeros(len(axes), 4, 4, dtype=axes.dtype, device=axes.device)
    made[:, :3, :3], made[:, :3, 3], made[:, 3, 3] = axes, place, 1
    return made


def intrinsics_inverse(config: GeneratorConfig) -> Tensor:
    """[4, 4]: from a place on the picture, -1 to 1, to one at distance 1."""
    half = math.tan(math.radians(config.field_of_view) / 2)
    return torch.diag(torch.tensor([half, half, 1.0, 1.0]))


def pixels(config: GeneratorConfig) -> Tensor:
    """Where the rays of a picture go through it: [R, 2], x and y from -1 to 1, row by row from
    the top.
    """
    side = config.volume
    if config.corners:
        x = torch.linspace(-1, 1, config.side)[:: config.side // side]
    else:
        edge = 1 - 1 / side
        x = torch.linspace(-edge, edge, side)
    return torch.stack([x.expand(side, side), -x[:, None].expand(side, side)], 2).reshape(-1, 2)


def rays(config: GeneratorConfig, camera: Tensor) -> tuple[Tensor, Tensor]:
    """Of cameras [B, 4, 4]: where they are [B, 1, 3] and where their rays go [B, R, 3], of
    length 1 along the camera's own axis.
    """
    seen = pixels(config).to(camera)
    ahead = torch.cat([seen, -torch.ones_like(seen[:, :1]), torch.ones_like(seen[:, :1])], 1)
    ends = ahead @ intrinsics_inverse(config).to(camera).T @ camera.transpose(1, 2)  # (B, R, 4)
    place = camera[:, None, :3, 3]
    return place, ends[:, :, :3] - place


def even_samples(config: GeneratorConfig) -> Tensor:
    """The places [n] of the coarse samples, 0 (near) to 1 (far)."""
    return torch.linspace(0, 1, config.samples)


def depths(config: GeneratorConfig, samples: Tensor) -> Tensor:
    """How far samples at places 0 to 1 are from the camera."""
    near, far = config.depths
    return near + (far - near) * samples


def shares(density: Tensor, distances: Tensor, *, closed: bool) -> tuple[Tensor, Tensor]:
    """What each sample of a ray contributes, and what passes all but the last.

    density: [.., n], as the field says it, negative for none.
    distances: [.., n - 1] to the next sample.
    closed: whether the last sample stops the ray; else it contributes nothing.

    Returns ([.., n], [..]).
    """
    opacity = 1 - torch.exp(-density[..., :-1].relu() * distances)
    last = torch.full_like(opacity[..., :1], float(closed))
    opacity = torch.cat([opacity, last], -1)
    passed = torch.cumprod(1 - opacity + 1e-10, -1)
    reaching = torch.cat([torch.ones_like(passed[..., :1]), passed[..., :-1]], -1)
    return opacity * reaching, reaching[..., -1]


def fine_samples(samples: Tensor, weights: Tensor) -> Tensor:
    """As many places again, where the weights are: the inverse of their distribution at even
    steps. No gradient goes through them.

    samples: [.., n]. weights: [.., n] of them.
    """
    with torch.no_grad():
        bins = (samples[..., 1:] + samples[..., :-1]) / 2  # (.., n - 1)
        inner = weights[..., 1:-1] + 1e-5
        share = inner / inner.sum(-1, keepdim=True)
        total = torch.cat([torch.zeros_like(share[..., :1]), share.cumsum(-1)], -1)  # (.., n - 1)
        count = samples.shape[-1]
        even = torch.linspace(0, 1, count, device=samples.device).expand(*weights.shape[:-1], count)
        above = torch.searchsorted(total, even.contiguous())
        low, high = (above - 1).clamp(min=0), above.clamp(max=bins.shape[-1] - 1)
        bins = bins.expand(*total.shape)
        low_total, high_total = total.gather(-1, low), total.gather(-1, high)
        low_bin, high_bin = bins.gather(-1, low), bins.gather(-1, high)
        width = high_total - low_total
        width = torch.where(width < 1e-5, torch.ones_like(width), width)
        return low_bin + (even - low_total) / width * (high_bin - low_bin)


def background_points(config: GeneratorConfig) -> tuple[Tensor, Tensor]:
    """Where the frozen camera's rays [R] meet spheres of growing radius: unit vectors and
    inverse radii [R, n, 4], and the distances [n - 1] between the samples.
    """
    camera = camera_at(0.0, FROZEN_V)
    place, ahead = rays(config, camera)
    origin, ahead = place[0, 0], ahead[0] / ahead[0].norm(dim=1, keepdim=True)
    count = config.background_samples
    inverse = torch.linspace(0, 1, count).flip(0) * config.start  # 0.5 .. 0
    to_middle = -(ahead * origin).sum(1, keepdim=True)
    middle = origin + to_middle * ahead
    nearest = middle.norm(dim=1, keepdim=True)
    on_sphere = origin + (to_middle + torch.sqrt(1 - nearest.square())) * ahead  # (R, 3)
    axis = torch.linalg.cross(origin.expand_as(on_sphere), on_sphere)
    axis = (axis / axis.norm(dim=1, keepdim=True))[:, None]  # (R, 1, 3)
    angle = torch.asin(nearest) - torch.asin(nearest * inverse)  # (R, n)
    sine, cosine = angle.sin()[..., None], angle.cos()[..., None]
    point = on_sphere[:, None]
    turned = (
        point * cosine
        + torch.linalg.cross(axis.expand_as(point), point) * sine
        + axis * (axis * point).sum(2, keepdim=True) * (1 - cosine)
    )
    turned = turned / turned.norm(dim=2, keepdim=True)
    spheres = inverse[None, :, None].expand(len(turned), count, 1)
    return torch.cat([turned, spheres], 2), (inverse[:-1] - inverse[1:])


def encoded(points: Tensor, octaves: int) -> Tensor:
    """[.., d] -> [.., 2 d octaves]: sin(2^i pi p) of all d, then cos, octave by octave."""
    scaled = points[..., None, :] * (2.0 ** torch.arange(octaves, device=points.device) * math.pi)[:, None]
    return torch.cat([scaled.sin(), scaled.cos()], -1).flatten(-2)


def middle_of(ranges: Sequence[float]) -> tuple[float, float]:
    """(middle, half width) of a range."""
    low, high = ranges
    return (low + high) / 2, (high - low) / 2
