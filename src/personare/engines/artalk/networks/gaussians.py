"""A picture and its camera become Gaussians (GAGAvatar, Chu & Harada 2024): one for each vertex
of the head, and two sheets of them, before and behind a plane that faces the camera.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from personare.engines.artalk.networks.features import FeatureSizes, PictureFeatures
from personare.engines.artalk.networks.style_unet import StyleUNet
from personare.errors import WeightsMismatch
from personare.heads.splat import FOCAL
from personare.weights.loading import load_strictly, unallocated

COLOURS, DIRECTION = 32, 27
_LARGEST_SCALE = 0.05
_WIDE, _OCTAVES = 128, 4
BASE, UPSAMPLER = "base_model.", "upsampler."


class Sheet(NamedTuple):
    """Of n Gaussians, float32 [1, n, ..]: colours [32], opacities [1], scales [3], rotations
    [4], and where they stand before their plane [1]; None where a vertex says where they are.
    """

    colours: Tensor
    opacities: Tensor
    scales: Tensor
    rotations: Tensor
    positions: Tensor | None = None


@dataclass(frozen=True, slots=True)
class AvatarSizes:
    """features: of the picture. vertices, base: Gaussians of the head and their own numbers.
    hidden,
    sheet: widths of the two generators.
    """

    features: FeatureSizes
    vertices: int
    base: int
    hidden: int
    sheet: int

    @classmethod
    def of(cls, state: Mapping[str, Tensor], heads: int = 12) -> AvatarSizes:
        """From the tensors of GAGAvatar.pt. Raises KeyError if they are another network's."""
        part = {n.removeprefix(BASE): t for n, t in state.items() if n.startswith(BASE)}
        return cls(
            features=FeatureSizes.of(part, heads),
            vertices=state["head_base"].shape[0],
            base=state["head_base"].shape[1],
            hidden=state["gs_generator_g.feature_layers.0.weight"].shape[0],
            sheet=state["gs_generator_l0.gaussian_conv.0.weight"].shape[0],
        )


class _OfVertices(nn.Module):
    def __init__(self, given: int, hidden: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Linear(given, hidden)]
        for _ in range(3):
            layers += [nn.ReLU(), nn.Linear(hidden, hidden)]
        self.feature_layers = nn.Sequential(*layers)

        def head(made: int) -> nn.Sequential:
            return nn.Sequential(nn.Linear(hidden + DIRECTION, _WIDE), nn.ReLU(), nn.Linear(_WIDE, made))

        self.color_layers, self.opacity_layers = head(COLOURS), head(1)
        self.scale_layers, self.rotation_layers = head(3), head(4)

    def forward(self, x: Tensor, direction: Tensor) -> Sheet:
        """x: [1, n, given]. direction: its code [1, 27]."""
        x = self.feature_layers(x)
        x = torch.cat([x, direction[:, None].expand(-1, x.shape[1], -1)], 2)
        colours = self.color_layers(x)
        return Sheet(
            torch.cat([colours[..., :3].sigmoid(), colours[..., 3:]], 2),
            self.opacity_layers(x).sigmoid(),
            _LARGEST_SCALE * self.scale_layers(x).sigmoid(),
            # As released: over all points, so that hardly anything is turned.
            functional.normalize(self.rotation_layers(x), dim=1),
        )


