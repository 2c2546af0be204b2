"""What wav2vec 2.0 hears (Baevski et al. 2020): hidden states of every layer, frame by frame;
and an emotion classifier.

The networks are the library's; only their parts are called one by one, because FLOAT resamples
the features between them. Nothing here grows with the length of a speech but what is returned:
convolutions run in slabs, attention over what the caller asks for.
"""

from __future__ import annotations

import itertools
import json
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import parametrize

from personare.errors import WeightsMismatch
from personare.types import Samples
from personare.weights.loading import load_strictly, unallocated

EMOTIONS = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
"""In the classifier's order."""

_SLAB_FEATURES = 250
"""Features (20 ms each) whose convolutions are held in memory at once: 5 s."""
_SLAB_TOKENS = 1024
_SIZES = (
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "conv_dim",
    "conv_kernel",
    "conv_stride",
    "conv_bias",
    "feat_extract_norm",
    "feat_extract_activation",
    "do_stable_layer_norm",
    "num_conv_pos_embeddings",
    "num_conv_pos_embedding_groups",
    "hidden_act",
    "layer_norm_eps",
)
"""What of a config.json decides the network. All else is of training, or of an attention that
newer libraries refuse.
"""
_OLD_SPELLING = {
    "conv.weight_g": "conv.parametrizations.weight.original0",
    "conv.weight_v": "conv.parametrizations.weight.original1",
}
"""The weight norm of the positional convolution, as files of before torch 2.1 call it."""
_PREFIX = "wav2vec2."

EachLayer = Callable[[int, Tensor], None]
"""each(index, hidden [1, n, width]): index 0 is the input of the first layer, then every
layer's output.
"""


def normalised(samples: Samples) -> Samples:
    """float32 [n] of mean 0 and variance 1 over all of it, as the released preprocessors do: (x
    - mean) / sqrt(var + 1e-7).
    """
    centred = samples - np.mean(samples, dtype=np.float64)
    return np.asarray(centred / np.sqrt(np.mean(np.square(centred)) + 1e-7), np.float32)


def read_sizes(config: Path) -> dict[str, Any]:
    """A network's config.json. Raises WeightsMismatch for one that is damaged or of another
    network.
    """
    try:
        values = json.loads(config.read_text(encoding="utf-8"))
        return {name: values[name] for name in _SIZES if name in values}
    except (OSError, ValueError, TypeError) as error:
        raise WeightsMismatch(f"{config} is damaged: {error}", hint="fetch it again") from None


@dataclass(frozen=True, slots=True)
class _Affine:
    """The first convolution's group norm over a whole speech, as scale and shift [1, C, 1] of
    each channel.
    """

    scale: Tensor
    shift: Tensor


