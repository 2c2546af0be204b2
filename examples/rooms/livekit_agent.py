"""A LiveKit agent with a face. It greets with a voice of this machine; a real one has a TTS and
an LLM in its AgentSession.

    pip install '.[livekit,tts]'
    export LIVEKIT_URL=ws://127.0.0.1:7880 LIVEKIT_API_KEY=devkey LIVEKIT_API_SECRET=secret
    python examples/rooms/livekit_agent.py start
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import numpy as np
from livekit import rtc
from livekit.agents import Agent, AgentSession, JobContext, WorkerOptions, cli

import personare
from personare.rooms.livekit import AvatarSession

GREETING = "Good morning. How can I help you?"


async def spoken(text: str) -> AsyncIterator[rtc.AudioFrame]:
    """A text as a voice, on this machine."""
    for chunk in personare.open_text(text).chunks():
        samples = np.rint(chunk.samples * 32767).astype(np.int16)
        yield rtc.AudioFrame(samples.tobytes(), 16000, 1, len(samples))


async def entrypoint(ctx: JobContext) -> None:
    await ctx.connect()
    session = AgentSession()

    avatar = AvatarSession()  # or AvatarSession("anna"), AvatarSession(portrait="me.jpg")
    await avatar.start(session, room=ctx.room)

    await session.start(Agent(instructions="Be kind."), room=ctx.room)
    await session.say(GREETING, audio=spoken(GREETING))


if __name__ == "__main__":
    cli.run_app(WorkerOptions(entrypoint_fnc=entrypoint))
