"""Jobs: what a JSONL file or a folder asks for, checked before anything is made.

Whatever is wrong with the list itself (a line that is no job, two jobs with one output, an
output outside its folder) refuses the whole list and names the line. Whatever is wrong with a
job's media shows when it is made, and fails that job alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from personare.errors import InvalidOption, UnreadableMedia
from personare.ground.outputs import first_clash
from personare.media.text_file import text_lines
from personare.studio.order import Order, local_path, refuse_url, who

MAX_LINE_BYTES = 1 << 20
MAX_JOBS = 100_000
VOICES = (".wav", ".mp3", ".flac", ".ogg", ".opus", ".m4a", ".aac", ".aif", ".aiff", ".wma", ".txt")
"""Voices in a folder; a .txt is a text to speak. Videos are not among them: they may be
portraits, or clips of an earlier run.
"""
PORTRAITS = (
    ".jpg",
    ".jpeg",
    ".png",
    ".webp",
    ".bmp",
    ".tif",
    ".tiff",
    ".avif",
    ".heic",
    ".heif",
    ".mp4",
    ".mov",
    ".webm",
    ".mkv",
    ".m4v",
    ".avi",
)
GUIDES = (".mp4", ".mov", ".webm", ".mkv", ".m4v", ".avi")
"""Videos in a folder without voices: each shows what its picture does."""
PICTURES = tuple(suffix for suffix in PORTRAITS if suffix not in GUIDES)
_MARKS = {"marks", "marks_reason", "label", "cue"}
_CLIPS = (".mp4", ".m4v", ".mov")

Name = Annotated[str, Field(min_length=1, max_length=4096)]
Value = str | int | float | bool | None


class JobLine(BaseModel):
    """One line of a jobs file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    portrait: Name
    output: Name
    speech: Name | None = None
    text: Annotated[str, Field(min_length=1, max_length=MAX_LINE_BYTES)] | None = None
    guide: Name | None = None
    engine: Name | None = None
    voice: Name | None = None
    track: Annotated[int, Field(ge=1)] | None = None
    options: dict[str, Value] = {}
    marks: Literal["on", "off"] | None = None
    marks_reason: str | None = None
    label: str | None = None
    cue: Literal["morse"] | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """An order, and where it came from.

    order: its output is absolute, inside the output folder.
    where: for messages ("jobs.jsonl line 3").
    name: the output's path below the output folder.
    """

    order: Order
    where: str
    name: str


@dataclass(frozen=True, slots=True)
class Defaults:
    """What holds for jobs that do not say. voice: of texts."""

    engine: str | None = None
    voice: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


def read_jobs(path: Path, output_dir: Path, defaults: Defaults) -> list[Job]:
    """The jobs of a JSONL file: one JSON object a line, empty lines left out. Paths are
    relative to the file's folder.

    output_dir: where all outputs have to lie. Raises UnreadableMedia if the file cannot be
    read, InvalidOption naming the first bad line.
    """
    jobs = []
    for number, text in _lines(path):
        where = f"{path.name} line {number}"
        line = _read_line(text, where)
        if [line.speech, line.text, line.guide].count(None) != 2:
            raise InvalidOption(f"{where}: give exactly one of speech, text and guide")
        voice = line.voice if line.text is None else line.voice or defaults.voice
        spoken: dict[str, Any] = {"text": line.text, "voice": voice, "track": line.track}
        for name in ("speech", "guide"):
            if (given := getattr(line, name)) is not None:
                spoken[name] = _joined(path.parent, given, where)
        _check_path(line.portrait, where)
        whom = who(line.portrait, path.parent.absolute())
        output = _inside(output_dir, line.output, where)
        engine, options = line.engine or defaults.engine, {**defaults.options, **line.options}
        fields = {**whom, **spoken, **line.model_dump(include=_MARKS, exclude_none=True)}
        jobs.append(_job(where, output_dir, output, {**fields, "engine": engine, "options": options}))
        if len(jobs) > MAX_JOBS:
            raise InvalidOption(f"{path.name} has more than {MAX_JOBS} jobs", hint="split it")
    return _checked(jobs, path.name)


def folder_jobs(
    folder: Path, output_dir: Path, defaults: Defaults, portrait: str | Path | None = None
) -> list[Job]:
    """A job for every voice in a folder (not in folders inside it), in the order of names;
    where there is none, for every video, as a guide. The clip is STEM.mp4.

    portrait: who speaks all of them, or follows; None pairs each voice with the picture or
        video of the same stem, each guide with the picture. Raises UnreadableMedia if the
        folder cannot be read, InvalidOption if there is nothing to do or a pair is not certain.
    """
    try:
        files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    except OSError as error:
        raise UnreadableMedia(f"{folder} cannot be read: {error.strerror}", hint="check the path") from None
    leads = [path for path in files if path.suffix.lower() in VOICES]
    partners: Sequence[str] = PORTRAITS
    if not leads:
        leads, partners = [path for path in files if path.suffix.lower() in GUIDES], PICTURES
    if not leads:
        raise InvalidOption(
            f"there is no voice and no guide in {folder}",
            hint=f"voices end in {', '.join(VOICES)}; guides are videos",
        )
    jobs = []
    for lead in leads:
        led: dict[str, Any] = {"guide" if lead.suffix.lower() in GUIDES else "speech": lead}
        if lead.suffix.lower() == ".txt":
            led = {"text_file": lead, "voice": defaults.voice}
        whom = who(portrait if portrait is not None else _partner(lead, files, partners))
        output = _inside(output_dir, f"{lead.stem}.mp4", lead.name)
        fields = {**whom, **led, "engine": defaults.engine, "options": dict(defaults.options)}
        jobs.append(_job(lead.name, output_dir, output, fields))
    return _checked(jobs, str(folder))