class SpeechFeatures:
    """A wav2vec 2.0 network that is asked for its parts. Audio is float32 [1, n], normalised,
    on the network's device.
    """

    def __init__(self, network: Any) -> None:
        """network: the library's Wav2Vec2Model."""
        self.network = network
        layers = network.feature_extractor.conv_layers
        self.stride = int(np.prod([layer.conv.stride[0] for layer in layers]))
        reach = 1
        for layer in reversed(layers):
            reach = (reach - 1) * layer.conv.stride[0] + layer.conv.kernel_size[0]
        self.reach = reach  # samples that one feature sees
        layers = network.encoder.layers
        for layer in layers:
            layer.feed_forward = _InSlabs(layer.feed_forward)
        # Threads share the network: the hooks stay, and each thread has its own listener. They
        # must not refer to this object, or only the garbage collector would free the network.
        self._listening = listening = _Listening()
        layers[0].register_forward_pre_hook(lambda _, inputs: listening.tell(0, inputs[0]))
        for index, layer in enumerate(layers, start=1):
            layer.register_forward_hook(
                lambda _, __, output, index=index: listening.tell(index, _tensor(output))
            )

    @property
    def layers(self) -> int:
        return len(self.network.encoder.layers)

    @property
    def device(self) -> torch.device:
        made: torch.device = next(self.network.parameters()).device
        return made

    @property
    def dtype(self) -> torch.dtype:
        """What it computes with."""
        made: torch.dtype = self.network.encoder.layer_norm.weight.dtype
        return made

    def count(self, samples: int) -> int:
        """Features of so many samples; none of fewer than one feature sees."""
        return max(0, (samples - self.reach) // self.stride + 1)

    def convolved(
        self, audio: Tensor, first: int = 0, last: int | None = None, affine: _Affine | None = None
    ) -> Tensor:
        """Features [1, last - first, C] of the convolutions, in slabs; affine:
        `statistics(audio)`, if it is at hand.
        """
        last = self.count(audio.shape[1]) if last is None else last
        affine = affine or self.statistics(audio)
        slabs = []
        for start in range(first, last, _SLAB_FEATURES):
            end = min(last, start + _SLAB_FEATURES)
            x = audio[:, None, start * self.stride : (end - 1) * self.stride + self.reach]
            for number, layer in enumerate(self.network.feature_extractor.conv_layers):
                if number == 0 and affine is not None:
                    x = layer.activation(layer.conv(x).mul_(affine.scale).add_(affine.shift))
                else:
                    x = layer(x)
            slabs.append(x.transpose(1, 2))
        return torch.cat(slabs, 1)

    def statistics(self, audio: Tensor) -> _Affine | None:
        """The group norm of a whole speech in two passes; None for networks that normalise each
        feature by itself.
        """
        layer = self.network.feature_extractor.conv_layers[0]
        norm = getattr(layer, "layer_norm", None)
        if not isinstance(norm, nn.GroupNorm):
            return None
        kernel, stride = layer.conv.kernel_size[0], layer.conv.stride[0]
        count = (audio.shape[1] - kernel) // stride + 1
        total = torch.zeros(norm.num_channels, dtype=torch.float64)
        squares = torch.zeros_like(total)
        step = _SLAB_FEATURES * self.stride // stride
        for start in range(0, count, step):
            end = min(count, start + step)
            x = layer.conv(audio[:, None, start * stride : (end - 1) * stride + kernel])[0]
            # Each slab's own mean and variance in float32 (float64 would copy it), put together
            # in float64.
            mean, length = x.mean(1).double().cpu(), end - start
            total += mean * length
            squares += (x.var(1, correction=0).double().cpu() + mean.square()) * length
        mean = total / count
        scale = norm.weight.double().cpu() * torch.rsqrt(squares / count - mean.square() + norm.eps)
        shift = norm.bias.double().cpu() - mean * scale
        return _Affine(scale.to(audio)[None, :, None], shift.to(audio)[None, :, None])

    def at_frames(
        self,
        audio: Tensor,
        frames: int,
        first: int = 0,
        last: int | None = None,
        affine: _Affine | None = None,
    ) -> Tensor:
        """The features at frames first .. last of `frames` that share the speech evenly, [1,
        last - first, C].

        Linear interpolation in which the first and the last frame fall on the first and the
        last feature.
        """
        last = frames if last is None else last
        count = self.count(audio.shape[1])
        place = torch.arange(first, last, dtype=torch.float64) * ((count - 1) / max(1, frames - 1))
        low = place.floor().clamp(0, max(0, count - 2)).long()
        part = (place - low).to(audio)[None, :, None]
        begin, end = int(low[0]), min(count, int(low[-1]) + 2)
        features = self.convolved(audio, begin, end, affine)
        low = (low - begin).to(audio.device)
        high = (low + 1).clamp(max=end - begin - 1)
        return torch.lerp(features[:, low], features[:, high], part)

    def encode(self, features: Tensor, each: EachLayer | None = None) -> Tensor:
        """The encoder over [1, n, C]: the last hidden state [1, n, width]; each: told every
        layer's while it runs.
        """
        self._listening.each = each
        try:
            projected = self.network.feature_projection(features)[0]
            return _tensor(self.network.encoder(projected))
        finally:
            self._listening.each = None


class _Listening(threading.local):
    """Whom the `encode` of the running thread tells about its layers."""

    each: EachLayer | None = None

    def tell(self, layer: int, hidden: Tensor) -> None:
        if self.each is not None:
            self.each(layer, hidden)


class _InSlabs(nn.Module):
    """A feed-forward layer, a slab of tokens at a time: its wide middle does not grow with the
    speech.
    """

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] <= _SLAB_TOKENS:
            return self.inner(x)
        return torch.cat([self.inner(slab) for slab in torch.split(x, _SLAB_TOKENS, 1)], 1)


