"""A watcher on a WebSocket: messages both ways, media if it is asked for."""

from __future__ import annotations

import asyncio
import base64
import binascii
from contextlib import suppress

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from personare.errors import InvalidOption, PersonareError
from personare.serve.live.outlet import Outlet
from personare.serve.live.place import Place
from personare.serve.live.wire import (
    Append,
    Media,
    Packet,
    Shown,
    VoicePiece,
    Word,
    read_message,
    read_voice,
)

SLOW_SECONDS = 10.0
"""A watcher for whom time stood still for so long has to go (close code 4408)."""


async def serve_socket(socket: WebSocket, place: Place, media: Media | None) -> None:
    """Serve an accepted socket until either side has enough of it."""
    outlet = Outlet(place.hold, place.ask_for_key)
    place.attach(outlet, media)
    # whoever waited for pictures alone would outlive his browser
    tasks = {
        asyncio.create_task(work)
        for work in (_send(socket, outlet), _hear(socket, place, outlet), _patience(outlet))
    }
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        place.detach(outlet)
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError, WebSocketDisconnect, RuntimeError, OSError):
                await task
        if socket.client_state is WebSocketState.CONNECTED:
            with suppress(RuntimeError, OSError):
                await socket.close(outlet.ended or 1000)


async def _send(socket: WebSocket, outlet: Outlet) -> None:
    while (item := await outlet.take()) is not None:
        if isinstance(item, Packet):
            await socket.send_bytes(item.to_bytes())
        else:
            await socket.send_json(item)


async def _patience(outlet: Outlet) -> None:
    while not outlet.is_too_slow(SLOW_SECONDS):
        await asyncio.sleep(1.0)
    outlet.close(4408)


async def _hear(socket: WebSocket, place: Place, outlet: Outlet) -> None:
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            return
        try:
            await place.room()
            if (data := message.get("bytes")) is not None:
                place.voice(read_voice(data))
            else:
                _obey(message.get("text") or "", place, outlet)
        except PersonareError as error:
            told = {"code": "bad_input", "detail": error.message, "hint": error.hint}
            outlet.event({"type": "error", "error": told})


def _obey(text: str, place: Place, outlet: Outlet) -> None:
    message = read_message(text)
    if isinstance(message, Shown):
        outlet.shown(message.index)
    elif isinstance(message, Append):
        try:
            samples = base64.b64decode(message.audio, validate=True)
        except (binascii.Error, ValueError):
            raise InvalidOption("audio is not base64", hint="of s16 samples, little endian") from None
        if len(samples) % 2:
            raise InvalidOption("audio has half a sample", hint="s16 mono, little endian")
        place.voice(VoicePiece(samples, message.rate, message.generation))
    elif isinstance(message, Word) and message.type == "interrupt":
        place.void()  # the answer goes to every watcher
    else:
        place.obey(message, outlet)
