"""One run of nerffacespeech: frames come while speech is heard, 0.14 s behind it and as fast as
they are drawn: drive -> motion -> render -> compose.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from personare.cache.run import run
from personare.engines.nerffacespeech import guide as guides
from personare.engines.nerffacespeech.blinks import Blinks
from personare.engines.nerffacespeech.checkpoints import Networks, block_format, mode_of
from personare.engines.nerffacespeech.compose import OriginalFraming, SquareFraming
from personare.engines.nerffacespeech.front import own_generator
from personare.engines.nerffacespeech.motion import FaceMotion
from personare.engines.nerffacespeech.networks.config import EXPRESSION
from personare.engines.nerffacespeech.options import NerfOptions
from personare.engines.nerffacespeech.stages import (
    ALIGNED,
    ANCHOR,
    FIT,
    FRONT,
    POSE,
    PROJECTION,
    TUNING,
)
from personare.engines.neural import BatchSize, in_batches
from personare.engines.performance import Made, Performance
from personare.engines.portrait import own_photo
from personare.engines.utterance import Utterance
from personare.media.guide import open_guide
from personare.types import Avatar, Guide, Phone, Samples

if TYPE_CHECKING:
    from torch import Tensor

    from personare.cache.store import FeatureStore
    from personare.engines.nerffacespeech.networks.voice import Audio2Exp, LipaintNet
    from personare.engines.nerffacespeech.render import Renderer
    from personare.perception.parsing import BiSeNet
    from personare.weights.finder import Weights
    from personare.weights.resident import Lease

Floats = NDArray[np.float32]

BATCH = 4
"""Frames drawn together where it is left to us, and the device is not a CPU: one keeps that
busy, and more make its caches miss.
"""


class NerfPerformance(Performance):
    """One run of one avatar."""

    def __init__(
        self,
        avatar: Avatar,
        options: NerfOptions,
        weights: Weights,
        guide: Guide | None,
        store: FeatureStore | None,
    ) -> None:
        super().__init__(guided=guide is not None)
        self._options, self._store, self._avatar = options, store, avatar
        self._networks, self._mode = Networks(options, weights), mode_of(options, weights)
        self._guide = guide
        poses = guide or (open_guide(options.poses) if options.poses is not None else None)
        self._poses_of = poses
        self.fps = options.fps
        self._framing = self._framed()
        self.size = self._framing.size
        self._anchor = self._own_expression()
        self._camera = np.array(avatar.features[POSE].arrays["camera"], np.float32)
        self._rows = options.batch_size or (1 if self._networks.device.type == "cpu" else BATCH)
        self._batch = BatchSize(self._rows, self._networks.device)
        self._batch.pad = False  # the last masks are remembered, so no frame may be drawn twice
        self._waiting: list[Floats] = []
        self._drawn = 0
        self._last: deque[tuple[int, Floats]] = deque(maxlen=2)  # frames drawn by then, and the last's face
        self._unseen: list[Floats] = []  # the last frames at rest, if they were not drawn
        self._poses_from = 0  # the guide's frame that the utterance begins with

    # ------------------------------------------------------------- the run

    def _hear(self, said: Utterance, samples: Samples, phones: Sequence[Phone] | None) -> Iterator[Made]:  # noqa: ARG002
        yield from self._in_groups(self._motion.hear(samples))

    def _end(self, said: Utterance) -> Iterator[Made]:
        if self._guide is not None and not said.samples:
            yield from self._followed(said)
        else:
            yield from self._in_groups(self._motion.end(self._count(said)))
            if self._waiting:
                yield self._made(self._waiting)
        self._drop(said)

    def _rest(self, n: int) -> Made:
        """The face while the network hears silence, which may blink; the head is held as it was
        last.
        """
        return Made(np.concatenate([self._picture([row], self._held()) for row in self._motion.rest(n)]))

    def _pass(self, n: int) -> None:
        from personare.engines.nerffacespeech.render import MASKS

        self._unseen = [*self._unseen, *self._motion.rest(n)][1 - MASKS :]

    def _drop(self, said: Utterance) -> None:
        """What was drawn and not shown does not count."""
        shown = [face for drawn, face in self._last if drawn <= said.shown]
        self._motion.leave(shown[-1] if shown else None)
        self._poses_from += min(said.shown, self._drawn)  # none, if it was left already
        self._last.clear()
        self._waiting, self._drawn = [], 0

    def _close(self) -> None:
        self.__dict__.pop("_motion", None)
        for name in ("_leases", "_hearing", "_renderer"):
            held = self.__dict__.pop(name, None)
            for lease in held if isinstance(held, tuple) else (held,):
                if hasattr(lease, "close"):
                    lease.close()

    # ------------------------------------------------------------- drawing

    def _in_groups(self, settled: Iterable[Floats]) -> Iterator[Made]:
        """As many frames at a time as are drawn together, counted from the utterance's first,
        so that the cut of the speech does not change what is drawn with what.
        """
        for expressions in settled:
            for expression in expressions:
                self._waiting.append(expression)
                if len(self._waiting) == self._rows:
                    yield self._made(self._waiting)

    def _made(self, expressions: Sequence[Floats]) -> Made:
        """Draw the next frames of the utterance."""
        first, self._waiting = self._drawn, []
        self._drawn += len(expressions)
        self._last.append((self._drawn, expressions[-1]))
        return Made(self._picture(expressions, self._cameras(self._poses_from + first, len(expressions))))

    def _picture(self, expressions: Sequence[Floats], cameras: Tensor) -> NDArray[np.uint8]:
        rows = np.stack(expressions)
        with self.watch("render"):
            if self._unseen:
                self._renderer.remember(np.stack(self._unseen), self._held())
                self._unseen = []
            images = self._pictures(rows, cameras)
        with self.watch("compose"):
            return self._framing.compose(images)

    def _pictures(self, expressions: Floats, cameras: Tensor) -> NDArray[np.uint8]:
        from personare.engines.nerffacespeech.render import to_bytes

        def drawn(rows: NDArray[np.intp]) -> NDArray[np.uint8]:
            return to_bytes(
                self._renderer.colours(expressions[rows], cameras[rows].to(self._renderer.device))
            )

        return np.concatenate(list(in_batches(drawn, len(expressions), self._batch)))

    # ------------------------------------------------------------- guides

    def _followed(self, said: Utterance) -> Iterator[Made]:
        motion = self._poses
        assert motion is not None
        said.expected = motion.frames
        self._renderer.forget()
        self._poses_from = 0
        for expressions in motion.expressions(self._rows):
            yield self._made(list(expressions))

    @cached_property
    def _poses(self) -> guides.GuideMotion | None:
        if self._poses_of is None:
            return None
        with self.watch("drive"):
            seen = run(guides.recipe(self._networks), {"guide": self._poses_of}, self._store, self.progress)
        self.heard.update(seen.outcome)
        return guides.GuideMotion(seen.features[guides.WATCHED], self.fps)

    def _cameras(self, first: int, count: int) -> Tensor:
        import torch

        if self._poses is None:
            return torch.from_numpy(self._camera).expand(count, 4, 4)
        return self._poses.cameras(first, count)

    def _held(self) -> Tensor:
        """How the head was held last, [1, 4, 4]; how it will be held, before the first frame."""
        return self._cameras(max(0, self._poses_from - 1), 1)

    # ------------------------------------------------------------- the person

    def _framed(self) -> SquareFraming | OriginalFraming:
        features, options = self._avatar.features, self._options
        side = features[FRONT].arrays["picture"].shape[0]
        if options.framing == "square":
            return SquareFraming(side, text=options.published_text)
        photo = own_photo(self._avatar, options.background)
        corners = np.array(features[ALIGNED].arrays["corners"])
        return OriginalFraming(photo, corners, text=options.published_text)

    def _own_expression(self) -> Floats:
        features = self._avatar.features
        whose = FIT if self._mode == "deform" else POSE
        return np.array(features[whose].arrays["coefficients"][EXPRESSION], np.float32)

    @cached_property
    def _motion(self) -> FaceMotion:
        return FaceMotion(
            self._hearing.network,
            self._anchor,
            Blinks(self._options.blink_rate, self._options.seed),
            self.fps,
            self.watch,
        )

    @cached_property
    def _hearing(self) -> Lease[Audio2Exp]:
        return self._networks.hearing()

    @cached_property
    def _leases(self) -> tuple[Lease[LipaintNet], Lease[BiSeNet] | None]:
        width = self._avatar.features[PROJECTION].arrays["w"].shape[-1]
        parser = self._networks.parser() if self._mode == "deform" else None
        return self._networks.lips(width), parser

    @cached_property
    def _renderer(self) -> Renderer:
        import torch

        from personare.engines.nerffacespeech.face_model import ExpressionPlane
        from personare.engines.nerffacespeech.render import Person, Renderer

        features, device = self._avatar.features, self._networks.device

        def tensor(feature: str, name: str) -> Tensor:
            return torch.from_numpy(np.array(features[feature].arrays[name]))[None].to(device)

        of_the_mesh: dict[str, Any] = {}
        if self._mode == "deform":
            with self._networks.face_model() as model:
                plane = ExpressionPlane(model, np.array(features[FIT].arrays["coefficients"]))
            of_the_mesh = {
                "plane": plane,
                "references": np.array(features[ANCHOR].arrays["references"]),
                "coarse_index": tensor(ANCHOR, "coarse")[0].long(),
                "fine_index": tensor(ANCHOR, "fine")[0].long(),
            }
        with self._networks.generator() as released:
            generator = own_generator(released, features.get(TUNING))
        w, z, fine = tensor(PROJECTION, "w"), tensor(PROJECTION, "z"), tensor(FRONT, "fine")
        person = Person(generator, w, z, fine, **of_the_mesh)
        lips, parser = self._leases
        blocks = block_format(self._options, device)
        return Renderer(person, lips.network, parser.network if parser else None, blocks)
