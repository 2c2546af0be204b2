"""A face as a camera that other programs open (Zoom, OBS, a browser), by pyvirtualcam.

    python -m personare.rooms.camera me.jpg --say "Good morning."

Linux needs the kernel module v4l2loopback, Windows and macOS the virtual camera that OBS
brings. A camera has no sound: a program that is to hear it too takes it from a virtual sound
device of the system, which `show` fills if `play` is given.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from personare.errors import EngineError
from personare.rooms.face import Face, Moment
from personare.rooms.spoken import arguments, face_of, main, moments, parser, speak

if TYPE_CHECKING:
    from pyvirtualcam import Camera


def open_camera(face: Face, device: str | None = None, backend: str | None = None) -> Camera:
    """A virtual camera for an open face's pictures. device: as pyvirtualcam names it; None: the
    first one. Raises EngineError with what is missing.
    """
    try:
        import pyvirtualcam
    except ImportError:
        raise EngineError("pyvirtualcam is not installed", hint="pip install 'personare[camera]'") from None
    height, width = face.size
    try:
        return pyvirtualcam.Camera(width, height, float(face.fps), device=device, backend=backend)
    except (RuntimeError, ValueError, KeyError) as error:
        hint = "Linux: modprobe v4l2loopback; Windows, macOS: install OBS"
        raise EngineError(f"there is no virtual camera: {error}", hint=hint) from None


async def show(
    shown: AsyncIterable[Moment],
    camera: Any,
    play: Callable[[NDArray[np.int16]], None] | None = None,
) -> int:
    """Every new picture to a camera; the number of pictures. camera: has `send(picture)`.
    play: takes the sound of each, int16 mono; both are called in a thread.
    """
    count = 0
    async for moment in shown:
        if moment.is_new:
            await asyncio.to_thread(camera.send, moment.picture)
            count += 1
        if play is not None:
            await asyncio.to_thread(play, moment.sound)
    return count


async def run(words: Sequence[str] | None = None) -> None:
    """The command."""
    made = parser("A face as a camera that other programs open.")
    made.add_argument("--device", help="/dev/video10, or a camera's name; without it the first one")
    given = arguments(made, words)
    async with face_of(given, 16000) as face:
        with open_camera(face, given.device) as camera:
            await show(moments(face, speak(face, given)), camera)


if __name__ == "__main__":
    main(run)
