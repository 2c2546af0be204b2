"""One run of nerffacespeech: frames come while speech is heard, 0.14 s behind it and as fast as
they are drawn: drive -> motion -> render -> compose.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from personare.cache.run import run
from personare.engines.nerffacespeech import guide as guides
from personare.engines.nerffacespeech.blinks import Blinks
from personare.engines.nerffacespeech.checkpoints import Networks, block_format, mode_of
from personare.engines.nerffacespeech.compose import OriginalFraming, SquareFraming
from personare.engines.nerffacespeech.drive import Expressions, MelWindows, silent_window
from personare.engines.nerffacespeech.front import own_generator
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
from personare.engines.portrait import ground
from personare.engines.resampling import MotionResampler
from personare.engines.utterance import Utterance
from personare.errors import EngineError
from personare.media.guide import open_guide
from personare.perception.portrait import read_portrait
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
        self._blinks = Blinks(options.blink_rate, options.seed)
        self._rows = options.batch_size or (1 if self._networks.device.type == "cpu" else BATCH)
        self._batch = BatchSize(self._rows, self._networks.device)
        self._batch.pad = False  # the last masks are remembered, so no frame may be drawn twice
        self._mel: MelWindows | None = None
        self._expressions: Expressions | None = None
        self._silence: Expressions | None = None  # of the rest under way
        self._reference: Floats | None = None  # where the last utterance left the face
        self._resampler: MotionResampler | None = None
        self._waiting: list[Floats] = []
        self._drawn = 0
        self._lids = 0

    # ------------------------------------------------------------- the run

    def _hear(self, said: Utterance, samples: Samples, phones: Sequence[Phone] | None) -> Iterator[Made]:  # noqa: ARG002
        if self._mel is None:
            self._start()
        assert self._mel is not None
        with self.watch("drive"):
            windows = self._mel.push(samples)
        for window in windows:
            with self.watch("motion"):
                settled = self._settled(window)
            yield from self._in_groups(settled)

    def _end(self, said: Utterance) -> Iterator[Made]:
        if self._guide is not None and not said.samples:
            yield from self._followed(said)
            return
        if self._mel is None or not said.samples:
            self._drop(said)
            return
        with self.watch("drive"):
            windows = self._mel.finish()
        for window in windows:
            with self.watch("motion"):
                settled = self._settled(window)
            yield from self._in_groups(settled)
        assert self._resampler is not None
        with self.watch("motion"):
            rest = self._resampler.finish(self._count(said))
        yield from self._in_groups(rest)
        if self._waiting:
            yield self._made(self._waiting)
        self._drop(said)

    def _rest(self, n: int) -> Made:
        """The face while the network hears silence, which may blink. One rest goes on from call
        to call, and begins where the utterance before it ended.
        """
        if self._silence is None:
            self._renderer.forget()
            self._silence = Expressions(self._hearing.network, self._anchor, self._lid, self._reference)
        made: list[Floats] = []
        for _ in range(n):
            with self.watch("motion"):
                made += [shown for shown, _ in self._silence.each(silent_window()[None])]
        return Made(np.concatenate([self._made([row], first=0).images for row in made]))

    def _drop(self, said: Utterance) -> None:  # noqa: ARG002
        if self._expressions is not None:
            self._reference = self._expressions.reference
        self._mel = self._expressions = self._resampler = None
        self._waiting, self._drawn = [], 0

    def _close(self) -> None:
        for name in ("_leases", "_hearing", "_renderer"):
            held = self.__dict__.pop(name, None)
            for lease in held if isinstance(held, tuple) else (held,):
                if hasattr(lease, "close"):
                    lease.close()

    # ------------------------------------------------------------- speech

    def _start(self) -> None:
        assert self._renderer is not None  # loads the networks
        self._renderer.forget()
        self._silence = None
        self._mel = MelWindows()
        self._expressions = Expressions(self._hearing.network, self._anchor, self._lid)
        self._resampler = MotionResampler(self.fps)
        self._waiting, self._drawn = [], 0

    def _lid(self, frame: int) -> float:  # noqa: ARG002
        """Blinks go on through utterances and rests."""
        self._lids += 1
        return self._blinks(self._lids - 1)

    def _settled(self, window: Floats) -> Floats:
        """The expressions of the clip's frames [n, 64] that one more window settles."""
        assert self._expressions is not None
        assert self._resampler is not None
        ((shown, _),) = self._expressions.each(window[None])
        return self._resampler.push(shown[None])

    def _in_groups(self, expressions: Floats) -> Iterator[Made]:
        """As many frames at a time as are drawn together, counted from the utterance's first,
        so that the cut of the speech does not change what is drawn with what.
        """
        for expression in expressions:
            self._waiting.append(expression)
            if len(self._waiting) == self._rows:
                yield self._made(self._waiting)

    def _made(self, expressions: list[Floats], first: int | None = None) -> Made:
        """Draw frames; without `first` those that are next in the utterance."""
        rows = np.stack(expressions)
        if first is None:
            first, self._waiting = self._drawn, []
            self._drawn += len(rows)
        cameras = self._cameras(first, len(rows))
        with self.watch("render"):
            images = self._pictures(rows, cameras)
        with self.watch("compose"):
            return Made(self._framing.compose(images))

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
        self._silence = self._reference = None
        said.expected = motion.frames
        self._renderer.forget()
        first = 0
        for expressions in motion.expressions(self._rows):
            yield self._made(list(expressions), first)
            first += len(expressions)

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

    # ------------------------------------------------------------- the person

    def _framed(self) -> SquareFraming | OriginalFraming:
        features, options = self._avatar.features, self._options
        side = features[FRONT].arrays["picture"].shape[0]
        if options.framing == "square":
            return SquareFraming(side, text=options.published_text)
        if self._avatar.portrait_file is None:
            raise EngineError("framing=original needs the avatar's photo", hint="prepare the avatar again")
        photo = read_portrait(self._avatar.portrait_file, ground(options.background))
        corners = np.array(features[ALIGNED].arrays["corners"])
        return OriginalFraming(photo, corners, text=options.published_text)

    def _own_expression(self) -> Floats:
        features = self._avatar.features
        whose = FIT if self._mode == "deform" else POSE
        return np.array(features[whose].arrays["coefficients"][EXPRESSION], np.float32)

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