class _OfPlane(nn.Module):
    def __init__(self, given: int, hidden: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width in (given, hidden, hidden):
            layers += [nn.Conv2d(width, hidden, 3, padding=1), nn.ReLU()]
        self.gaussian_conv = nn.Sequential(*layers, nn.Conv2d(hidden, COLOURS + 9, 1))

    def forward(self, x: Tensor, direction: Tensor) -> Sheet:
        """x: [1, given, H, W]. direction: its code [1, 27]. Row by row."""
        code = direction[:, :, None, None].expand(-1, -1, *x.shape[2:])
        made = self.gaussian_conv(torch.cat([x, code], 1))
        colours, opacities, scales, rotations, positions = made.split([COLOURS, 1, 3, 4, 1], 1)
        # As released: of all colours, in the first three columns of the map.
        colours = torch.cat([colours[..., :3].sigmoid(), colours[..., 3:]], 3)
        parts = (
            colours,
            opacities.sigmoid(),
            _LARGEST_SCALE * scales.sigmoid(),
            functional.normalize(rotations, dim=1),
            positions.sigmoid(),
        )
        return Sheet(*(part.flatten(2).transpose(1, 2) for part in parts))


class AvatarNetworks(nn.Module):
    """Of GAGAvatar.pt what makes Gaussians of a picture."""

    def __init__(self, sizes: AvatarSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.head_base = nn.Parameter(torch.empty(sizes.vertices, sizes.base))
        self.base_model = PictureFeatures(sizes.features)
        self.gs_generator_g = _OfVertices(sizes.base + sizes.features.width, sizes.hidden)
        given = sizes.features.channels + DIRECTION
        self.gs_generator_l0, self.gs_generator_l1 = (
            _OfPlane(given, sizes.sheet),
            _OfPlane(given, sizes.sheet),
        )

    def gaussians(self, picture: Tensor, camera: Tensor) -> tuple[Sheet, Tensor]:
        """(all Gaussians, the head's first; where those of the sheets are [n, 3]).

        picture: [1, 3, S, S] in [0, 1], on black. camera: [3, 4] that it was seen by.
        """
        dense, whole = self.base_model(picture)
        points, normal = plane(camera, dense.shape[-1])
        code = direction_code(normal[None])
        given = torch.cat([self.head_base, whole.expand(len(self.head_base), -1)], 1)[None]
        head = self.gs_generator_g(given, code)
        before, behind = self.gs_generator_l0(dense, code), self.gs_generator_l1(dense, code)
        parts = zip(head[:4], before[:4], behind[:4], strict=True)
        places = [points + before.positions[0] * normal, points - behind.positions[0] * normal]
        return Sheet(*(torch.cat(part, 1) for part in parts)), torch.cat(places)


def avatar_networks(
    state: Mapping[str, Tensor], source: str, heads: int = 12, device: Any = "cpu"
) -> AvatarNetworks:
    """From the tensors of GAGAvatar.pt; heads: of DINOv2. Raises WeightsMismatch."""
    try:
        sizes = AvatarSizes.of(state, heads)
    except (KeyError, ValueError) as error:
        raise WeightsMismatch(
            f"{source} is not GAGAvatar.pt: no {error.args[0]}", hint="fetch it again"
        ) from None
    with unallocated():
        network = AvatarNetworks(sizes)
    load_strictly(
        network,
        state,
        ignore=(r"^upsampler\.", r"\.mask_token$", "percep_loss"),
        device=device,
        dtype=torch.float32,
        source=source,
    )
    return network


def upsampler_network(state: Mapping[str, Tensor], source: str, device: Any = "cpu") -> StyleUNet:
    """Of GAGAvatar.pt just what makes the picture of splatted features. Raises WeightsMismatch."""
    mine = {name.removeprefix(UPSAMPLER): t for name, t in state.items() if name.startswith(UPSAMPLER)}
    noise = [tensor.shape[-1] for name, tensor in mine.items() if ".noises." in f".{name}"]
    with unallocated():
        network = StyleUNet(max(noise, default=8))
    load_strictly(network, mine, ignore=(r"^toRGB\.",), device=device, dtype=torch.float32, source=source)
    return network


def direction_code(normal: Tensor) -> Tensor:
    """[n, 3] -> [n, 27]: sines of four octaves of each axis, their cosines, and the direction."""
    octaves = (normal[:, :, None] * 2.0 ** torch.arange(_OCTAVES, device=normal.device)).flatten(1)
    return torch.cat([octaves.sin(), octaves.cos(), normal], 1)


def plane(camera: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """(points [side^2, 3] row by row, normal [3]) of the plane through the origin that faces a
    camera [3, 4].
    """
    steps = torch.linspace(1, -1, side, device=camera.device)
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    turn, shift = camera[:, :3], camera[:, 3]
    rays = torch.stack([x / FOCAL, y / FOCAL, torch.ones_like(x)], -1).view(-1, 3) @ turn.T
    origin, normal = -turn @ shift, turn[:, 2]
    distance = (origin * normal).sum().abs()
    return origin + distance * rays, normal


def camera_of_pose(turn: Tensor) -> Tensor:
    """[3, 3] of a camera that looks at a straight head as if the head turned by [3], axis times
    angle.
    """
    x, y, z = (turn * turn.new_tensor([-1.0, 1.0, -1.0])).double()
    across = torch.stack(
        [torch.stack([0 * x, -z, y]), torch.stack([z, 0 * x, -x]), torch.stack([-y, x, 0 * x])]
    )
    turned = torch.linalg.matrix_exp(across)
    mirror = torch.diag(turned.new_tensor([-1.0, 1.0, -1.0]))
    return (mirror @ turned.T).float()
