"""Live sessions: an avatar that idles, speaks as the voice comes, and stops at a word.

In a worker process, one for each session:

voices.py      what is said, utterance by utterance, on its way in
session.py     the state machine: one tick is one picture and the sound of its time
pace.py        when a tick is due; late ticks slip the clock, they do not race
encoders.py    ticks -> JPEG and PCM, H.264 or VP8, fragmented MP4
player.py      the thread that ticks, encodes and sends
spent.py       what speaking takes of the processor, in play
speaking.py    texts and sounds of guides -> voices, in a thread of their own
opened.py      a session as asked for -> avatar, performance, and what a frame costs
worker.py      the process: commands in, packets out

In the HTTP process, which draws nothing:

wire.py        messages and packets, as they travel
process.py     the handle of one worker process
place.py       one session: its worker, who watches it, when it ends
outlet.py      what waits for one watcher, and is void after an interruption
admission.py   who may still come in, by measured cost
live.py        all sessions
socket.py      a watcher on a WebSocket
whep.py        a watcher over WebRTC
"""