def _job(where: str, output_dir: Path, output: Path, fields: Mapping[str, Any]) -> Job:
    try:
        order = Order.model_validate({**fields, "output": output})
    except InvalidOption as error:
        raise InvalidOption(f"{where}: {error.message}", hint=error.hint) from None
    return Job(order, where, output.relative_to(output_dir).as_posix())


def _partner(lead: Path, files: Sequence[Path], suffixes: Sequence[str]) -> Path:
    partners = [path for path in files if path.stem == lead.stem and path.suffix.lower() in suffixes]
    if len(partners) > 1:
        names = " and ".join(path.name for path in partners)
        raise InvalidOption(
            f"{lead.name} has more than one portrait: {names}", hint="leave one of them in the folder"
        )
    # Without one, the job fails with the name of the file that is looked for, and the others go
    # on.
    return partners[0] if partners else lead.with_suffix(".jpg")


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    for number, line in text_lines(path, MAX_LINE_BYTES):
        if len(line) > MAX_LINE_BYTES:
            raise InvalidOption(f"{path.name} line {number}: longer than {MAX_LINE_BYTES} bytes")
        if line.strip():
            yield number, line


def _read_line(text: str, where: str) -> JobLine:
    try:
        text.encode()  # a line with bytes that are no letters is refused
        value = json.loads(text, object_pairs_hook=_no_repeats, parse_constant=_no_constant)
    except _Repeated as error:
        raise InvalidOption(f"{where}: the field {error} is given twice") from None
    except (ValueError, RecursionError) as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else type(error).__name__
        if isinstance(error, UnicodeEncodeError):
            reason = "not a UTF-8 text"
        comma = " and no comma at its end" if text.rstrip().endswith(",") else ""
        raise InvalidOption(
            f"{where}: not a JSON object ({reason})", hint=f"one object on each line{comma}"
        ) from None
    if not isinstance(value, dict):
        raise InvalidOption(f"{where}: not a JSON object", hint="one object on each line")
    known = ", ".join(JobLine.model_fields)
    try:
        return JobLine.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])[:80] if first["loc"] else ""
        if first["type"] == "extra_forbidden":
            raise InvalidOption(f"{where}: unknown field {name!r}", hint=f"fields are: {known}") from None
        raise InvalidOption(f"{where}: {name}: {first['msg']}", hint=f"fields are: {known}") from None


class _Repeated(Exception):
    pass


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    read: dict[str, Any] = {}
    for name, value in pairs:
        if name in read:
            raise _Repeated(repr(name[:80]))
        read[name] = value
    return read


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _joined(folder: Path, name: str, where: str) -> Path:
    _check_path(name, where)
    return local_path(name, folder.absolute())


def _check_path(name: str, where: str) -> None:
    if "\0" in name:
        raise InvalidOption(f"{where}: {name[:80]!r} is not a path")
    refuse_url(name, where)


def _inside(output_dir: Path, name: str, where: str) -> Path:
    """Where an output goes; links are followed, so that none leads out. output_dir: resolved."""
    if "\0" in name or not name.isprintable():
        raise InvalidOption(f"{where}: the output {name[:80]!r} is not a path")
    try:
        target = local_path(name, output_dir).resolve()
    except (OSError, RuntimeError) as error:
        raise InvalidOption(f"{where}: the output {name[:80]!r} is not a path: {error}") from None
    if not target.is_relative_to(output_dir) or target == output_dir:
        raise InvalidOption(
            f"{where}: the output {name[:80]!r} is outside {output_dir}", hint="change it, or --output-dir"
        )
    if target.suffix.lower() not in _CLIPS:
        raise InvalidOption(f"{where}: the output {name[:80]!r} does not end in {', '.join(_CLIPS)}")
    return target


def _checked(jobs: Sequence[Job], source: str) -> list[Job]:
    """The jobs, if each has an output of its own that no job reads."""
    if not jobs:
        raise InvalidOption(f"{source} has no jobs", hint="one JSON object on each line")
    read = [(job, path) for job in jobs for _, path in job.order.inputs()]
    written = [(job, job.order.output) for job in jobs]
    if (clash := first_clash(written, read)) is not None:
        job, other = clash.output[0], clash.other[0]
        if clash.read:
            raise InvalidOption(
                f"{job.where}: the output {job.name} is read by {other.where}", hint="change --output-dir"
            )
        raise InvalidOption(f"{job.where} and {other.where} have the same output {job.name}")
    return list(jobs)
