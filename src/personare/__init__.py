"""personare: a portrait and a voice become a talking person.

import personare
engine = personare.open_engine("puppet")
avatar = engine.prepare("me.jpg")
engine.speak(avatar, "hello.wav").save("out.mp4")
"""

from __future__ import annotations

from personare.ground.privacy import switch_off_telemetry

# Nothing is imported here that takes time: the program notes Ctrl-C from its first lines on,
# and those come after these.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from personare.client import Client
    from personare.engines.engine import Engine, EngineOptions, Performance
    from personare.engines.puppet.fit.guide import Mirror
    from personare.errors import PersonareError, ServiceError
    from personare.media.guide import open_guide
    from personare.motion import Motion
    from personare.shelf.manifest import AvatarManifest
    from personare.studio.clip import Clip
    from personare.studio.opened import OpenEngine, open_engine
    from personare.studio.order import Order
    from personare.studio.report import Report
    from personare.studio.settings import Settings
    from personare.studio.studio import Studio
    from personare.types import Avatar, Frames, Guide, Phone, Speech
    from personare.voice.tts import open_text

switch_off_telemetry()  # before any module of the package imports a library that reports

_HOME = {
    "AvatarManifest": "personare.shelf.manifest",
    "Engine": "personare.engines.engine",
    "EngineOptions": "personare.engines.engine",
    "Performance": "personare.engines.engine",
    "PersonareError": "personare.errors",
    "Client": "personare.client",
    "Report": "personare.studio.report",
    "Clip": "personare.studio.clip",
    "Mirror": "personare.engines.puppet.fit.guide",
    "Motion": "personare.motion",
    "OpenEngine": "personare.studio.opened",
    "Order": "personare.studio.order",
    "ServiceError": "personare.errors",
    "Settings": "personare.studio.settings",
    "Studio": "personare.studio.studio",
    "open_engine": "personare.studio.opened",
    "open_guide": "personare.media.guide",
    "Avatar": "personare.types",
    "Frames": "personare.types",
    "Guide": "personare.types",
    "Phone": "personare.types",
    "Speech": "personare.types",
    "open_text": "personare.voice.tts",
}

__all__ = [
    "Avatar",
    "AvatarManifest",
    "Client",
    "Clip",
    "Engine",
    "EngineOptions",
    "Frames",
    "Guide",
    "Mirror",
    "Motion",
    "OpenEngine",
    "Order",
    "Performance",
    "PersonareError",
    "Phone",
    "Report",
    "ServiceError",
    "Settings",
    "Speech",
    "Studio",
    "open_engine",
    "open_guide",
    "open_text",
]


def __getattr__(name: str) -> Any:
    """Public names are imported when they are first used, so that `import personare` costs
    nothing.
    """
    from importlib import import_module

    if name == "__version__":
        return import_module("importlib.metadata").version("personare")
    if name not in _HOME:
        raise AttributeError(f"module 'personare' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
