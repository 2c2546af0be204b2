"""StyleNeRF's generator: latents and a camera in, a picture out. A small field is seen by few
rays; blocks of 1x1 convolutions make its map a picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from personare.engines.nerffacespeech.networks import fast, rays
from personare.engines.nerffacespeech.networks.config import GeneratorConfig
from personare.engines.nerffacespeech.networks.layers import (
    Block,
    Linear,
    Modulated,
    PlainLinear,
    Pointwise,
    leaky,
)


class Mapping(nn.Module):
    """z becomes w."""

    w_avg: Tensor

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.layers = config.style_layers
        for n in range(config.style_layers):
            self.add_module(f"fc{n}", Linear(config.w if n else config.z, config.w, rate=0.01))
        self.register_buffer("w_avg", torch.empty(config.w))

    def forward(self, z: Tensor, truncation: float = 1.0) -> Tensor:
        """[B, z] -> [B, w]"""
        x = z * torch.rsqrt(z.square().mean(1, keepdim=True) + 1e-8)
        for n in range(self.layers):
            x = leaky(self.get_submodule(f"fc{n}")(x))
        return self.w_avg + truncation * (x - self.w_avg)


class Foreground(nn.Module):
    """The head: a field under styles, one w a layer."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        layers, width = config.foreground
        self.octaves = config.octaves
        self.fc_in = Modulated(6 * config.octaves, width, config.w)
        self.blocks = nn.ModuleList([Modulated(width, width, config.w) for _ in range(layers - 1)])
        self.sigma_out = Modulated(width, 1, config.w, demodulate=False)
        self.feat_out = Modulated(width, config.features, config.w, demodulate=False)
        self.to_rgb = Pointwise(config.features, 3)

    def forward(self, points: Tensor, ws: Tensor) -> tuple[Tensor, Tensor]:
        """Points [B, N, 3], ws [B, layers + 2, w] -> hidden [B, N, C], density [B, N]."""
        x = rays.encoded(points, self.octaves)
        for n, layer in enumerate((self.fc_in, *self.blocks)):
            x = leaky(layer.points(x, ws[:, n]))
        return x, self.sigma_out.points(x, ws[:, -2])[..., 0]

    def features(self, hidden: Tensor, ws: Tensor, total: Tensor | None = None) -> Tensor:
        """Colour and features [B, N, 3 + F] of hidden [B, N, C]: linear, so of sums along rays
        as well, where `total` [B, N, 1] is the sum of their weights.
        """
        weights = self.feat_out.matrix(ws[:, -1]).transpose(1, 2)
        total = torch.ones_like(hidden[:, :, :1]) if total is None else total
        features = hidden @ weights + self.feat_out.bias * total
        colours = features @ self.to_rgb.matrix.T + self.to_rgb.bias * total
        return torch.cat([colours, features], 2)


