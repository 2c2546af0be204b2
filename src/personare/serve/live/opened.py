"""A session as it is asked for -> avatar, performance, and what a picture costs."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args, get_origin

import numpy as np

from personare.engines.engine import Engine, EngineOptions
from personare.engines.performance import Performance, Stream
from personare.errors import InvalidOption, PersonareError
from personare.media.guide import open_guide
from personare.serve.live.encoders import open_encoder
from personare.serve.live.session import Tick
from personare.serve.live.wire import Media, State
from personare.studio.installed import installed_engines
from personare.studio.studio import Cast, Studio
from personare.types import SAMPLE_RATE, Frames, Guide, Samples
from personare.voice.syllables import syllables

RESTED_FRAMES = 10
SPOKEN_SECONDS = 0.32
WARMING_SECONDS = 0.2
ROUNDS = 3
LONGEST_LATENCY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """A session as it is asked for.

    avatar: a kept avatar's name; "" for the bundled portrait.
    engine: "" for the avatar's own, or the default.
    guide: a file that a shelf has resolved, never a caller's string.
    generation, index: where a session that was lost goes on.
    media: what its watcher will get, as far as it is known; it is measured with that.
    measure: whether the cost of a picture is not known yet.
    badge: whether pictures carry the sign that a machine made them.
    portrait: a file of whoever runs this program, in place of an avatar; never a caller's.
    """

    avatar: str = ""
    engine: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    guide: Path | None = None
    generation: int = 0
    index: int = 0
    media: Media = "mjpeg"
    measure: bool = True
    badge: bool = True
    portrait: Path | None = None


@dataclass(frozen=True, slots=True)
class Opened:
    """A session's performance.

    consent: digest of what the person in the avatar agreed to, "" if nothing is kept of it.
    prime_seconds: of voice before it begins to speak.
    cost: cores that it takes in real time, while it speaks; None if it was not measured.
    """

    performance: Performance
    engine: Engine
    guide: Guide | None
    prime_seconds: float
    cost: float | None
    consent: str = ""


def check_live(engine: Engine, options: EngineOptions) -> None:
    """Raises InvalidOption if an engine cannot be live with these options, with what can."""
    reason = _why_not(engine, options)
    if not reason:
        return
    if alternative := _options_that_can(engine, options):
        raise InvalidOption(f"{engine.name} cannot be live: {reason}", hint=f"with {alternative} it can")
    can = ", ".join(other.name for other in installed_engines() if not _why_not(other, other.Options()))
    raise InvalidOption(f"{engine.name} cannot be live: {reason}", hint=f"engines that can: {can}")


def open_wanted(wanted: Wanted, studio: Studio) -> Opened:
    """Prepare (what is cached is read) and perform. Raises PersonareError."""
    cast = _cast(wanted, studio)
    check_live(cast.engine, cast.options)
    guide = None if wanted.guide is None else open_guide(wanted.guide)
    if guide is not None and "guide" not in cast.engine.drives(cast.options):
        raise InvalidOption(f"{cast.engine.name} cannot follow a guide", hint="leave the guide out")
    avatar, _ = studio.prepare(cast)

    def perform() -> Performance:
        return cast.engine.perform(avatar, cast.options, guide=guide, store=studio.store)

    if guide is not None:
        _watched(perform)
    has_networks = "device" in cast.engine.Options.model_fields
    silence = np.zeros(round(WARMING_SECONDS * SAMPLE_RATE), np.float32)
    rounds = [silence]
    if wanted.measure:  # networks draw as much of silence, and take long
        rounds += [silence] if has_networks else [syllables(SPOKEN_SECONDS)] * ROUNDS
    spoken = _spoken(perform(), wanted.media, rounds)
    performance = perform()
    try:
        cost = max(spoken, _rested(performance, wanted.media)) if wanted.measure else None
    except PersonareError:
        performance.close()
        raise
    ticks = math.ceil(cast.engine.latency(cast.options).floor_seconds * performance.fps)
    prime = float(ticks / performance.fps)
    return Opened(performance, cast.engine, guide, prime, cost, avatar.consent)


def _cast(wanted: Wanted, studio: Studio) -> Cast:
    if wanted.avatar:
        manifest = studio.shelf.load_manifest(wanted.avatar)
        if wanted.engine and wanted.engine != manifest.engine:
            raise InvalidOption(
                f"avatar {wanted.avatar} was made for engine {manifest.engine}, not {wanted.engine}",
                hint="make an avatar for that engine",
            )
        return studio.cast_of(manifest, wanted.options)
    engine = wanted.engine or None
    if wanted.portrait is not None:
        return studio.cast(wanted.portrait, engine, wanted.options)
    if studio.brings_portrait(engine, wanted.options):
        return studio.cast(None, engine, wanted.options)
    return studio.cast(Path(str(files("personare") / "assets" / "portrait.jpg")), engine, wanted.options)


def _watched(perform: Callable[[], Performance]) -> None:
    """See the whole guide now: what is seen is kept, and the first picture will not wait."""
    first = perform()
    try:
        next(first.finish(), None)
    finally:
        first.close()


def _spoken(performance: Performance, media: Media, rounds: Sequence[Samples]) -> float:
    """Say something into an engine, tick by tick, round by round. The first time brings in what
    is loaded or made once, so that it is there before the first word; of the others the one
    counts that was disturbed least. Cores: processor seconds of pictures and their encoding, by
    the seconds that they last.
    """
    fps = performance.fps
    encoder = open_encoder(media, performance.size, fps)
    tick = round(SAMPLE_RATE / fps)
    sound = np.zeros(tick, np.int16)
    index, costs = 0, []

    def heard(voice: Samples) -> Iterator[Stream[Frames]]:
        for start in range(0, len(voice), tick):
            yield performance.feed(voice[start : start + tick])
        yield performance.finish()

    try:
        for voice in rounds:
            first, began = index, time.process_time()
            for stream in heard(voice):
                for frames in stream:
                    for image in frames.images:
                        encoder.encode(Tick(index, 0, State.SPEAKING, image, sound))
                        index += 1
            costs.append((time.process_time() - began) / max(index - first, 1) * float(fps))
    finally:
        encoder.close()
        performance.close()
    return min(costs[1:] or costs)


def _rested(performance: Performance, media: Media) -> float:
    """The same of pictures at rest."""
    encoder = open_encoder(media, performance.size, performance.fps)
    sound = np.zeros(round(SAMPLE_RATE / performance.fps), np.int16)
    performance.idle(2)  # what is made once
    began = time.process_time()
    try:
        for index in range(RESTED_FRAMES):
            frames = performance.idle(1)
            encoder.encode(Tick(index, 0, State.IDLE, frames.images[0], sound))
    finally:
        encoder.close()
    return (time.process_time() - began) / RESTED_FRAMES * float(performance.fps)


def _why_not(engine: Engine, options: EngineOptions) -> str:
    if not engine.idles:
        return "it has no motion while nobody speaks"
    latency = engine.latency(options)
    if latency.lookahead_seconds == float("inf"):
        return "it hears the whole speech before its first picture"
    if latency.floor_seconds > LONGEST_LATENCY_SECONDS:
        return f"its pictures come {latency.floor_seconds:.1f} s after the voice"
    return ""


def _options_that_can(engine: Engine, options: EngineOptions) -> str:
    """One option with which it could be live, as NAME=VALUE."""
    for name, info in engine.Options.model_fields.items():
        if get_origin(info.annotation) is None or not all(
            isinstance(v, str) for v in get_args(info.annotation)
        ):
            continue
        for value in get_args(info.annotation):
            try:
                changed = engine.Options(**{**options.model_dump(), name: value})
            except (PersonareError, ValueError):
                continue
            if not _why_not(engine, changed):
                return f"{name}={value}"
    return ""
