"""Expressions and cameras become pictures.

The published order of work renders three times a frame. Here it is twice: once with the styles
of the mouth, whose picture says where the mouth is, and once with the head's own styles and the
moved field, into whose map the mouth's is blended. What does not change from frame to frame is
computed once: the background, the places of the samples, the nearest vertices.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from personare.engines.nerffacespeech.face_model import MOUTH_CLASSES
from personare.engines.nerffacespeech.networks.generator import Generator, Shift
from personare.engines.nerffacespeech.networks.voice import LipaintNet
from personare.perception.parsing import BiSeNet

Floats = NDArray[np.float32]

PARSED_PX = 512
MASKS = 7
"""Of so many frames the mouth's mask is the mean."""
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def as_network_input(pictures: Tensor) -> Tensor:
    """Pictures [B, 3, H, W] in [-1, 1] as the segmentation was given them: what is darker than
    middle grey is black, as published.
    """
    mean, std = (pictures.new_tensor(values)[:, None, None] for values in (_MEAN, _STD))
    return (pictures.clamp(0, 1) - mean) / std


def parsed(network: BiSeNet, pictures: Tensor) -> Tensor:
    """Labels uint8 [B, 512, 512] of pictures [B, 3, S, S] in [-1, 1]."""
    small = functional.interpolate(pictures, size=(PARSED_PX, PARSED_PX), mode="bicubic", align_corners=False)
    labels = [network(as_network_input(one[None])).argmax(1) for one in small]
    return torch.cat(labels).to(torch.uint8)


def outside_mouth(labels: Tensor) -> Tensor:
    """float32 [B, 1, H, W]: 0 in the mouth, else 1."""
    mouth = torch.zeros_like(labels, dtype=torch.bool)
    for label in MOUTH_CLASSES:
        mouth |= labels == label
    return (~mouth).float()[:, None]


class MeanMask:
    """The mean of the last masks: a mouth does not flicker."""

    def __init__(self) -> None:
        self._last: deque[Tensor] = deque(maxlen=MASKS)

    def next(self, mask: Tensor) -> Tensor:
        """[1, H, W] -> [1, H, W]"""
        self._last.append(mask)
        return torch.stack(list(self._last)).mean(0)

    def clear(self) -> None:
        self._last.clear()


class MapBlend:
    """Two maps joined under a mask of 512 px: both enlarged to it, joined, and reduced again,
    all bicubic. The reduction reads four rows and columns of the 512 for each of the map's, so
    only these are ever made.
    """

    def __init__(self, side: int, device: torch.device | str) -> None:
        step = PARSED_PX // side
        unit = torch.eye(side)[None, None]
        enlarged = functional.interpolate(unit, size=(PARSED_PX, side), mode="bicubic", align_corners=False)
        near = torch.arange(side)[:, None] * step + step // 2 + torch.arange(-2, 2)
        self.rows = near.flatten().to(device)
        self._enlarge = enlarged[0, 0, near.flatten()].to(device)  # (4 side, side)
        reduced = functional.interpolate(
            torch.eye(PARSED_PX)[None, None], size=(side, PARSED_PX), mode="bicubic", align_corners=False
        )[0, 0]
        self._reduce = reduced[:, near.flatten()].to(device)  # (side, 4 side)

    def __call__(self, outside: Tensor, inside: Tensor, mask: Tensor) -> Tensor:
        """outside, inside: [B, C, side, side]. mask: [B, 1, 512, 512], 1 for `outside`."""
        near = mask[:, :, self.rows[:, None], self.rows]
        difference = self._enlarge @ (outside - inside) @ self._enlarge.T
        plain = self._enlarge @ inside @ self._enlarge.T
        return self._reduce @ (plain + near * difference) @ self._reduce.T


@dataclass(frozen=True, slots=True)
class Person:
    """All of a person that pictures are made of, on the device.

    generator: tuned. w: [1, styles, w]. z: [1, z] of the background. fine: [1, R, n] places of
    the fine samples. plane: an expression's points of reference [P, 2] in the field's plane;
    references: [P, 2] those of the person himself; coarse, fine_index: int64 [R n], which is
    nearest to each sample. Without a face model the last four are None.
    """

    generator: Generator
    w: Tensor
    z: Tensor
    fine: Tensor
    plane: Callable[[Floats], Floats] | None = None
    references: Floats | None = None
    coarse_index: Tensor | None = None
    fine_index: Tensor | None = None


