"""The sizes and options of a StyleNeRF generator, as its file states them: nothing is assumed
of the released one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from personare.errors import WeightsMismatch

MODEL_FPS = 25
EXPRESSIONS = 64
COEFFICIENTS = 257
"""Of the face model: identity 80, expression 64, texture 80, angles 3, light 27, place 3."""
IDENTITY, EXPRESSION, TEXTURE = slice(0, 80), slice(80, 144), slice(144, 224)
ANGLES, LIGHT, PLACE = slice(224, 227), slice(227, 254), slice(254, 257)

UPSAMPLERS = ("nn_cat", "pixelshuffle")
_FULL_CHANNELS = 32768


@dataclass(frozen=True, slots=True)
class GeneratorConfig:
    """z, w: widths of the latents. style_layers: of the mapping. side: px of the picture.
    volume: px of the field's map. features: its channels besides RGB. channels: of each block
    by its side. upsampler: one of UPSAMPLERS. blur: whether a filter follows it.
    foreground, background: (layers, width) of the fields, the first layer counted.
    z_background: width of the background's latent. samples, background_samples: points a ray.
        depths: nearest and farthest. field_of_view: degrees. corners: whether rays go through
        the pixels' corners.
    start: inverse radius of the nearest background. range_u, range_v, radius: where random
    cameras are. clamp: largest activation of a block.
    """

    z: int
    w: int
    style_layers: int
    side: int
    volume: int
    features: int
    channels: Mapping[int, int]
    upsampler: str
    blur: bool
    foreground: tuple[int, int]
    background: tuple[int, int]
    z_background: int
    samples: int
    background_samples: int
    depths: tuple[float, float]
    field_of_view: float
    corners: bool
    start: float
    range_u: tuple[float, float]
    range_v: tuple[float, float]
    radius: float
    clamp: float
    octaves: int = 10

    @property
    def sides(self) -> list[int]:
        """Of the blocks, smallest first."""
        return [self.volume << n for n in range(1, round(math.log2(self.side / self.volume)) + 1)]

    @property
    def field_styles(self) -> int:
        """How many w's the foreground takes: one a layer, one each for density and features."""
        return self.foreground[0] + 2

    @property
    def styles(self) -> int:
        """How many w's there are: two more for each block, and the last block's colours."""
        return self.field_styles + 2 * len(self.sides) + 1

    @classmethod
    def read(cls, given: Mapping[str, Any], source: str) -> GeneratorConfig:
        """From the constructor's arguments in plain containers. Raises WeightsMismatch, naming
        the first option that is missing or that this engine does not have.
        """
        try:
            return _read(given, source)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise WeightsMismatch(
                f"{source} does not state its configuration: {error!r}", hint="is it a StyleNeRF generator?"
            ) from None


