"""The Python API.

import personare
engine = personare.open_engine("puppet")
avatar = engine.prepare("me.jpg")                    # cached
clip = engine.speak(avatar, "hello.wav")             # lazy: an iterator of Frames
clip.save("out.mp4")
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from personare.engines import DEFAULT_ENGINE
from personare.engines.engine import Engine, EngineOptions, Performance
from personare.errors import EngineError, InvalidOption
from personare.media.guide import open_guide
from personare.studio.clip import Clip, sound_of
from personare.studio.in_memory import Picture, Sound, open_voice_of, portrait_file
from personare.studio.leads import Followed
from personare.studio.settings import CacheMode, Settings
from personare.studio.studio import Studio
from personare.types import Avatar, Guide, Speech


@dataclass(frozen=True)
class OpenEngine:
    """An engine at hand, with a studio to keep what it prepares: the Python API."""

    engine: Engine
    studio: Studio

    def prepare(self, portrait: str | Path | Picture | None = None, **options: Any) -> Avatar:
        """The portrait, ready to speak; cached by its content.

        portrait: a photo or a template video as a path, as bytes or as an open binary file; a
            photo as a PIL picture or as an array, uint8 [H, W, 3] RGB or [H, W, 4] with alpha;
            the name of a kept avatar; None where the engine brings its own.

        Raises UnreadableMedia for arrays of another shape or type, and whatever preparing
        raises.
        """
        given = None if portrait is None else portrait_file(portrait)
        return self.studio.prepare(self.studio.cast(given, self.engine.name, options))[0]

    def speak(self, avatar: Avatar, speech: str | Path | Speech | Sound, **options: Any) -> Clip:
        """A clip, not yet made: iterate it for Frames or `.save` it.

        speech: a sound as a path, as bytes or as an open binary file; `open_text` and
            `Speech.from_samples` make a Speech of texts and arrays.
        options: changes of what does not enter preparation.
        """
        heard = open_voice_of(speech)
        return Clip(self.engine, self._options(avatar, options), avatar, heard, self.studio.store)

    def follow(self, avatar: Avatar, guide: str | Path | Guide, **options: Any) -> Clip:
        """A clip in which the avatar does what a guide shows, with the guide's sound; not yet
        made.

        guide: a video, or a folder of pictures, as a path; `open_guide` opens one at a rate.

        Raises InvalidOption if the engine follows no guides, UnreadableMedia for what is none.
        """
        chosen = self._options(avatar, options)
        if "guide" not in self.engine.drives(chosen):
            raise InvalidOption(
                f"{self.engine.name} cannot follow a guide", hint="personare engines says which can"
            )
        opened = guide if isinstance(guide, Guide) else open_guide(guide)
        return Clip(self.engine, chosen, avatar, sound_of(opened), self.studio.store, Followed(opened))

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
    """An engine by name; see Settings for the rest. Raises UnknownName."""
    settings = Settings.model_validate({"cache_dir": cache_dir, "cache": cache, "weights": weights})
    studio = Studio(settings)
    return OpenEngine(studio.open(name), studio)
