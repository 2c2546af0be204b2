"""Clips that were made before: found again before anything is performed, kept when they are
complete.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from personare.cache.clips import ClipCache, ClipFacts, SpeechDigest, cast_key
from personare.cache.store import Mode
from personare.engines.engine import Engine, EngineOptions
from personare.ground.machine import numerics, source_digest
from personare.ground.stopwatch import Stopwatch
from personare.media.writer import ClipWriter
from personare.types import SAMPLE_RATE, Progress, Speech, SpeechChunk

log = logging.getLogger(__name__)

ClipOutcome = Literal["hit", "miss", "off"]


def clip_key(engine: Engine, options: EngineOptions, portrait: str, suffix: str, drawn: str = "") -> str:
    """The key of everything that enters a clip but its speech.

    portrait: the digest of its file.
    suffix: of the output.
    drawn: the marks that are seen or heard (`Asked.drawn`); the others are put on later.

    Raises WeightsError if a checkpoint that would be used is missing.
    """
    return cast_key(
        engine=engine.name,
        version=engine.version,
        options=options.model_dump(mode="json"),
        portrait=portrait,
        keys=engine.recipe(options).portrait_keys(portrait),
        weights=engine.performance_weights(options),
        container=f"{suffix.lower()} {ClipWriter.settings()}{f' marks {drawn}' if drawn else ''}",
        numerics=numerics() | options.numerics(),
        source=sorted(
            {source_digest(name) for name in ("personare", type(engine).__module__.partition(".")[0])}
        ),
    )


@dataclass
class Finished:
    """The finished clips of one cast, while one more of it is wanted.

    A clip goes under the speech that its performance really heard, so a file that changes
    meanwhile, or a voice that never says the same twice, cannot put a clip under another one's
    key.
    """

    cache: ClipCache | None
    mode: Mode
    key: str = ""
    outcome: ClipOutcome = "off"
    _heard: SpeechDigest | None = field(default=None, init=False)

    def find(
        self,
        speech: Speech,
        target: Path,
        watch: Stopwatch,
        progress: Progress,
        when_complete: Callable[[Path, ClipFacts], None] | None = None,
    ) -> ClipFacts | None:
        """Write the clip of this speech to `target` if it was made before. Hears the speech
        once, if there is anything to find.

        when_complete: called with the complete file just before it gets its name.

        Raises what hearing the speech and `when_complete` raise.
        """
        if self.cache is None:
            return None
        self.outcome = "miss"
        if self.mode != "use" or not self.cache.has_any(self.key):
            return None
        digest, samples = SpeechDigest(speech), 0
        with watch("hear"):
            expected = None if speech.seconds is None else round(speech.seconds * SAMPLE_RATE)
            for chunk in speech.chunks():
                digest.add(chunk)
                samples += len(chunk.samples)
                progress("listening", samples, expected)
        try:
            with watch("copy"):
                facts = self.cache.take(self.key, digest.hexdigest(), target, when_complete)
        except OSError as error:
            log.info(
                "the finished clip cannot be copied: %s", error
            )  # if the target is at fault, making it anew will say so
            return None
        if facts is not None:
            self.outcome = "hit"
        return facts

    def listening(self, speech: Speech) -> Speech:
        """The same speech; what is heard of it will name the clip."""
        if self.cache is None:
            return speech

        def chunks() -> Iterator[SpeechChunk]:
            self._heard = heard = SpeechDigest(speech)
            for chunk in speech.chunks():
                heard.add(chunk)
                yield chunk

        return replace(speech, chunks=chunks)

    def keep(self, clip: Path, facts: ClipFacts) -> None:
        """Keep the complete clip of what was heard."""
        if self.cache is not None and self._heard is not None:
            self.cache.keep(self.key, self._heard.hexdigest(), clip, facts)
