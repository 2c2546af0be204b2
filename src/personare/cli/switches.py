"""The switches that commands have in common, declared once and put beside a command's own."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

import typer

from personare.cli.session import (
    AsJson,
    CacheDir,
    CacheRemote,
    Debug,
    Device,
    EngineName,
    Fps,
    NoCache,
    NoClipCache,
    Refresh,
    Setting,
    Verbose,
    WeightsDir,
    read_settings,
)

if TYPE_CHECKING:
    from personare.studio.settings import Settings
    from personare.studio.studio import Studio

Marks = Annotated[
    str, typer.Option("--marks", metavar="on|off", help="Whether the clip says that it was made by AI.")
]
MarksReason = Annotated[
    str | None,
    typer.Option("--marks-reason", help="Why marks are off; kept in the report.", show_default=False),
]
LabelText = Annotated[
    str | None,
    typer.Option("--label", help="Shown on the clip: zh-CN, en, eu or a text.", show_default=False),
]
CueSignal = Annotated[
    str | None,
    typer.Option("--cue", metavar="morse", help="A signal at the start of the sound.", show_default=False),
]

Group = Literal["engine", "options", "weights", "caching", "cache_dir", "cache_remote", "marks"]

NoCacheOf = Annotated[
    list[str] | None,
    typer.Option(
        "--no-cache-of",
        metavar="STAGE",
        help="Neither look for features of this stage nor keep them; may be repeated.",
        show_default=False,
    ),
]
_GROUPS: dict[Group, dict[str, tuple[Any, Any]]] = {
    "engine": {"engine": (EngineName, None)},
    "options": {"settings": (Setting, None), "fps": (Fps, None), "device": (Device, None)},
    "weights": {"weights": (WeightsDir, None)},
    "caching": {
        "no_cache": (NoCache, False),
        "refresh": (Refresh, False),
        "no_clip_cache": (NoClipCache, False),
        "no_cache_of": (NoCacheOf, None),
    },
    "cache_dir": {"cache_dir": (CacheDir, None)},
    "cache_remote": {"cache_remote": (CacheRemote, None)},
    "marks": {
        "marks": (Marks, "on"),
        "marks_reason": (MarksReason, None),
        "label": (LabelText, None),
        "cue": (CueSignal, None),
    },
}
_ALWAYS: dict[str, tuple[Any, Any]] = {
    "as_json": (AsJson, False),
    "verbose": (Verbose, 0),
    "debug": (Debug, False),
}


@dataclass(frozen=True)
class Given:
    """What the common switches say; those that a command does not have are at their defaults.

    as_json: whether one JSON object is wanted on stdout.
    engine: None where none is asked for.
    options: of the engine, from --set and the switches that some options have of their own.
    settings_given: fields of Settings.
    marks: fields of Order that say how the clip is marked.
    """

    as_json: bool = False
    engine: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    settings_given: Mapping[str, Any] = field(default_factory=dict)
    marks: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Given:
        """From parameters of `_GROUPS` and `_ALWAYS` by name. Raises InvalidOption."""
        if values.get("no_cache") and values.get("refresh"):
            raise typer.BadParameter("--no-cache and --refresh exclude each other")
        settings: dict[str, Any] = {
            name: values.get(name) for name in ("cache_dir", "weights", "cache_remote")
        }
        settings["cache"] = "off" if values.get("no_cache") else "refresh" if values.get("refresh") else "use"
        settings["no_cache_of"] = tuple(values.get("no_cache_of") or ())
        settings["keep_clips"] = not values.get("no_clip_cache")
        return cls(
            as_json=bool(values.get("as_json")),
            engine=values.get("engine"),
            options=read_settings(values.get("settings"), fps=values.get("fps"), device=values.get("device")),
            settings_given=settings,
            marks={name: values[name] for name in _GROUPS["marks"] if name in values},
        )

    @property
    def weights(self) -> Path | None:
        """Folder of checkpoints, searched first."""
        folder: Path | None = self.settings_given.get("weights")
        return folder

    def settings(self) -> Settings:
        """The settings of the studio that the command works in."""
        from personare.studio.settings import Settings

        return Settings.model_validate(self.settings_given)

    def studio(self) -> Studio:
        """The studio that the command works in."""
        from personare.studio.studio import Studio

        return Studio(self.settings())


def switches(*groups: Group) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A command with the switches of some groups, and --json, --verbose and --debug.

    The function's first parameter is a Given; the others are the command's own, as typer reads
    them.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        common = {name: switch for group in groups for name, switch in _GROUPS[group].items()} | _ALWAYS
        hints = get_type_hints(command, include_extras=True)
        own = list(inspect.signature(command).parameters.values())[1:]

        @functools.wraps(command)
        def run(**values: Any) -> None:
            given = Given.of({name: values.pop(name) for name in common})
            command(given, **values)

        parameters = [
            parameter.replace(annotation=hints[parameter.name], kind=inspect.Parameter.KEYWORD_ONLY)
            for parameter in own
        ]
        for name, (annotation, default) in common.items():
            parameters.append(
                inspect.Parameter(
                    name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
                )
            )
        # Typer reads both, and would else find the function's own through __wrapped__.
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return run

    return decorate
