"""What should be told about a clip that was made: lines of `Report.warnings`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from personare.engines.engine import EngineOptions
from personare.media.levels import SILENT_DBFS, LevelMeter
from personare.media.mix import QUIET_DBFS
from personare.motion import ARKIT, Space
from personare.studio.leads import Lead, Other, Voice
from personare.types import LARGEST, Avatar, Feature, Frames, Speech, SpeechChunk

OPENED = 0.05
"""A jaw that never opens further stays shut, for all that is seen."""
_JAW = ARKIT.columns.index("jawOpen")


class Remarks:
    """Listens and looks while a clip is made.

    Only where a voice leads the clip is anything expected of voice and mouth. space: of the
    motion that comes with its frames, if any does.
    """

    def __init__(self, lead: Lead, speech: Speech, space: Space | None) -> None:
        self._has_jaw = space == ARKIT
        self._spoken = isinstance(lead, Voice) or (isinstance(lead, Other) and lead.guide is None)
        self._meter = LevelMeter(speech.voice_rate)
        self._opened: float | None = None

    def hear(self, chunk: SpeechChunk) -> None:
        self._meter.push(chunk.voice)

    def see(self, made: Frames) -> None:
        if self._has_jaw and made.motion is not None and len(made):
            self._opened = max(self._opened or 0.0, float(made.motion[:, _JAW].max()))

    def lines(self, avatar: Avatar, options: EngineOptions) -> tuple[str, ...]:
        """Plain sentences, none if all is well."""
        return (*self._of_the_voice(), *of_the_portrait(avatar.features, options))

    def _of_the_voice(self) -> list[str]:
        loudest = self._meter.loudest_dbfs
        if not self._spoken:
            return []
        if loudest < SILENT_DBFS and (self._opened or 0.0) < OPENED:
            return [
                "the sound is silent throughout, so the mouth never opened: check the recording, or choose "
                "another of its tracks with --track N"
            ]
        lines = []
        if loudest < QUIET_DBFS:
            lines.append(
                f"the voice is too quiet: {loudest:.0f} dBFS on average where it is loudest; "
                "raise it in the recording"
            )
        if self._opened is not None and self._opened < OPENED:
            lines.append("the mouth never opened: no speech was heard in the sound")
        return lines


def of_the_portrait(features: Mapping[str, Feature], options: EngineOptions) -> list[str]:
    """What was seen when the portrait was prepared."""
    facts = [feature.metadata for feature in features.values()]
    faces = max((int(fact.get("faces", 1)) for fact in facts), default=1)
    lines = []
    if faces > 1 and _asked(options) == LARGEST:
        lines.append(
            f"{faces} faces were to choose from, and the largest speaks: option face=left, face=right or "
            f"face=N (counted from the left) chooses another"
        )
    if any(fact.get("doubtful") for fact in facts):
        lines.append("the portrait may not be a person: an animal or a doll gets a person's lips and teeth")
    return [*lines, *dict.fromkeys(str(fact["remark"]) for fact in facts if fact.get("remark"))]


def _asked(options: EngineOptions) -> Any:
    return getattr(options, "face", LARGEST)
