"""The conductor: portrait -> prepare -> | perform -> | clip. The whole flow of personare can be
read here.

import personare
engine = personare.open_engine("puppet")
avatar = engine.prepare("me.jpg")                    # cached
clip = engine.speak(avatar, "hello.wav")             # lazy: an iterator of Frames
clip.save("out.mp4")
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from personare.cache.clips import ClipCache
from personare.cache.run import Preparation, prepare
from personare.cache.store import FeatureStore
from personare.engines.engine import Engine, EngineOptions, Performance, load_engine
from personare.errors import EngineError, InvalidOption, UnknownName, UnreadableMedia
from personare.ground.stopwatch import Stopwatch
from personare.media.audio import open_speech
from personare.media.motions import checked_motion_target
from personare.media.writer import checked_target
from personare.motion import Motion
from personare.shelf.avatars import AvatarShelf
from personare.shelf.home import home
from personare.shelf.manifest import AvatarManifest
from personare.studio.clip import Clip, sound_for
from personare.studio.finished import Finished, clip_key
from personare.studio.leads import Given
from personare.studio.report import Report
from personare.types import SAMPLE_RATE, Avatar, Progress, Speech, no_progress
from personare.weights.finder import Weights

CacheMode = Literal["use", "refresh", "off"]
DEFAULT_ENGINE = "puppet"


@dataclass(frozen=True, slots=True)
class Cast:
    """Who speaks: an engine, the options in force, the portrait file, and the avatar's name (""
    for a plain file).
    """

    engine: Engine
    options: EngineOptions
    portrait: Path
    name: str = ""


@dataclass(frozen=True)
class Studio:
    """Where avatars and features live, and what happens to them.

    cache_dir: folder of features (default: under PERSONARE_HOME or the user's cache folder).
    cache: "use", "refresh" (recompute and overwrite) or "off" (neither read nor write).
    weights: folder of checkpoints, searched first (`--weights`).
    keep_clips: whether `speak` keeps finished clips and serves them again.
    cache_remote: URL of a tier that several machines share.
    """

    cache_dir: Path | None = None
    cache: CacheMode = "use"
    weights: Path | None = None
    keep_clips: bool = True
    cache_remote: str | None = None
    store: FeatureStore = field(init=False, repr=False)
    shelf: AvatarShelf = field(init=False, repr=False)
    clips: ClipCache = field(init=False, repr=False)

    def __post_init__(self) -> None:
        here = home(self.cache_dir)
        store = here.store(mode=self.cache, remote=self.cache_remote)
        object.__setattr__(self, "store", store)
        object.__setattr__(self, "shelf", here.shelf(store))
        object.__setattr__(self, "clips", ClipCache(here.clips))

    def cast(
        self, portrait: str | Path | None, engine: str | None = None, options: Mapping[str, Any] | None = None
    ) -> Cast:
        """Who speaks, from a portrait file or an avatar's name. An avatar's own options hold
        unless `options` overrides them.

        portrait: None where the engine brings its own with these options. Raises UnknownName,
        InvalidOption, UnreadableMedia.
        """
        wanted = dict(options or {})
        if portrait is None:
            return self._carried(engine or DEFAULT_ENGINE, wanted)
        path = Path(portrait)
        manifest = None if isinstance(portrait, Path) or _is_file(path) else self._avatar(portrait)
        if manifest is None:
            made = self.open(engine or DEFAULT_ENGINE)
            options_in_force = made.read_options(wanted)
            if made.brings_portrait(options_in_force) is not None:
                raise InvalidOption(
                    f"these options need no portrait, but {path} is given",
                    hint="leave the portrait or the options out",
                )
            return Cast(made, options_in_force, path)
        if engine not in (None, manifest.engine):
            raise EngineError(
                f"avatar {manifest.name!r} was made for engine {manifest.engine}, not {engine}",
                hint=f"personare avatar create NAME PORTRAIT --engine {engine}",
            )
        return self.cast_of(manifest, wanted)

    def cast_of(self, manifest: AvatarManifest, changes: Mapping[str, Any] | None = None) -> Cast:
        """The cast of a kept avatar. Raises InvalidOption, CacheError if its portrait is lost."""
        made = self.open(manifest.engine)
        options = made.read_options({**manifest.options, **(changes or {})})
        return Cast(made, options, self.shelf.portrait(manifest), manifest.name)

    def _carried(self, engine: str, options: Mapping[str, Any]) -> Cast:
        made = self.open(engine)
        options_in_force = made.read_options(options)
        portrait = made.brings_portrait(options_in_force)
        if portrait is None:
            raise UnreadableMedia(
                "no portrait is given", hint="give a photo, a video or an avatar's name, or --set look=mesh"
            )
        return Cast(made, options_in_force, portrait)

    def open(self, engine: str) -> Engine:
        """An engine by name, which finds its checkpoints where this studio does. Raises
        UnknownName.
        """
        return load_engine(engine, Weights(self.weights))

    def _avatar(self, name: str) -> AvatarManifest:
        try:
            return self.shelf.load_manifest(name)
        except (UnknownName, InvalidOption) as error:
            raise UnknownName(f"{name}: no such file, and no avatar of that name", hint=error.hint) from None

    def prepare(self, cast: Cast, progress: Progress = no_progress) -> tuple[Avatar, Preparation]:
        """The avatar of a cast; every stage that is cached already is only read."""
        preparation = prepare(cast.engine.recipe(cast.options), cast.portrait, self.store, progress)
        avatar = Avatar(
            engine=cast.engine.name,
            options=cast.options.model_dump(mode="json"),
            portrait=preparation.portrait,
            keys=preparation.keys,
            features=preparation.features,
            name=cast.name,
            portrait_file=cast.portrait,
        )
        return avatar, preparation

    def create(
        self, name: str, cast: Cast, *, replace: bool = False, progress: Progress = no_progress
    ) -> Preparation:
        """Prepare a cast, keep it under a name, and pin its features."""
        avatar, preparation = self.prepare(cast, progress)
        self.shelf.save(name, avatar, cast.portrait, replace=replace)
        return preparation

    def warm(self, name: str, progress: Progress = no_progress) -> Preparation:
        """Compute what an avatar has missing, and pin what this version of its engine needs.
        Raises UnknownName.
        """
        manifest = self.shelf.load_manifest(name)
        cast = self.cast_of(manifest)
        avatar, preparation = self.prepare(cast, progress)
        if dict(avatar.keys) != manifest.keys:
            self.shelf.save(manifest.name, avatar, cast.portrait, replace=True)
        return preparation

    def speak(
        self,
        cast: Cast,
        speech: Speech,
        output: Path,
        progress: Progress = no_progress,
        *,
        motion: Path | None = None,
    ) -> Report:
        """The whole way from a portrait and a voice to a finished clip; one that was made
        before is copied.

        motion: a file for the motion of every frame; the clip is then made anew.
        Raises PersonareError; then there is no file.
        """
        watch = Stopwatch()
        checked_target(output)
        if motion is not None:
            checked_motion_target(motion, cast.engine.moves)
        avatar, preparation = self.prepare(cast, progress)
        finished = self._finished(cast, avatar, output) if motion is None else Finished(None, self.cache)
        if (found := finished.find(speech, output, watch, progress)) is not None:
            seconds = {**preparation.seconds, **watch.seconds, "total": watch.total()}
            return Report.of(
                cast.engine.name,
                cast.name,
                output,
                found,
                seconds=seconds,
                stages=preparation.outcome,
                clip=finished.outcome,
                working_seconds=watch.seconds["hear"] + watch.seconds["copy"],
            )
        clip = Clip(cast.engine, cast.options, avatar, speech, self.store)
        return clip.save(
            output, progress, preparation=preparation, watch=watch, finished=finished, motion=motion
        )

    def follow(
        self,
        cast: Cast,
        motion: Motion,
        output: Path,
        progress: Progress = no_progress,
        *,
        sound: Speech | None = None,
    ) -> Report:
        """A clip of a portrait that does what the curves say, as long as they are. Raises
        PersonareError; then there is no file.

        sound: what is heard with it; it moves nothing. Without it the clip is silent.
        """
        watch = Stopwatch()
        checked_target(output)
        avatar, preparation = self.prepare(cast, progress)
        samples = int(len(motion) * SAMPLE_RATE / motion.fps)
        heard = sound_for(samples, "the motion", sound)
        clip = Clip(cast.engine, cast.options, avatar, heard, self.store, Given(motion))
        return clip.save(output, progress, preparation=preparation, watch=watch)

    def _finished(self, cast: Cast, avatar: Avatar, output: Path) -> Finished:
        if self.cache == "off" or not self.keep_clips:
            return Finished(None, self.cache)
        return Finished(
            self.clips, self.cache, clip_key(cast.engine, cast.options, avatar.portrait, output.suffix)
        )


@dataclass(frozen=True)
class OpenEngine:
    """An engine at hand, with a studio to keep what it prepares: the Python API."""

    engine: Engine
    studio: Studio

    def prepare(self, portrait: str | Path, **options: Any) -> Avatar:
        """The portrait (a file, or the name of a kept avatar) ready to speak; cached."""
        return self.studio.prepare(self.studio.cast(portrait, self.engine.name, options))[0]

    def speak(self, avatar: Avatar, speech: str | Path | Speech, **options: Any) -> Clip:
        """A clip, not yet made: iterate it for Frames or `.save` it. `options` may change what
        does not enter preparation.
        """
        heard = speech if isinstance(speech, Speech) else open_speech(Path(speech))
        return Clip(self.engine, self._options(avatar, options), avatar, heard, self.studio.store)

    def perform(self, avatar: Avatar, **options: Any) -> Performance:
        """A live run: feed it speech as it comes."""
        return self.engine.perform(avatar, self._options(avatar, options))

    def _options(self, avatar: Avatar, changes: Mapping[str, Any]) -> EngineOptions:
        options = self.engine.read_options({**avatar.options, **changes})
        if dict(self.engine.recipe(options).portrait_keys(avatar.portrait)) != dict(avatar.keys):
            raise EngineError(
                f"{', '.join(changes)}: enters preparation", hint="give it to prepare() instead"
            )
        return options


def open_engine(
    name: str = DEFAULT_ENGINE,
    *,
    cache_dir: str | Path | None = None,
    cache: CacheMode = "use",
    weights: str | Path | None = None,
) -> OpenEngine:
    """An engine by name; see Studio for the rest. Raises UnknownName."""
    studio = Studio(_path(cache_dir), cache, _path(weights))
    return OpenEngine(studio.open(name), studio)


def _path(given: str | Path | None) -> Path | None:
    return None if given is None else Path(given)


def _is_file(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name too long for the file system is no file
        return False
