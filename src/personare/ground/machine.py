"""What this machine is: the facts beside every figure, and the part of them that numbers depend
on.
"""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from blake3 import blake3

_LIBRARIES = (
    "personare", "numpy", "opencv-python-headless", "onnxruntime", "av", "soxr", "pillow",
    "torch", "transformers", "diffusers", "espeakng-loader", "piper-phonemize", "kokoro-onnx",
)  # fmt: skip
"""Those whose version may change a byte of a clip."""

_FLAGS = (
    "avx2",
    "fma",
    "avx512f",
    "avx512bw",
    "avx512_vnni",
    "avx512_bf16",
    "amx_tile",
    "amx_bf16",
    "amx_int8",
    "asimd",
    "sve",
)
"""Instruction sets that matrix code chooses its kernels by."""

_WORKER_SHARE = 0.75
_GPU_DRIVERS = ("/proc/driver/nvidia/version", "/sys/module/amdgpu/version")
_NUMERIC_ENVIRONMENT = (
    "CUDA_VISIBLE_DEVICES",
    "OPENBLAS_CORETYPE",
    "NPY_DISABLE_CPU_FEATURES",
    "MKL_CBWR",
    "NVIDIA_TF32_OVERRIDE",
)


@dataclass(frozen=True, slots=True)
class Machine:
    """processor: its model name.
    flags: those of its instruction sets that matter for speed.
    cores: that this process may use.
    memory_gb: 10^9 bytes, None where the system does not tell.
    graphics: models and driver of GPUs, "" if there are none.
    """

    processor: str
    flags: tuple[str, ...]
    cores: int
    memory_gb: float | None
    graphics: str
    system: str
    python: str
    versions: dict[str, str]


@cache
def machine() -> Machine:
    """The facts of this machine. Nothing heavy is imported."""
    described = _described_processor()
    return Machine(
        processor=described.get("model name") or platform.processor() or platform.machine(),
        flags=tuple(
            flag
            for flag in _FLAGS
            if flag in (described.get("flags") or described.get("Features") or "").split()
        ),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_gb=_memory_gb(),
        graphics=_graphics(),
        system=platform.platform(terse=True),
        python=platform.python_version(),
        versions={name: found for name in _LIBRARIES if (found := _version(name))},
    )


def main_memory() -> tuple[int, int]:
    """Free and total bytes of main memory, within the limits of this process's control group.
    Where the system does not tell what is free, 2 GB are taken for free.
    """
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        total = round((_memory_gb() or 2.0) * 1e9)
        return min(2 << 30, total), total
    kilobytes = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
    free, total = kilobytes["MemAvailable"] << 10, kilobytes["MemTotal"] << 10
    group = Path("/sys/fs/cgroup")
    try:
        limit = int((group / "memory.max").read_text(encoding="ascii"))
        used = int((group / "memory.current").read_text(encoding="ascii"))
    except (OSError, ValueError):  # no control group, or no limit ("max")
        return free, total
    return min(free, max(0, limit - used)), min(total, limit)


def allowed_memory(most: int | None) -> int | None:
    """Bytes that a worker on this machine may have; 0 stands for three quarters of its main
    memory, None for as much as there is.
    """
    return round(main_memory()[1] * _WORKER_SHARE) if most == 0 else most


def numerics() -> dict[str, object]:
    """JSON: what decides the last bits of a computation here. Two machines (or days) that agree
    in it give the same bytes.
    """
    here = machine()
    return {
        "architecture": platform.machine(),
        "processor": here.processor,
        "flags": list(here.flags),
        "graphics": here.graphics,
        "versions": here.versions,
        "environment": {name: os.environ[name] for name in _NUMERIC_ENVIRONMENT if name in os.environ},
    }


@cache
def source_digest(package: str) -> str:
    """64 hex digits over an installed package: its Python files by content, all others by size.
    "" if it has no folder.

    So that a clip of yesterday's code is never taken for today's, also where nobody raised a
    version (a checkout under work).
    """
    found = find_spec(package)
    hasher = blake3()
    folders = [Path(place) for place in (found.submodule_search_locations or ())] if found else []
    if not folders:
        return ""
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.suffix != ".pyc":
                content = path.read_bytes() if path.suffix == ".py" else b""
                hasher.update(f"{path.relative_to(folder).as_posix()} {path.stat().st_size}\0".encode())
                hasher.update(content)
    return hasher.hexdigest()


def _described_processor() -> dict[str, str]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    lines = (line.partition(":") for line in text.partition("\n\n")[0].splitlines())
    return {name.strip(): value.strip() for name, _, value in lines}


def _memory_gb() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    except (AttributeError, ValueError, OSError):
        return None


def _graphics() -> str:
    models = (
        path.read_text(encoding="utf-8", errors="replace")
        for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
    )
    named = [
        line.partition(":")[2].strip()
        for text in models
        for line in text.splitlines()
        if line.startswith("Model:")
    ]
    return "; ".join([*named, driver]) if (driver := _graphics_driver()) else ""


def _graphics_driver() -> str:
    for path in map(Path, _GPU_DRIVERS):
        try:
            return path.read_text(encoding="utf-8", errors="replace").partition("\n")[0].strip()
        except OSError:
            continue
    return ""


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
