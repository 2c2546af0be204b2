"""The network that makes a picture of splatted features: a U-Net whose every level steers a
level of StyleGAN2's synthesis (Karras et al. 2020), as in GFPGAN (Wang et al. 2021).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

CHANNELS = {4: 256, 8: 256, 16: 256, 32: 256, 64: 128, 128: 64, 256: 32, 512: 16}
"""Of the U-Net by the side of its maps; the synthesis has twice as many."""
STYLE, STYLE_LAYERS = 512, 8
_SLOPE = 0.2


def _lrelu(x: Tensor) -> Tensor:
    return functional.leaky_relu(x, _SLOPE)


def _resized(x: Tensor, factor: float) -> Tensor:
    return functional.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)


class _Residual(nn.Module):
    def __init__(self, given: int, made: int, factor: float) -> None:
        super().__init__()
        self.factor = factor
        self.conv1, self.conv2 = nn.Conv2d(given, given, 3, padding=1), nn.Conv2d(given, made, 3, padding=1)
        self.skip = nn.Conv2d(given, made, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        made = _lrelu(self.conv2(_resized(_lrelu(self.conv1(x)), self.factor)))
        return made + self.skip(_resized(x, self.factor))


class _Modulated(nn.Module):
    def __init__(self, given: int, made: int, kernel: int, demodulates: bool) -> None:
        super().__init__()
        self.demodulates = demodulates
        self.weight = nn.Parameter(torch.empty(1, made, given, kernel, kernel))
        self.modulation = nn.Linear(STYLE, given)

    def forward(self, x: Tensor, latent: Tensor) -> Tensor:
        """x: [1, given, H, W]. latent: [1, 512]."""
        weight = self.weight[0] * self.modulation(latent).view(1, -1, 1, 1)
        if self.demodulates:
            weight = weight * (weight.square().sum((1, 2, 3), keepdim=True) + 1e-8).rsqrt()
        return functional.conv2d(x, weight, padding=weight.shape[-1] // 2)


class _StyleConv(nn.Module):
    def __init__(self, given: int, made: int, grows: bool = False) -> None:
        super().__init__()
        self.grows = grows
        self.modulated_conv = _Modulated(given, made, 3, True)
        self.weight = nn.Parameter(torch.empty(1))
        self.bias = nn.Parameter(torch.empty(1, made, 1, 1))

    def forward(self, x: Tensor, latent: Tensor, noise: Tensor) -> Tensor:
        x = _resized(x, 2) if self.grows else x
        made = self.modulated_conv(x, latent) * math.sqrt(2)
        return _lrelu(made + self.weight * noise + self.bias)


class _Colours(nn.Module):
    def __init__(self, given: int) -> None:
        super().__init__()
        self.modulated_conv = _Modulated(given, 3, 1, False)
        self.bias = nn.Parameter(torch.empty(1, 3, 1, 1))

    def forward(self, x: Tensor, latent: Tensor, coarser: Tensor | None) -> Tensor:
        made = self.modulated_conv(x, latent) + self.bias
        return made if coarser is None else made + _resized(coarser, 2)


class _UnitLength(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * (x.square().mean(1, keepdim=True) + 1e-8).rsqrt()


class _Constant(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(1, channels, 4, 4))


class _Synthesis(nn.Module):
    def __init__(self, sides: list[int]) -> None:
        super().__init__()
        wide = {side: 2 * count for side, count in CHANNELS.items()}
        layers: list[nn.Module] = [_UnitLength()]
        for _ in range(STYLE_LAYERS):
            layers += [nn.Linear(STYLE, STYLE), nn.LeakyReLU(_SLOPE)]
        self.style_mlp = nn.Sequential(*layers)
        self.constant_input = _Constant(wide[4])
        self.style_conv1, self.to_rgb1 = _StyleConv(wide[4], wide[4]), _Colours(wide[4])
        convs, colours, given = [], [], wide[4]
        self.noises = nn.Module()
        self.noises.register_buffer("noise0", torch.empty(1, 1, 4, 4))
        for level, side in enumerate(sides):
            convs += [_StyleConv(given, wide[side], grows=True), _StyleConv(wide[side], wide[side])]
            colours.append(_Colours(wide[side]))
            for number in (2 * level + 1, 2 * level + 2):
                self.noises.register_buffer(f"noise{number}", torch.empty(1, 1, side, side))
            given = wide[side]
        self.style_convs, self.to_rgbs = nn.ModuleList(convs), nn.ModuleList(colours)

    def forward(
        self, latent: Tensor, scales: list[Tensor], shifts: list[Tensor], noises: Mapping[str, Tensor]
    ) -> Tensor:
        x = self.style_conv1(self.constant_input.weight, latent, noises["noise0"])
        colours = self.to_rgb1(x, latent, None)
        for level, (scale, shift) in enumerate(zip(scales, shifts, strict=True)):
            x = self.style_convs[2 * level](x, latent, noises[f"noise{2 * level + 1}"])
            x = x * scale + shift
            x = self.style_convs[2 * level + 1](x, latent, noises[f"noise{2 * level + 2}"])
            colours = self.to_rgbs[level](x, latent, colours)
        return colours


def _condition(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1),
        nn.LeakyReLU(_SLOPE),
        nn.Conv2d(channels, 2 * channels, 3, padding=1),
    )


class StyleUNet(nn.Module):
    """Features [1, 32, s, s] -> colours [1, 3, side, side], before the sigmoid. The noise is
    given, or that of the checkpoint; never drawn anew for a frame.
    """

    def __init__(self, side: int, features: int = 32) -> None:
        super().__init__()
        self.side = side
        sides = [1 << n for n in range(3, side.bit_length())]
        self.conv_body_first = nn.Conv2d(features, CHANNELS[side], 1)
        down, given = [], CHANNELS[side]
        for there in [4, *sides][-2::-1]:
            down.append(_Residual(given, CHANNELS[there], 0.5))
            given = CHANNELS[there]
        self.conv_body_down = nn.ModuleList(down)
        self.final_conv = nn.Conv2d(given, CHANNELS[4], 3, padding=1)
        self.final_linear = nn.Linear(CHANNELS[4] * 16, STYLE)
        up, scale, shift, given = [], [], [], CHANNELS[4]
        for there in sides:
            up.append(_Residual(given, CHANNELS[there], 2))
            scale.append(_condition(CHANNELS[there]))
            shift.append(_condition(CHANNELS[there]))
            given = CHANNELS[there]
        self.conv_body_up = nn.ModuleList(up)
        self.condition_scale, self.condition_shift = nn.ModuleList(scale), nn.ModuleList(shift)
        self.stylegan_decoder = _Synthesis(sides)

    def forward(self, features: Tensor, noises: Mapping[str, Tensor] | None = None) -> Tensor:
        """noises: of `noises`; None is the checkpoint's."""
        code, scales, shifts = self.conditions(features)
        decoder = self.stylegan_decoder
        return decoder(decoder.style_mlp(code), scales, shifts, noises or self.noises())

    def noises(self, seed: int | None = None) -> dict[str, Tensor]:
        """The noise of every layer by name: the checkpoint's, or drawn from a seed, the same on
        every device.
        """
        own = dict(self.stylegan_decoder.noises.named_buffers())
        if seed is None:
            return own
        drawn = torch.Generator().manual_seed(seed)
        return {name: torch.randn(own[name].shape, generator=drawn).to(own[name]) for name in sorted(own)}

    def conditions(self, features: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """(style code [1, 512], scales and shifts of every level)"""
        x, skips = self.coarsest(features)
        x = _lrelu(x)
        code = self.final_linear(x.flatten(1))
        scales, shifts = [], []
        for level, block in enumerate(self.conv_body_up):
            x = block(x + skips[level])
            scales.append(self.condition_scale[level](x))
            shifts.append(self.condition_shift[level](x))
        return code, scales, shifts

    def coarsest(self, features: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(the coarsest map before its activation, the outputs of all levels, coarsest first)"""
        if features.shape[-1] < self.side:
            features = functional.interpolate(
                features, size=(self.side, self.side), mode="bilinear", align_corners=False
            )
        x = _lrelu(self.conv_body_first(features))
        skips: list[Tensor] = []
        for block in self.conv_body_down:
            x = block(x)
            skips.insert(0, x)
        return self.final_conv(x), skips
