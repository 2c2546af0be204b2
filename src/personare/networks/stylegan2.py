"""The convolutions of FLOAT's encoder and decoder (StyleGAN2's, arXiv 1912.04958), with their
constants folded into weights.

A checkpoint stores weights unscaled ("equalised learning rate"). `fold` of every layer, called
once after loading, multiplies in what stays constant: 1/sqrt(fan in), the activation's gain of
sqrt(2), the residual's 1/sqrt(2). After it a layer is one convolution and one activation.
Nothing may run before `fold`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

LEAK = 0.2
GAIN = math.sqrt(2)
"""Gain of the activation: sqrt(2) * leaky_relu(x). It is positive, so it may be folded into
what comes before.
"""


def memory_format(x: Tensor) -> torch.memory_format:
    """Channels last, in which the convolutions of CPUs and of half precision on CUDA are
    fastest; MPS knows it less well.
    """
    return torch.contiguous_format if x.device.type == "mps" else torch.channels_last


def blur_kernel() -> Tensor:
    """[4, 4]: outer product of 1 3 3 1, of sum 1."""
    line = torch.tensor([1.0, 3.0, 3.0, 1.0])
    return torch.outer(line, line) / 64


def blurred(x: Tensor, before: int, after: int, gain: float = 1.0, bias: Tensor | None = None) -> Tensor:
    """x [B, C, H, W] padded with zeros, `before` at the left and top, `after` at the right and
    bottom, and blurred: depthwise.
    """
    channels = x.shape[1]
    kernel = (blur_kernel() * gain).to(x).expand(channels, 1, 4, 4)
    if before != after:
        x, before = functional.pad(x, (before, after, before, after)), 0
    return functional.conv2d(x, kernel, bias, padding=before, groups=channels)


def doubled(x: Tensor) -> Tensor:
    """x [B, C, H, W] as [B, C, 2H, 2W]: a zero after every sample, then the blur; pads 2 and 1.

    The same as a transposed convolution: output 2i + k - 1 takes kernel[k] of input i.
    """
    kernel = (blur_kernel() * 4).to(x).expand(x.shape[1], 1, 4, 4)
    return functional.conv_transpose2d(x, kernel, stride=2, padding=1, groups=x.shape[1])


class Weight(nn.Module):
    """A convolution's weight [out, in, k, k], stored unscaled."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, kernel, kernel))

    def fold(self, gain: float) -> None:
        fan_in = math.prod(self.weight.shape[1:])
        self.weight = nn.Parameter(self.weight * (gain / math.sqrt(fan_in)))


class Bias(nn.Module):
    """The bias [1, C, 1, 1] of an activation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.empty(1, channels, 1, 1))

    def fold(self, gain: float) -> None:
        self.bias = nn.Parameter(self.bias * gain)

    @property
    def flat(self) -> Tensor:
        return self.bias.view(-1)


class ConvLayer(nn.Sequential):
    """[blur] -> convolution -> [bias, leaky ReLU]. Parameters are named by their place in the
    sequence, as in the checkpoint.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, *, down: bool = False, activate: bool = True
    ) -> None:
        blur = [nn.Identity()] if down else []
        super().__init__(*blur, Weight(inputs, outputs, kernel), *([Bias(outputs)] if activate else []))
        self.down, self.activate = down, activate
        self.padding = kernel // 2
        self.blur_padding = (kernel + 1) // 2

    def fold(self, gain: float = GAIN) -> None:
        for part in self:
            if isinstance(part, Weight | Bias):
                part.fold(gain)

    @property
    def weight(self) -> Tensor:
        part = self[int(self.down)]
        assert isinstance(part, Weight)
        return part.weight

    @property
    def bias(self) -> Tensor | None:
        part = self[-1]
        return part.flat if isinstance(part, Bias) else None

    def forward(self, x: Tensor) -> Tensor:
        """[B, in, H, W] -> [B, out, H, W], or half of it if `down`."""
        weight, bias = self.weight, self.bias
        if self.down:
            x = functional.conv2d(blurred(x, self.blur_padding, self.blur_padding), weight, bias, stride=2)
        else:
            x = functional.conv2d(x, weight, bias, padding=self.padding)
        return functional.leaky_relu_(x, LEAK) if self.activate else x


