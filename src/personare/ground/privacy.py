"""What the libraries underneath report about their users is switched off, before they are
imported.

Most of them read an environment variable when they are loaded, and some (onnxruntime) read
nothing later: `personare/__init__.py` calls `switch_off_telemetry` before any other module of
the package can import them. Processes that are started from here inherit the variables.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType

SWITCHES: Mapping[str, str] = MappingProxyType(
    {
        "ORT_DISABLE_TELEMETRY": "1",  # onnxruntime; its disable_telemetry_events() alone comes too late
        "HF_HUB_DISABLE_TELEMETRY": "1",  # huggingface_hub, transformers
        "DISABLE_TELEMETRY": "1",  # diffusers
        "DO_NOT_TRACK": "1",  # whoever keeps to consoledonottrack.com
        "GRADIO_ANALYTICS_ENABLED": "False",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
)
"""Environment variable -> the value that keeps its library from reporting."""


def switch_off_telemetry() -> None:
    """Set every switch that the user has not set: who wants to report may."""
    for name, value in SWITCHES.items():
        os.environ.setdefault(name, value)