class EmotionClassifier:
    """Seven scores of a speech: the mean of the last hidden states through two linear layers
    (tanh between).
    """

    def __init__(self, features: SpeechFeatures, head: nn.Module) -> None:
        self.features, self.head = features, head

    def logits(self, audio: Tensor, window: int | None = None) -> Tensor:
        """audio [1, n], n >= features.reach -> [1, 7]. window: features (20 ms) that attend to
        one another; None for all.
        """
        count = self.features.count(audio.shape[1])
        if count == 0:
            raise ValueError(
                f"{audio.shape[1]} samples are fewer than the {self.features.reach} that one feature sees"
            )
        pieces = max(1, round(count / window)) if window else 1
        edges = np.linspace(0, count, pieces + 1).astype(int)
        total: Tensor | int = 0
        for first, last in itertools.pairwise(edges):
            total = total + self.features.encode(self.features.convolved(audio, int(first), int(last))).sum(1)
        return self.head(total / count)

    def probabilities(self, audio: Tensor, window: int | None = None) -> NDArray[np.float32]:
        """float32 [7] in the order of EMOTIONS, of sum 1."""
        return np.asarray(self.logits(audio, window).softmax(-1)[0].cpu().numpy(), np.float32)


class _Head(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, len(EMOTIONS))

    def forward(self, pooled: Tensor) -> Tensor:
        return self.out_proj(torch.tanh(self.dense(pooled)))


def speech_features(
    state: Mapping[str, Tensor],
    sizes: Mapping[str, Any],
    device: torch.device | str = "cpu",
    source: str = "wav2vec2",
    dtype: torch.dtype = torch.float32,
) -> SpeechFeatures:
    """A network from its file: names with or without "wav2vec2." before them, either spelling
    of the positional convolution; what belongs to a head is left out. Raises WeightsMismatch.

    state: its tensors by name.
    sizes: see `read_sizes`.
    dtype: what it computes with.
    """
    import transformers

    # Untyped: its signatures are built at run time.
    library: Any = transformers
    config = library.Wav2Vec2Config(
        **{name: sizes[name] for name in _SIZES if name in sizes},
        num_feat_extract_layers=len(sizes["conv_dim"]),
        mask_time_prob=0.0,
        mask_feature_prob=0.0,
        attn_implementation="sdpa",
    )
    with unallocated():
        network = library.Wav2Vec2Model(config)
    prefixed = any(name.startswith(_PREFIX) for name in state)

    def rename(name: str) -> str | None:
        if prefixed and not name.startswith(_PREFIX):
            return None
        name = name.removeprefix(_PREFIX)
        for old, new in _OLD_SPELLING.items():
            name = re.sub(f"{re.escape(old)}$", new, name)
        return name

    ignore = ("masked_spec_embed$", r"^lm_head\.")
    load_strictly(network, state, rename=rename, ignore=ignore, device=device, dtype=dtype, source=source)
    # Its weights would be normed anew for every call, to the same bits.
    parametrize.remove_parametrizations(network.encoder.pos_conv_embed.conv, "weight")
    return SpeechFeatures(network)


def emotion_classifier(
    state: Mapping[str, Tensor],
    sizes: Mapping[str, Any],
    device: torch.device | str = "cpu",
    source: str = "the emotion classifier",
) -> EmotionClassifier:
    """The classifier from its file. Raises WeightsMismatch."""
    with unallocated():
        head = _Head(int(sizes["hidden_size"]))
    mine = {
        name.removeprefix("classifier."): tensor
        for name, tensor in state.items()
        if name.startswith("classifier.")
    }
    load_strictly(head, mine, device=device, dtype=torch.float32, source=source)
    return EmotionClassifier(speech_features(state, sizes, device, source), head)


def _tensor(output: Any) -> Tensor:
    """The hidden states of whatever a layer returns: newer libraries a tensor, older ones a
    tuple, encoders a record.
    """
    if isinstance(output, Tensor):
        return output
    return output[0] if isinstance(output, Sequence) else output.last_hidden_state