class ResBlock(nn.Module):
    """[B, in, H, W] -> [B, out, H/2, W/2]: (main + skip) / sqrt(2)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = ConvLayer(inputs, inputs, 3)
        self.conv2 = ConvLayer(inputs, outputs, 3, down=True)
        self.skip = ConvLayer(inputs, outputs, 1, down=True, activate=False)

    def fold(self) -> None:
        self.conv1.fold()
        self.conv2.fold(GAIN / math.sqrt(2))
        self.skip.fold(1 / math.sqrt(2))

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.conv2(self.conv1(x)).add_(self.skip(x))
        return made


class EqualLinear(nn.Linear):
    """A linear layer stored unscaled."""

    def fold(self) -> None:
        self.weight = nn.Parameter(self.weight / math.sqrt(self.in_features))


class ModulatedConv(nn.Module):
    """A convolution whose input channels are scaled by a style, and its output channels back to
    unit variance.

    Either the weights are modulated, sample by sample, or the activations, for the whole batch
    at once: the same in exact arithmetic. `modulated` and `scaled` below do the one and the
    other; a layer takes whichever touches fewer numbers.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, width: int, *, up: bool = False, demodulate: bool = True
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(1, outputs, inputs, kernel, kernel))
        self.modulation = EqualLinear(width, inputs)
        self.up, self.demodulate = up, demodulate
        self.register_buffer("energy", None, persistent=False)

    def fold(self) -> None:
        self.modulation.fold()
        weight = self.weight[0] / math.sqrt(math.prod(self.weight.shape[2:]))  # (out, in, k, k)
        self.energy = weight.square().sum((2, 3)) if self.demodulate else None
        # A transposed convolution has its axes swapped, its taps not flipped.
        weight = weight.transpose(0, 1) if self.up else weight
        self.weight = nn.Parameter(weight.contiguous(memory_format=memory_format(weight)))

    def style(self, latent: Tensor) -> Tensor:
        """Scale of each input channel: [B, width] -> [B, in]."""
        made: Tensor = self.modulation(latent)
        return made

    def demodulation(self, style: Tensor) -> Tensor:
        """Scale of each output channel: [B, in] -> [B, out]."""
        assert self.energy is not None
        return torch.rsqrt(functional.linear(style.square(), self.energy) + 1e-8)

    def modulates_weights(self, x: Tensor) -> bool:
        height, width = x.shape[-2:]
        outputs = self.weight.shape[int(self.up)]
        return self.weight.numel() < (x.shape[1] + outputs * (4 if self.up else 1)) * height * width

    def convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """[B, in, H, W] -> [B, out, H, W], or [B, out, 2H + 1, 2W + 1] before its blur if `up`."""
        if self.up:
            return functional.conv_transpose2d(x, weight, bias, stride=2)
        return functional.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)


class Noise(nn.Module):
    """The strength of a noise that is never fed at inference: in the checkpoint, without
    effect.
    """

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(1))


class StyledConv(nn.Module):
    """Modulated convolution, [x2 with blur], bias, leaky ReLU."""

    def __init__(self, inputs: int, outputs: int, width: int, *, up: bool = False) -> None:
        super().__init__()
        self.conv = ModulatedConv(inputs, outputs, 3, width, up=up)
        self.noise = Noise()
        self.activate = Bias(outputs)

    def fold(self) -> None:
        self.conv.fold()
        self.activate.fold(GAIN)

    def forward(self, x: Tensor, latent: Tensor) -> Tensor:
        """x [B, in, H, W], latent float32 [B, width] -> [B, out, H, W] or twice the size."""
        style = self.conv.style(latent)
        gain = self.conv.demodulation(style) * GAIN
        convolved = self.modulated if self.conv.modulates_weights(x) else self.scaled
        return functional.leaky_relu_(convolved(x, style, gain), LEAK)

    def modulated(self, x: Tensor, style: Tensor, gain: Tensor) -> Tensor:
        """By modulating the weights of each sample."""
        first, second = (style, gain) if self.conv.up else (gain, style)  # of the weight's axes
        factors = (first[:, :, None] * second[:, None, :])[..., None, None]
        bias, parts = self.activate.flat.to(x.dtype), []
        # One sample as a slice: x[i][None] has strides that no kernel takes for channels last.
        for one, factor in zip(torch.split(x, 1), factors, strict=True):
            weight = (self.conv.weight * factor).to(x.dtype)
            if self.conv.up:
                parts.append(blurred(self.conv.convolve(one, weight), 1, 1, 4, bias))
            else:
                parts.append(self.conv.convolve(one, weight, bias))
        return torch.cat(parts) if len(parts) > 1 else parts[0]

    def scaled(self, x: Tensor, style: Tensor, gain: Tensor) -> Tensor:
        """By scaling the activations before and after one convolution of the batch."""
        x = self.conv.convolve(x * style[:, :, None, None].to(x.dtype), self.conv.weight.to(x.dtype))
        x = x * gain[:, :, None, None].to(x.dtype)
        if self.conv.up:
            return blurred(x, 1, 1, 4, self.activate.flat.to(x.dtype))
        return x.add_(self.activate.bias.to(x.dtype))
