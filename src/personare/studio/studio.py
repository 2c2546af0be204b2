"""The conductor: portrait -> prepare -> | perform -> | clip. The whole flow of personare can be
read here.

An Order says what is wanted, `Studio.make` makes it:

studio = Studio(Settings(cache_dir="features"))
studio.make(Order(portrait="me.jpg", speech="hello.wav", output="out.mp4"))
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from personare.cache.clips import ClipCache, ClipFacts
from personare.cache.recipe import Show, show_nothing
from personare.cache.run import Preparation, prepare
from personare.cache.store import FeatureStore
from personare.engines import DEFAULT_ENGINE
from personare.engines.engine import Engine, EngineOptions, load_engine
from personare.errors import EngineError, InvalidOption, UnknownName, UnreadableMedia
from personare.ground.stopwatch import Stopwatch
from personare.media.audio import open_speech
from personare.media.guide import open_guide
from personare.media.writer import checked_target
from personare.motion import Motion
from personare.shelf.avatars import AvatarShelf
from personare.shelf.home import home
from personare.shelf.manifest import AvatarManifest, Consent, check_consent
from personare.studio.clip import Clip, sound_for, sound_of
from personare.studio.effects import without_portrait
from personare.studio.finished import Finished, clip_key
from personare.studio.first_look import check_order
from personare.studio.installed import check_can
from personare.studio.leads import Followed, GivenMotion, Lead, Other, Voice
from personare.studio.marking import Asked, Marking
from personare.studio.motions import checked_motion_target, read_motion
from personare.studio.order import Order, who
from personare.studio.report import Report
from personare.studio.settings import Settings, check_stages
from personare.studio.voices import open_voice
from personare.types import SAMPLE_RATE, Avatar, Guide, Progress, Speech, frame_rate, no_progress
from personare.weights.finder import Weights


@dataclass(frozen=True, slots=True)
class Cast:
    """Who speaks: an engine, the options in force, the portrait file; the avatar's name and the
    digest of what its person consented to ("" for a plain file).
    """

    engine: Engine
    options: EngineOptions
    portrait: Path
    name: str = ""
    consent: str = ""


@dataclass(frozen=True)
class Studio:
    """Where avatars and features live, and what happens to them."""

    settings: Settings = field(default_factory=Settings)
    store: FeatureStore = field(init=False, repr=False)
    shelf: AvatarShelf = field(init=False, repr=False)
    clips: ClipCache = field(init=False, repr=False)

    def __post_init__(self) -> None:
        here = home(self.settings.cache_dir)
        settings = self.settings
        store = here.store(mode=settings.cache, remote=settings.cache_remote, not_of=settings.no_cache_of)
        object.__setattr__(self, "store", store)
        object.__setattr__(self, "shelf", here.shelf(store))
        object.__setattr__(self, "clips", ClipCache(here.clips))

    def make(self, order: Order, progress: Progress = no_progress) -> Report:
        """The one way to a finished clip; one that was made before is copied. Raises
        PersonareError; then there is no file.
        """
        motion = None if order.motion is None else read_motion(order.motion, _rate(order.options.get("fps")))
        options = order.options if motion is None else {"fps": str(motion.fps), **order.options}
        cast = self._cast_of_order(order, options)
        check_order(order, cast.portrait)
        check_can(cast.engine, order, motion)
        asked = Asked(order.marks_reason or "", order.label, order.cue is not None)
        marking = Marking.open(asked, cast.engine, lambda: self._digests(order))
        if motion is not None:
            sound = None if order.sound is None else open_speech(order.sound)
            return self.follow(cast, motion, order.output, progress, sound=sound, marking=marking)
        guide = None if order.guide is None else open_guide(order.guide)
        return self.speak(
            cast,
            open_voice(order) if guide is None else sound_of(guide),
            order.output,
            progress,
            motion=order.curves_out or order.motion_out,
            lead=self._lead(order, guide),
            marking=marking,
        )

    def _digests(self, order: Order) -> dict[str, str]:
        """Of the files that an order reads beside the portrait; texts have none, for short ones
        could be guessed.
        """
        named = {"voice": order.speech, "guide": order.guide, "motion": order.motion, "sound": order.sound}
        return {what: self.store.file_digest(path) for what, path in named.items() if path and path.is_file()}

    def _lead(self, order: Order, guide: Guide | None) -> Lead:
        """What moves the portrait. Another engine has its usual options, at the frame rate that
        is asked for.
        """
        if order.moved_by is not None:
            mover = self.open(order.moved_by)
            shared = {name: order.options[name] for name in ("fps",) if name in order.options}
            return Other(mover, mover.read_options(shared), guide)
        return Voice() if guide is None else Followed(guide)

    def cast_for(self, order: Order) -> Cast:
        """Who an order is about. Raises as `cast`."""
        return self._cast_of_order(order, order.options)

    def _cast_of_order(self, order: Order, options: Mapping[str, Any]) -> Cast:
        if order.avatar is not None:
            return self._cast_of_avatar(order.avatar, order.engine, options)
        return self.cast(order.portrait, order.engine, options)

    def brings_portrait(self, engine: str | None, options: Mapping[str, Any]) -> bool:
        """Whether an engine with these options needs no portrait of the user's. Raises
        InvalidOption.
        """
        made = self.open(engine or DEFAULT_ENGINE)
        return made.brings_portrait(made.read_options(options)) is not None

    def cast(
        self, portrait: str | Path | None, engine: str | None = None, options: Mapping[str, Any] | None = None
    ) -> Cast:
        """Who speaks, from a portrait file or an avatar's name. An avatar's own options hold
        unless `options` overrides them.

        portrait: None where the engine brings its own with these options. Raises UnknownName,
        InvalidOption, UnreadableMedia, ConsentExpired.
        """
        named = who(portrait)
        if "avatar" in named:
            return self._cast_of_avatar(named["avatar"], engine, options or {})
        made = self.open(engine or DEFAULT_ENGINE)
        options_in_force = made.read_options(options or {})
        brought = made.brings_portrait(options_in_force)
        given = named.get("portrait")
        if brought is None:
            if given is None:
                alone = without_portrait(made)
                hint = "give a photo, a video or the name of an avatar"
                raise UnreadableMedia(
                    "no portrait is given", hint=f"{hint}, or --set {alone}" if alone else hint
                )
            return Cast(made, options_in_force, given)
        if given is not None:
            raise InvalidOption(
                f"these options need no portrait, but {given} is given",
                hint="leave the portrait or the options out",
            )
        return Cast(made, options_in_force, brought)

    def _cast_of_avatar(self, name: str, engine: str | None, options: Mapping[str, Any]) -> Cast:
        try:
            manifest = self.shelf.load_manifest(name)
        except (UnknownName, InvalidOption) as error:
            raise UnknownName(f"{name}: no such file, and no avatar of that name", hint=error.hint) from None
        if engine not in (None, manifest.engine):
            raise EngineError(
                f"avatar {manifest.name!r} was made for engine {manifest.engine}, not {engine}",
                hint=f"personare avatar create NAME PORTRAIT --engine {engine}",
            )
        check_consent(manifest)
        return self.cast_of(manifest, options)

    def cast_of(self, manifest: AvatarManifest, changes: Mapping[str, Any] | None = None) -> Cast:
        """The cast of a kept avatar. Raises InvalidOption, CacheError if its portrait is lost."""
        made = self.open(manifest.engine)
        options = made.read_options({**manifest.options, **(changes or {})})
        consent = "" if manifest.consent is None else manifest.consent.digest
        return Cast(made, options, self.shelf.portrait(manifest), manifest.name, consent)

    def open(self, engine: str) -> Engine:
        """An engine by name, which finds its checkpoints where this studio does. Raises
        UnknownName.
        """
        return load_engine(engine, Weights(self.settings.weights))

    def prepare(
        self, cast: Cast, progress: Progress = no_progress, show: Show = show_nothing
    ) -> tuple[Avatar, Preparation]:
        """The avatar of a cast; every stage that is cached already is only read. Raises
        InvalidOption for a stage of Settings.no_cache_of that the engine does not have.
        """
        recipe = cast.engine.recipe(cast.options)
        check_stages(self.settings.no_cache_of, recipe)
        preparation = prepare(recipe, cast.portrait, self.store, progress, show)
        avatar = Avatar(
            engine=cast.engine.name,
            options=cast.options.model_dump(mode="json"),
            portrait=preparation.portrait,
            keys=preparation.keys,
            features=preparation.features,
            name=cast.name,
            portrait_file=cast.portrait,
            consent=cast.consent,
        )
        return avatar, preparation

    def create(
        self,
        name: str,
        cast: Cast,
        *,
        replace: bool = False,
        consent: Consent | None = None,
        progress: Progress = no_progress,
        show: Show = show_nothing,
    ) -> Preparation:
        """Prepare a cast, keep it under a name, and pin its features. consent: of the person in
        the portrait. show: given pictures of what is being made.
        """
        avatar, preparation = self.prepare(cast, progress, show)
        self.shelf.save(name, avatar, cast.portrait, replace=replace, consent=consent)
        return preparation

    def warm(self, name: str, progress: Progress = no_progress) -> Preparation:
        """Compute what an avatar has missing, and pin what this version of its engine needs.
        Raises UnknownName.
        """
        manifest = self.shelf.load_manifest(name)
        cast = self.cast_of(manifest)
        avatar, preparation = self.prepare(cast, progress)
        if dict(avatar.keys) != manifest.keys:
            self.shelf.save(manifest.name, avatar, cast.portrait, replace=True, consent=manifest.consent)
        return preparation

    def speak(
        self,
        cast: Cast,
        speech: Speech,
        output: Path,
        progress: Progress = no_progress,
        *,
        motion: Path | None = None,
        lead: Lead | None = None,
        marking: Marking | None = None,
    ) -> Report:
        """The whole way from a portrait and a voice to a finished clip; one that was made
        before is copied.

        motion: a file for the motion of every frame; the clip is then made anew.
        lead: what moves the portrait if not the voice itself; the clip is then made anew.
        marking: the marks that the clip gets; by default those of this machine.

        Raises PersonareError; then there is no file.
        """
        watch = Stopwatch()
        marking = marking or Marking.open(Asked(), cast.engine)
        checked_target(output)
        if motion is not None:
            checked_motion_target(motion, cast.engine.moves)
        avatar, preparation = self.prepare(cast, progress)
        anew = motion is not None or not isinstance(lead, Voice | None)
        finished = Finished(None, self.settings.cache)
        if not anew:
            finished = self._finished(cast, avatar, output, marking.asked.drawn)
        marks: dict[str, str] = {}

        def mark(clip: Path, facts: ClipFacts) -> None:
            marks.update(marking.finish(clip, output.name, facts, avatar))

        if (found := finished.find(speech, output, watch, progress, mark)) is not None:
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
                marks=marks,
            )
        clip = Clip(cast.engine, cast.options, avatar, speech, self.store, lead or Voice())
        return clip.save(
            output,
            progress,
            preparation=preparation,
            watch=watch,
            finished=finished,
            motion=motion,
            marking=marking,
        )

    def follow(
        self,
        cast: Cast,
        motion: Motion,
        output: Path,
        progress: Progress = no_progress,
        *,
        sound: Speech | None = None,
        marking: Marking | None = None,
    ) -> Report:
        """A clip of a portrait that does what the curves say, as long as they are. Raises
        PersonareError; then there is no file.

        sound: what is heard with it; it moves nothing. Without it the clip is silent.
        """
        watch = Stopwatch()
        checked_target(output)
        avatar, preparation = self.prepare(cast, progress)
        heard = sound_for(int(len(motion) * SAMPLE_RATE / motion.fps), "the motion", sound)
        clip = Clip(cast.engine, cast.options, avatar, heard, self.store, GivenMotion(motion))
        return clip.save(output, progress, preparation=preparation, watch=watch, marking=marking)

    def _finished(self, cast: Cast, avatar: Avatar, output: Path, drawn: str) -> Finished:
        if self.settings.cache == "off" or not self.settings.keep_clips:
            return Finished(None, self.settings.cache)
        return Finished(
            self.clips,
            self.settings.cache,
            clip_key(cast.engine, cast.options, avatar.portrait, output.suffix, drawn),
        )


def _rate(fps: object) -> Fraction | None:
    """The frame rate that is asked for, as far as it is one: the engine says what is wrong."""
    try:
        return frame_rate(fps) if isinstance(fps, str | int | float) else None
    except ValueError:
        return None