class Background(nn.Module):
    """What lies behind the head: a field on spheres, under a latent of its own."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        layers, width = config.background
        self.octaves = config.octaves
        self.fc_in = PlainLinear(8 * config.octaves + config.z_background, width)
        self.blocks = nn.ModuleList([PlainLinear(width, width) for _ in range(layers - 1)])
        self.sigma_out = PlainLinear(width, 1)
        self.feat_out = PlainLinear(width, config.features)
        self.to_rgb = Pointwise(config.features, 3)

    def forward(self, points: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """Points [B, N, 4], z [B, z] -> colour and features [B, N, 3 + F], density [B, N]."""
        x = torch.cat([rays.encoded(points, self.octaves), z[:, None].expand(-1, points.shape[1], -1)], 2)
        for layer in (self.fc_in, *self.blocks):
            x = layer(x).relu()
        features = self.feat_out(x)
        colours = features @ self.to_rgb.matrix.T + self.to_rgb.bias
        return torch.cat([colours, features], 2), self.sigma_out(x)[..., 0]


@dataclass(frozen=True, slots=True)
class Seen:
    """What rays see.

    map: [B, 3 + F, side, side], colour first.
    fine: [B, R, n] places of the fine samples along the rays, 0 to 1.
    coarse_points, fine_points: [B, R n, 3] where the field was asked.
    """

    map: Tensor
    fine: Tensor
    coarse_points: Tensor
    fine_points: Tensor


@dataclass(frozen=True, slots=True)
class Shift:
    """How far the samples of each ray are moved before the field is asked: [B, R n, 2] along y
    and z.
    """

    coarse: Tensor
    fine: Tensor


class Synthesis(nn.Module):
    """w becomes a picture."""

    alpha: Tensor

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        self.fg_nerf, self.bg_nerf = Foreground(config), Background(config)
        self.register_buffer("alpha", torch.empty(()))
        inputs = config.features
        for side in config.sides:
            channels = config.channels[side]
            block = Block(inputs, channels, config.w, config.clamp, config.upsampler, config.blur)
            self.add_module(f"b{side}", block)
            inputs = channels

    def behind(self, z: Tensor) -> Tensor:
        """What lies behind the head: z [B, z] -> [B, R, 3 + F]. The same for all cameras."""
        points, distances = rays.background_points(self.config)
        points, distances = points.to(z), distances.to(z)
        count = self.config.background_samples
        colours, density = self.bg_nerf(points.view(1, -1, 4).expand(len(z), -1, -1), z)
        weights, _ = rays.shares(density.view(len(z), -1, count), distances, closed=True)
        return (weights[..., None] * colours.view(len(z), -1, count, colours.shape[-1])).sum(2)

    def see(
        self,
        ws: Tensor,
        behind: Tensor,
        camera: Tensor,
        fine: Tensor | None = None,
        shift: Shift | None = None,
    ) -> Seen:
        """Look at the field.

        ws: [B, styles, w]. behind: of `behind`. camera: [B, 4, 4].
        fine: places of the fine samples [B, R, n] if they are given; else the coarse ones say
            where they go.
        shift: where the field is asked, if not where the samples are.
        """
        config, styles = self.config, ws[:, : self.config.field_styles]
        place, ahead = rays.rays(config, camera)
        length = ahead.norm(dim=2, keepdim=True)  # (B, R, 1)
        even = rays.even_samples(config).to(ahead).expand(*ahead.shape[:2], -1)  # (B, R, n)
        coarse = _points(rays.depths(config, even), place, ahead, None if shift is None else shift.coarse)
        hidden, density = self.fg_nerf(coarse, styles)
        density = density.view(even.shape)
        if fine is None:
            distances = rays.depths(config, even).diff(dim=2) * length
            fine = rays.fine_samples(even, rays.shares(density, distances, closed=False)[0])
        finer = _points(rays.depths(config, fine), place, ahead, None if shift is None else shift.fine)
        fine_hidden, fine_density = self.fg_nerf(finer, styles)
        both, order = torch.cat([fine, even], 2).sort(dim=2, stable=True)  # (B, R, 2n)
        density = torch.cat([fine_density.view(fine.shape), density], 2).gather(2, order)
        distances = rays.depths(config, both).diff(dim=2) * length
        weights, passed = rays.shares(density, distances, closed=False)
        # Back in the order of the samples: weights are moved instead of what they weigh.
        weights = torch.zeros_like(weights).scatter(2, order, weights)
        count = config.samples
        summed = _weighed(weights[..., :count], fine_hidden) + _weighed(weights[..., count:], hidden)
        seen = (
            self.fg_nerf.features(summed, styles, weights.sum(2, keepdim=True)) + passed[..., None] * behind
        )
        side = config.volume
        return Seen(seen.transpose(1, 2).reshape(len(seen), -1, side, side), fine, coarse, finer)

    def picture(self, seen: Tensor, ws: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """A map [B, 3 + F, side, side] becomes float32 [B, 3, S, S], nominally in [-1, 1].

        dtype: of the blocks from the second on.
        """
        picture, x = seen[:, :3], seen[:, 3:]
        first = self.config.field_styles
        for n, side in enumerate(self.config.sides):
            x = x.to(dtype) if n else x
            block = self.get_submodule(f"b{side}")
            assert isinstance(block, Block)
            draw = partial(fast.block, block) if fast.fits(block, x) else block
            x, picture = draw(x, picture, ws[:, first + 2 * n : first + 2 * n + 3])
        return picture

    def forward(self, ws: Tensor, z_background: Tensor, camera: Tensor) -> Tensor:
        """ws [B, styles, w], z [B, z], camera [B, 4, 4] -> [B, 3, S, S]."""
        return self.picture(self.see(ws, self.behind(z_background), camera).map, ws)


def _points(depth: Tensor, place: Tensor, ahead: Tensor, shift: Tensor | None) -> Tensor:
    """[B, R n, 3]"""
    points = (place[:, :, None] + depth[..., None] * ahead[:, :, None]).flatten(1, 2)
    return points if shift is None else torch.cat([points[..., :1], points[..., 1:] + shift], 2)


def _weighed(weights: Tensor, hidden: Tensor) -> Tensor:
    """Sums along rays: [B, R, n], [B, R n, C] -> [B, R, C]"""
    batch, count, samples = weights.shape
    return (weights.unsqueeze(2) @ hidden.view(batch, count, samples, -1)).squeeze(2)


class Generator(nn.Module):
    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        self.synthesis = Synthesis(config)
        self.mapping = Mapping(config)

    def styles(self, w: Tensor) -> Tensor:
        """One w [B, w] for every place that takes one: [B, styles, w]."""
        return w[:, None].expand(-1, self.config.styles, -1)
