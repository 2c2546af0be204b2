"""`personare engines | voices | doctor`: what there is, and what this machine can run."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from personare.cli.session import print_json, print_table, say, size_text
from personare.cli.switches import Given, switches
from personare.engines import DEFAULT_ENGINE
from personare.errors import EngineError, PersonareError


@switches()
def engines(given: Given) -> None:
    """Each engine: ready or what is missing, what drives it, its latency floor and licences."""
    from personare.engines.engine import engine_entry_points, load_engine
    from personare.studio.described import described_engine, unreadable_engine

    rows, entries = [], []
    for name in engine_entry_points():
        try:
            entry = described_engine(load_engine(name))
        except PersonareError as error:
            rows.append([name, error.message, "", "", ""])
            entries.append(unreadable_engine(name, error))
            continue
        floor = entry["latency_floor_seconds"]
        licences = ", ".join(f"{part}: {licence}" for part, licence in entry["licences"].items())
        after = "the whole speech" if floor is None else f"{floor * 1000:.0f} ms"
        state = "; ".join(entry["missing"]) or "ready"
        rows.append([name, state, " or ".join(entry["driven_by"]), after, licences])
        entries.append(entry)
    if given.as_json:
        print_json({"engines": entries})
    else:
        print_table(
            ["engine", "state", "driven by", "latency floor", "licences"],
            rows,
            empty="no engine is installed",
        )


@switches()
def voices(given: Given) -> None:
    """The voices that can read a text, and what would be needed for more."""
    from personare.voice.tts import voices as all_voices

    found = all_voices()
    if given.as_json:
        print_json({"voices": found})
        return
    rows = [[v.name, v.language, v.description, v.backend, v.needed or "ready"] for v in found]
    print_table(
        ["voice", "language", "description", "back end", "state"], rows, empty="no voice is installed"
    )


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One thing that doctor looked at. advice: what to do about it if it is not well."""

    what: str
    well: bool
    finding: str
    advice: str = ""
    required: bool = True


@switches("cache_dir")
def doctor(
    given: Given,
    speed: Annotated[
        bool, typer.Option("--speed", help="Measure what the processor can do at most; seconds.")
    ] = False,
) -> None:
    """What this machine can run, and what to do about what it cannot."""
    from personare.weights import resident

    engines = _engines()
    findings = [_python(), _machine(), _memory(), *_libraries(), _encoder(), *engines, _text()]
    findings += [*_folders(given.settings().cache_dir), _networks()]
    findings += [*([_speed()] if speed else []), *_precision(speed)]
    broken = [f for f in findings if f.required and not f.well]
    if given.as_json:
        print_json({"well": not broken, "findings": findings, "networks": resident.report()})
    else:
        for f in findings:
            mark = "ok  " if f.well else "FAIL" if f.required else "note"
            say(
                f"{mark}  {f.what}: {f.finding}"
                + (f"\n      -> {f.advice}" if f.advice and not f.well else "")
            )
        if not broken:
            ready = ", ".join(f.what.removeprefix("engine ") for f in engines if f.well)
            say(f"this machine can run {ready}")
    if broken and not given.as_json:
        raise EngineError(f"{len(broken)} of {len(findings)} checks failed", hint=broken[0].advice)


def _python() -> Diagnosis:
    import platform

    return Diagnosis("python", True, f"{platform.python_version()} on {platform.platform(terse=True)}")


def _machine() -> Diagnosis:
    cores = os.cpu_count() or 1
    return Diagnosis(
        "processor", True, f"{cores} cores" + ("" if cores > 1 else " (encoding and rendering share it)")
    )


def _memory() -> Diagnosis:
    from personare.ground.tuning import ALLOCATOR_VARIABLE, keep_memory

    kept = f"freed memory is kept for the next use ({ALLOCATOR_VARIABLE}=system gives it back)"
    return Diagnosis("memory", True, kept if keep_memory() else "as the C library manages it")


def _libraries() -> list[Diagnosis]:
    from importlib.metadata import PackageNotFoundError, requires, version

    from packaging.requirements import Requirement

    findings = []
    for line in requires("personare") or []:
        requirement = Requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            have = version(requirement.name)
        except PackageNotFoundError:
            findings.append(
                Diagnosis(requirement.name, False, "not installed", f"pip install '{requirement}'")
            )
            continue
        well = requirement.specifier.contains(have, prereleases=True)
        findings.append(Diagnosis(requirement.name, well, have, f"pip install '{requirement}'"))
    return findings


def _encoder() -> Diagnosis:
    import av

    well = {"libx264", "aac"} <= av.codecs_available
    return Diagnosis(
        "H.264 and AAC", well, "in PyAV" if well else "missing from PyAV", "pip install --force-reinstall av"
    )


def _engines() -> list[Diagnosis]:
    from personare.engines.engine import engine_entry_points, load_engine

    findings = []
    for name in engine_entry_points():
        try:
            missing = load_engine(name).missing()
        except PersonareError as error:
            missing = [error.message]
        findings.append(
            Diagnosis(
                f"engine {name}",
                not missing,
                "; ".join(missing) or "ready",
                "see the docs of this engine",
                name == DEFAULT_ENGINE,
            )
        )
    return findings


def _speed() -> Diagnosis:
    from personare.bench.limits import peaks

    measured = peaks()
    products = ", ".join(f"{most:.0f} GFLOP/s in {name}" for name, most in measured.products.items())
    return Diagnosis("speed", True, f"at most {products}; copies {measured.copy_gb:.1f} GB/s", required=False)


def _precision(anew: bool) -> list[Diagnosis]:
    """What auto means for networks on the processor, and why; nothing without torch."""
    from personare.engines.neural import torch_missing
    from personare.weights.measured import PRECISION_VARIABLE, kept_here, measured_here

    if torch_missing():
        return []
    told = [measured.reason for measured in ([measured_here(anew=True)] if anew else kept_here())]
    if named := os.environ.get(PRECISION_VARIABLE):
        told = [f"{named}, as {PRECISION_VARIABLE} says"]
    not_yet = "not measured yet: in 2 s when a network first runs, or now with --speed"
    return [Diagnosis("precision of networks", True, line, required=False) for line in told or [not_yet]]


def _text() -> Diagnosis:
    from personare.voice.tts import voices as all_voices

    ready = [voice for voice in all_voices() if voice.available]
    advice = "pip install 'personare[tts]' (espeak-ng, GPL-3.0), or install espeak-ng"
    return Diagnosis("voices for --text", bool(ready), f"{len(ready)} voices", advice, required=False)


def _networks() -> Diagnosis:
    """What networks hold of main memory in this process, and how much they may keep."""
    from personare.weights import resident

    held = resident.report()
    names = f" ({', '.join(entry.part for entry in held)})" if held else ""
    return Diagnosis(
        "networks in memory",
        True,
        f"{size_text(resident.resident_bytes())} in {len(held)} networks{names}; those that nobody uses "
        f"are dropped above {size_text(resident.budget('cpu'))} ({resident.BUDGET_VARIABLE})",
        required=False,
    )


def _folders(cache_dir: Path | None) -> list[Diagnosis]:
    import shutil

    from personare.shelf.home import home

    here = home(cache_dir)
    findings = []
    for what, folder in (("cache", here.features), ("avatars", here.avatars)):
        existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
        writable = os.access(existing, os.W_OK)
        free = shutil.disk_usage(existing).free
        finding = f"{folder} ({size_text(free)} free)" if writable else f"{folder} is not writable"
        findings.append(
            Diagnosis(what, writable, finding, "set PERSONARE_HOME to a writable folder", required=False)
        )
    return findings