class Renderer:
    """Draws one person. Its networks are shared; the masks that it remembers are its own."""

    def __init__(
        self,
        person: Person,
        lips: LipaintNet,
        parser: BiSeNet | None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """parser: needed where there is a face model. dtype: of all blocks but the first."""
        self._person, self._lips, self._parser, self._dtype = person, lips, parser, dtype
        self._synthesis = person.generator.synthesis
        with torch.inference_mode():
            self._behind = self._synthesis.behind(person.z)
        self._blend = MapBlend(person.generator.config.volume, person.w.device)
        self._masks = MeanMask()

    @property
    def side(self) -> int:
        return self._person.generator.config.side

    @property
    def device(self) -> torch.device:
        return self._person.w.device

    def forget(self) -> None:
        """What comes next is another clip: the masks of before do not count."""
        self._masks.clear()

    def remember(self, expressions: Floats, cameras: Tensor) -> None:
        """Frames that nobody sees: of expressions [n, 64] and cameras [1, 4, 4] just the masks
        are made, on which those of later frames depend.
        """
        if self._person.plane is None:
            return
        with torch.inference_mode():
            for row in expressions:
                lips = self.mouth_styles(row[None])
                seen = self._seen(lips, cameras.to(self.device), None)
                labels = self.labels(self._synthesis.picture(seen, lips, self._dtype))
                self._masks.next(outside_mouth(labels)[0])

    def colours(self, expressions: Floats, cameras: Tensor) -> Tensor:
        """Expressions [n, 64] as they are shown, cameras [n, 4, 4] -> float32 [n, 3, S, S]."""
        with torch.inference_mode():
            lips = self.mouth_styles(expressions)
            seen = self._seen(lips, cameras, None)
            pictures = self._synthesis.picture(seen, lips, self._dtype)
            if self._person.plane is None:
                return pictures
            masks = [self._masks.next(mask) for mask in outside_mouth(self.labels(pictures))]
            return self.blended(expressions, cameras, seen, torch.stack(masks))

    def labels(self, pictures: Tensor) -> Tensor:
        """What is where in pictures [n, 3, S, S]: uint8 [n, 512, 512]."""
        assert self._parser is not None
        return parsed(self._parser, pictures)

    def blended(self, expressions: Floats, cameras: Tensor, mouth: Tensor, masks: Tensor) -> Tensor:
        """The head with its field moved, and the mouth's map [n, 3 + F, side, side] blended
        into its own under masks [n, 1, 512, 512].
        """
        ws = self._person.w.expand(len(expressions), -1, -1)
        moved = self._seen(ws, cameras, self.shift(expressions))
        features = self._blend(moved[:, 3:], mouth[:, 3:], masks)
        return self._synthesis.picture(torch.cat([moved[:, :3], features], 1), ws, self._dtype)

    def mouth_styles(self, expressions: Floats) -> Tensor:
        """[n, styles, w]: the mouth's in the field, the person's own in the blocks."""
        person, count = self._person, self._person.generator.config.field_styles
        shown = torch.from_numpy(np.ascontiguousarray(expressions, np.float32)).to(person.w)
        lips = self._lips(person.w[:, 0].expand(len(shown), -1), shown)
        ws = person.w.expand(len(shown), -1, -1)
        return torch.cat([lips[:, None].expand(-1, count, -1), ws[:, count:]], 1)

    def shift(self, expressions: Floats) -> Shift:
        """How the field's samples are moved so that the person has these expressions."""
        person = self._person
        assert person.plane is not None
        assert person.references is not None
        assert person.coarse_index is not None
        assert person.fine_index is not None
        moved = person.references.copy()[None].repeat(len(expressions), 0)
        for row, expression in zip(moved, expressions, strict=True):
            places = person.plane(expression)
            row[: len(places)] = places  # the rest is the torso, which stays
        away = torch.from_numpy(person.references - moved).to(person.w)
        return Shift(away[:, person.coarse_index], away[:, person.fine_index])

    def _seen(self, ws: Tensor, cameras: Tensor, shift: Shift | None) -> Tensor:
        count = len(ws)
        fine, behind = self._person.fine.expand(count, -1, -1), self._behind.expand(count, -1, -1)
        return self._synthesis.see(ws, behind, cameras, fine, shift).map


def to_bytes(colours: Tensor) -> NDArray[np.uint8]:
    """float [n, 3, H, W] in [-1, 1] -> uint8 [n, H, W, 3]; cut off, not rounded, as published."""
    with torch.inference_mode():
        scaled = (colours * 127.5 + 128).clamp(0, 255).to(torch.uint8)
        return np.asarray(scaled.permute(0, 2, 3, 1).contiguous().cpu().numpy())
