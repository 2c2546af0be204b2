"""What all routes share. `house_of(request)` is how a route gets it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from starlette.requests import HTTPConnection

from personare.serve.settings import ServeSettings
from personare.studio.studio import Studio


class Live(Protocol):
    """Whoever runs the live sessions."""

    async def start(self) -> None:
        """The service starts."""
        ...

    async def close(self) -> None:
        """The service ends: every session is told, and ends within seconds."""
        ...


@dataclass
class House:
    """One service.

    studio: of the HTTP process, which prepares and draws nothing: it looks things up.
    live: None where there are no live sessions.
    """

    settings: ServeSettings
    studio: Studio
    live: Live | None = None

    @classmethod
    def of(cls, settings: ServeSettings) -> House:
        """The house that settings describe; nothing is started."""
        return cls(settings, Studio(settings.studio))

    async def start(self) -> None:
        """Start what runs beside the requests."""
        if self.live is not None:
            await self.live.start()

    async def close(self) -> None:
        """End it."""
        if self.live is not None:
            await self.live.close()


def house_of(connection: HTTPConnection) -> House:
    """The house of a request or a WebSocket."""
    house = connection.app.state.house
    assert isinstance(house, House)
    return house


def caller_of(connection: HTTPConnection) -> str:
    """The name of the API key that a request came with; "" for everybody."""
    caller: str = connection.state.caller
    return caller
