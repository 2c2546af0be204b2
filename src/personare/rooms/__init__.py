"""Other people's rooms: personare as a guest in a call, a pipeline, a stream.

face.py        a live session for a program: voice in, pictures with their sound out
line.py        what one utterance sounds like at the room's own rate
livekit.py     a second participant beside a LiveKit agent          [livekit]
pipecat.py     a video service after a TTS of pipecat               [pipecat]
camera.py      a virtual camera that other programs open            pyvirtualcam
rtmp.py        a stream for a server that takes RTMP
whip.py        a stream for a server that takes WHIP                aiortc, of [serve]
spoken.py      what the last three say: lines of a text, or sound files

Each room is one file, stands on face.py alone, and is imported by name; nothing in personare
imports them. The drawing is done in a process of its own, as in `personare serve`.
"""