def _read(given: Mapping[str, Any], source: str) -> GeneratorConfig:
    synthesis = dict(given["synthesis_kwargs"])
    camera, renderer, upsampler = (
        dict(synthesis.get(name) or {}) for name in ("camera_kwargs", "renderer_kwargs", "upsampler_kwargs")
    )
    foreground = dict(synthesis.get("foreground_kwargs") or {})
    background = dict(synthesis.get("background_kwargs") or {})
    camera, renderer = camera or synthesis, renderer or synthesis
    upsampler = synthesis | upsampler
    mode = str(synthesis.get("upsample_mode", "default"))
    wanted = {
        "c_dim": (given.get("c_dim", 0), 0),
        "img_channels": (given.get("img_channels", 3), 3),
        "architecture": (synthesis.get("architecture", "skip"), "skip"),
        "kernel_size": (synthesis.get("kernel_size", 1), 1),
        "use_noise": (bool(synthesis.get("use_noise", False)), False),
        "z_dim (of the field)": (synthesis.get("z_dim", 0), 0),
        "hierarchical": (bool(renderer.get("hierarchical", True)), True),
        "no_background": (bool(renderer.get("no_background", False)), False),
        "depth_transform": (camera.get("depth_transform"), None),
        "dists_normalized": (bool(camera.get("dists_normalized", False)), False),
        "no_2d_renderer": (bool(upsampler.get("no_2d_renderer", False)), False),
        "no_residual_img": (bool(upsampler.get("no_residual_img", False)), False),
        "block_reses": (upsampler.get("block_reses"), None),
        "shared_rgb_style": (bool(upsampler.get("shared_rgb_style", False)), False),
        "inverse_sphere": (bool(background.get("inverse_sphere", True)), True),
    }
    for part, name in ((foreground, "foreground"), (background, "background")):
        wanted |= {
            f"positional_encoding ({name})": (part.get("positional_encoding", "normal"), "normal"),
            f"downscale_p_by ({name})": (part.get("downscale_p_by", 1), 1),
            f"predict_rgb ({name})": (bool(part.get("predict_rgb", True)), True),
            f"use_viewdirs ({name})": (bool(part.get("use_viewdirs", False)), False),
        }
    if other := [f"{name}={value!r}" for name, (value, ours) in wanted.items() if value != ours]:
        raise WeightsMismatch(
            f"{source} is a StyleNeRF generator with {', '.join(other)}, which this engine does not have",
            hint="the released ffhq_1024.pkl is what nerffacespeech was made for",
        )
    how = next((name for name in UPSAMPLERS if mode.removesuffix("_noblur") == name), None)
    if how is None:
        raise WeightsMismatch(
            f"{source} upsamples by {mode!r}; this engine has {' and '.join(UPSAMPLERS)}",
            hint="the released ffhq_1024.pkl is what nerffacespeech was made for",
        )
    side, volume = int(given["img_resolution"]), int(synthesis.get("resolution_vol", 32))
    start = int(synthesis.get("resolution_start") or volume)
    if start != volume or not _is_doubling(side, volume) or not (1 <= volume <= 64 and side <= 2048):
        raise ValueError(f"pictures of {side} px from a field of {volume}, beginning at {start}")
    base, most = float(synthesis.get("channel_base", 1)), int(synthesis.get("channel_max", 512))
    table = {int(key): int(value) for key, value in dict(upsampler.get("channel_dict") or {}).items()}
    sides = [volume << n for n in range(1, round(math.log2(side / volume)) + 1)]
    channels = {each: table.get(each, min(int(_FULL_CHANNELS * base) // each, most)) for each in sides}
    sizes: dict[str, Any] = {
        "z": int(given["z_dim"]),
        "w": int(given["w_dim"]),
        "style_layers": int(dict(given.get("mapping_kwargs") or {}).get("num_layers", 8)),
        "features": int(synthesis.get("rgb_out_dim", 128)),
        "z_background": int(synthesis.get("z_dim_bg", 32)),
        "samples": int(renderer.get("n_ray_samples", 14)),
        "background_samples": int(renderer.get("n_bg_samples", 4)),
    }
    layers: dict[str, Any] = {
        "foreground": (int(foreground.get("n_blocks", 8)), int(foreground.get("hidden_size", 128))),
        "background": (int(background.get("n_blocks", 4)), int(background.get("hidden_size", 64))),
    }
    counts = [*sizes.values(), *layers["foreground"], *layers["background"], *channels.values()]
    if not all(1 <= count <= 8192 for count in counts) or sizes["samples"] < 4:
        raise ValueError(f"sizes out of range: {sizes} {layers} {channels}")
    clamp = synthesis.get("conv_clamp")
    return GeneratorConfig(
        side=side,
        volume=volume,
        channels=channels,
        upsampler=how,
        blur=not mode.endswith("noblur"),
        depths=_pair(camera.get("depth_range", (0.88, 1.12))),
        field_of_view=float(camera.get("fov", 12)),
        corners=bool(camera.get("ray_align_corner", False)),
        start=float(camera.get("bg_start", 0.5)),
        range_u=_pair(camera.get("range_u", (-0.3, 0.3))),
        range_v=_pair(camera.get("range_v", (1.4157963267948965, 1.7257963267948966))),
        radius=_pair(camera.get("range_radius", (1.0, 1.0)))[0],
        clamp=math.inf if clamp is None else float(clamp),
        **sizes,
        **layers,
    )


def _is_doubling(side: int, volume: int) -> bool:
    return side > volume > 0 and side % volume == 0 and (side // volume).bit_count() == 1


def _pair(value: Any) -> tuple[float, float]:
    low, high = (float(one) for one in value)
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(f"a range from {low} to {high}")
    return low, high
