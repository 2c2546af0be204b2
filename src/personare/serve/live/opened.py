"""A session as it is asked for -> avatar, performance, and what a picture costs."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args, get_origin

import numpy as np

from personare.engines.engine import Engine, EngineOptions
from personare.engines.performance import Performance, Stream
from personare.errors import InvalidOption, PersonareError
from personare.media.guide import open_guide
from personare.serve.live.encoders import JpegEncoder
from personare.serve.live.session import Tick
from personare.serve.live.wire import State
from personare.studio.installed import installed_engines
from personare.studio.studio import Cast, Studio
from personare.types import SAMPLE_RATE, Frames, Guide, Samples
from personare.voice.syllables import syllables

RESTED_FRAMES = 25
SPOKEN_SECONDS = 0.6
WARMING_SECONDS = 0.2
LONGEST_LATENCY_SECONDS = 5.0
_NOTHING = np.zeros(0, np.int16)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A session as it is asked for.

    avatar: a kept avatar's name; "" for the bundled portrait.
    engine: "" for the avatar's own, or the default.
    guide: a file that a shelf has resolved, never a caller's string.
    generation, index: where a session that was lost goes on.
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
    measures = wanted.measure
    has_networks = "device" in cast.engine.Options.model_fields
    for _ in range(2 if has_networks and measures else 1):  # the second time nothing is loaded
        spoken = _spoken(perform, np.zeros(round(WARMING_SECONDS * SAMPLE_RATE), np.float32))
    if measures and not has_networks:  # networks draw as much of silence
        voice = syllables(SPOKEN_SECONDS)
        spoken = min(_spoken(perform, voice) for _ in range(3))  # the one that was disturbed least
    performance = perform()
    try:
        cost = max(spoken, _rested(performance)) if measures else None
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


def _spoken(perform: Callable[[], Performance], voice: Samples) -> float:
    """Say something into an engine, tick by tick, so that what is loaded or made once is there
    before the first word. Cores: processor seconds of pictures and their encoding, by the
    seconds that they last.
    """
    moment, encoder, pictures = perform(), JpegEncoder(), 0
    tick = round(SAMPLE_RATE / moment.fps)

    def heard() -> Iterator[Stream[Frames]]:
        for start in range(0, len(voice), tick):
            yield moment.feed(voice[start : start + tick])
        yield moment.finish()

    began = time.process_time()
    try:
        for stream in heard():
            for frames in stream:
                for image in frames.images:
                    encoder.encode(Tick(pictures, 0, State.SPEAKING, image, _NOTHING))
                    pictures += 1
    finally:
        moment.close()
    return (time.process_time() - began) / max(pictures, 1) * float(moment.fps)


def _rested(performance: Performance) -> float:
    """The same of pictures at rest."""
    encoder = JpegEncoder()
    performance.idle(2)  # what is made once
    began = time.process_time()
    for index in range(RESTED_FRAMES):
        frames = performance.idle(1)
        encoder.encode(Tick(index, 0, State.IDLE, frames.images[0], _NOTHING))
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
