"""A live session: who speaks, who is silent, what leaves together. No clock and no thread of
its own; one thread ticks, any thread may speak, interrupt or pause.

            voice enough, or its end          its end, and its last picture has left
    idle ------------------------> speaking ------------------------------> idle
     ^                             |     ^
     |               voice is late v     | voice again
     |                            starved+      silence is fed and played; after 10 s it ends
     +---- interrupt, from any of them: the generation rises, whatever is older is void at once

A tick is one picture and the sound of its time. `leave` sends it, unless it became void
meanwhile: it and `interrupt` hold one lock, so nothing of an older generation is sent once
`interrupt` has returned.
"""

from __future__ import annotations

import logging
import math
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from personare.engines.performance import Performance, Stream
from personare.errors import Busy, PersonareError
from personare.serve.live.voices import Fed, LiveVoice, Voice
from personare.serve.live.wire import Event, State
from personare.types import SAMPLE_RATE, Frames, Image, Phone, Samples

log = logging.getLogger(__name__)

MOST_SECONDS = 120
"""Voice that may wait; more is refused."""
STARVED_SECONDS = 10
"""An utterance whose voice is late for so long ends."""
PATIENCE_SECONDS = 1.0
"""A voice too short for a start is begun all the same after so long."""
_AWAKE_SECONDS = 1
"""At rest for so long, every second picture stays undrawn."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A picture and the sound of its time.

    image: None where the last one stays.
    sound: int16 [n], 16 kHz mono.
    motion: float32 [width], what the picture shows, if the engine tells.
    before: what is to be told before it leaves: (what, utterance).
    """

    index: int
    generation: int
    state: State
    image: Image | None
    sound: NDArray[np.int16]
    motion: NDArray[np.float32] | None = None
    before: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Interrupted:
    """generation: the new one. utterance: what was being said, None if nobody spoke."""

    generation: int
    utterance: str | None


@dataclass
class _Speaking:
    """The utterance under way, as the ticking thread sees it."""

    voice: Voice
    stream: Stream[Frames] | None = None
    ending: bool = False
    begun: bool = False
    starved_samples: int = 0
    fed: Fed = field(default_factory=Fed)
    pictures: deque[tuple[Image, NDArray[np.float32] | None]] = field(default_factory=deque)


class _Void(Exception):
    """What was being made is of an older generation."""


class Session:
    """One performance that idles, speaks and may be interrupted."""

    def __init__(
        self,
        performance: Performance,
        *,
        prime_seconds: float,
        tell: Callable[[Event], None],
        now: Callable[[], float],
        generation: int = 0,
        index: int = 0,
        sparing: bool = True,
    ) -> None:
        """prime_seconds: of voice, before an utterance begins: the engine's latency, so that
            nothing stops while it listens.
        tell: takes events; called under the session's lock, so it must not block for long.
        generation, index: where a session that was lost goes on.
        sparing: whether every second picture at rest stays undrawn.
        """
        self.performance = performance
        self.fps = performance.fps
        self.generation, self.index = generation, index
        self.paused = False
        self._prime = max(1, round(prime_seconds * SAMPLE_RATE))
        self._tell, self._now, self._sparing = tell, now, sparing
        self._lock = threading.RLock()  # of what other threads touch: all above, and the next four
        self._voices: deque[Voice] = deque()
        self._open: str | None = None  # the utterance that was told as started
        self._numbers = 0
        self._seen = generation
        self._speaking: _Speaking | None = None  # from here on the ticking thread's own
        self._resting = 0

    # ------------------------------------------------------------- from any thread

    def append(self, samples: Samples, rate: int = SAMPLE_RATE, generation: int | None = None) -> None:
        """Voice as it comes; without an utterance to go on with, the beginning of one.

        generation: the newest that the sender knew (its low 16 bits); voice of an older one is
        void. Raises Busy if more than MOST_SECONDS would wait.
        """
        with self._lock:
            if generation is not None and generation != self.generation & 0xFFFF:
                return
            if self.waiting_seconds() + len(samples) / rate > MOST_SECONDS:
                raise Busy(f"more than {MOST_SECONDS} s of voice would wait", hint="send it as it is spoken")
            voice = self._voices[-1] if self._voices else None
            if not isinstance(voice, LiveVoice) or voice.ended:
                voice = LiveVoice(self._new_id())
                self._voices.append(voice)
            voice.hear(samples, rate, self._now())

    def commit(self) -> None:
        """The utterance that is appended to is complete."""
        with self._lock:
            if self._voices and isinstance(voice := self._voices[-1], LiveVoice) and not voice.ended:
                voice.end(self._now())

    def line(self, *, guided: bool = False) -> Voice:
        """A place in the row for an utterance whose voice somebody here makes: `put` and `end`
        fill it.
        """
        with self._lock:
            self.commit()
            voice = Voice(self._new_id(), guided=guided)
            self._voices.append(voice)
            return voice

    def put(self, voice: Voice, samples: Samples, phones: Sequence[Phone] | None) -> None:
        """More of a line; void ones take nothing."""
        with self._lock:
            if not voice.void:
                voice.put(samples, phones, self._now())

    def end(self, voice: Voice) -> None:
        """A line is complete."""
        with self._lock:
            voice.ended = True

    def clear(self) -> None:
        """Forget the voice that waits. What is being said ends with what the engine has heard."""
        with self._lock:
            speaking = self._speaking
            for voice in self._voices:
                voice.clear()
                voice.ended = voice.void = True
            kept = [speaking.voice] if speaking is not None and speaking.voice in self._voices else []
            for voice in kept:
                voice.void = False
            self._voices = deque(kept)

    def interrupt(self) -> Interrupted:
        """Whatever is said, and whatever waits, is void at once."""
        with self._lock:
            self.generation += 1
            for voice in self._voices:
                voice.clear()
                voice.void = True
            self._voices.clear()
            said, self._open = self._open, None
            self.performance.interrupt()
            if said is not None:
                self._finished(said, interrupted=True)
            return Interrupted(self.generation, said)

    def waiting_seconds(self, until: Voice | None = None) -> float:
        """Voice that waits; with `until`, only up to the end of that one."""
        with self._lock:
            voices = list(self._voices)
        last = voices.index(until) + 1 if until in voices else len(voices)
        return sum(voice.length for voice in voices[:last]) / SAMPLE_RATE

    # ------------------------------------------------------------- the ticking thread

    def tick(self) -> Tick:
        """The next picture and its sound. Raises what the engine raises at rest; what it raises
        of an utterance ends that utterance.
        """
        before: list[tuple[str, str]] = []
        while True:
            generation = self._settled(before)
            try:
                tick = self._spoken(generation, before) or self._rested(generation, before)
            except _Void:
                continue
            if generation == self.generation:
                return tick

    def leave(self, tick: Tick, send: Callable[[], None]) -> bool:
        """Send a tick, unless it is void; whether it was sent."""
        with self._lock:
            if tick.generation != self.generation:
                return False
            for what, said in tick.before:
                if what == "started":
                    self._open = said
                    self._tell(
                        {
                            "type": "utterance.started",
                            "id": said,
                            "generation": self.generation,
                            "position_samples": self.first_sample(tick.index),
                        }
                    )
                elif self._open == said:
                    self._open = None
                    self._finished(said, interrupted=what == "failed")
            send()
            self.index = tick.index + 1
            return True

    def awake(self) -> None:
        """The next tick has a picture, whatever was spared."""
        self._resting = 0

    def first_sample(self, index: int) -> int:
        """The first sample of a tick, on the session's clock."""
        return math.ceil(index * SAMPLE_RATE / self.fps)

    def close(self) -> None:
        """Let go of the performance."""
        self.interrupt()
        self.performance.close()

    # ------------------------------------------------------------- one tick

    def _settled(self, before: list[tuple[str, str]]) -> int:
        """Take note of an interruption, and of who speaks now; the generation."""
        with self._lock:
            if self._seen != self.generation:
                self._seen, self._speaking, self._resting = self.generation, None, 0
                before.clear()
                self.performance.interrupt()  # it may have been fed once more meanwhile
            while self._speaking is None and self._voices:
                voice = self._voices[0]
                if voice.ended and not voice.length and not voice.guided:
                    self._voices.popleft()  # nothing was said
                elif self._is_primed(voice):
                    self._speaking = _Speaking(voice)
                else:
                    break
            return self.generation

    def _is_primed(self, voice: Voice) -> bool:
        if voice.ended or voice.length >= self._prime:
            return True
        since = voice.waiting_since
        return since is not None and self._now() - since >= PATIENCE_SECONDS

    def _spoken(self, generation: int, before: list[tuple[str, str]]) -> Tick | None:
        """A tick of the utterance under way; None if there is none any more."""
        while (speaking := self._speaking) is not None:
            try:
                found = self._find_picture(speaking)
            except _Void:
                raise
            except Exception as error:  # the utterance is over, the session is not
                self._failed(speaking, error, before)
                break
            if found:
                break
            self._over(speaking, "finished", before)
            if self._settled(before) != generation:
                raise _Void
        if (speaking := self._speaking) is None:
            return None
        if not speaking.begun:
            speaking.begun = True
            before.append(("started", speaking.voice.id))
        self._resting = 0
        count = self._samples()
        if speaking.voice.guided:
            with self._lock:
                speaking.fed.put(speaking.voice.take(count)[0], False)
        sound, starved = speaking.fed.take(count)
        image, motion = speaking.pictures.popleft()
        state = State.STARVED if starved else State.SPEAKING
        return Tick(self.index, generation, state, image, _pcm(sound), motion, tuple(before))

    def _find_picture(self, speaking: _Speaking) -> bool:
        """Feed until there is a picture; False at the utterance's end."""
        while not speaking.pictures:
            frames = None if speaking.stream is None else next(speaking.stream, None)
            if frames is not None:
                rows = [None] * len(frames) if frames.motion is None else list(frames.motion)
                speaking.pictures.extend(zip(frames.images, rows, strict=True))
            elif speaking.ending:
                return False
            elif (heard := self._heard(speaking)) is None:
                speaking.ending = True
                speaking.stream = self.performance.finish()
            else:
                speaking.stream = self.performance.feed(*heard)
        return True

    def _heard(self, speaking: _Speaking) -> tuple[Samples, Sequence[Phone] | None] | None:
        """What the engine is fed next; None at the end of the voice."""
        voice, count = speaking.voice, self._samples()
        with self._lock:
            if voice.void or self._seen != self.generation:
                raise _Void
            if voice.guided or (voice.ended and not voice.length):
                return None
            starved = voice.length < count and not voice.ended
            if starved:
                speaking.starved_samples += count
                if speaking.starved_samples > STARVED_SECONDS * SAMPLE_RATE:
                    voice.ended = True
                    return self._heard(speaking)
                samples, phones = voice.silence(count)
            else:
                speaking.starved_samples = 0
                samples, phones = voice.take(count)
        speaking.fed.put(samples, starved)
        return samples, phones

    def _rested(self, generation: int, before: list[tuple[str, str]]) -> Tick:
        self._resting += 1
        silence = np.zeros(self._samples(), np.int16)
        if self._sparing and self._resting > _AWAKE_SECONDS * self.fps and self._resting % 2:
            self.performance.skip(1)
            return Tick(self.index, generation, State.IDLE, None, silence, None, tuple(before))
        frames = self.performance.idle(1)
        motion = None if frames.motion is None else frames.motion[0]
        return Tick(self.index, generation, State.IDLE, frames.images[0], silence, motion, tuple(before))

    def _over(self, speaking: _Speaking, how: str, before: list[tuple[str, str]]) -> None:
        with self._lock:
            self._speaking = None
            if self._voices and self._voices[0] is speaking.voice:
                self._voices.popleft()
            speaking.voice.clear()
            speaking.voice.void = True
            if speaking.begun:
                before.append((how, speaking.voice.id))

    def _failed(self, speaking: _Speaking, error: Exception, before: list[tuple[str, str]]) -> None:
        problem: dict[str, Any] = {"code": "unexpected", "detail": f"unexpected {type(error).__name__}"}
        if isinstance(error, PersonareError):
            problem = {"code": "engine", "detail": error.message, "hint": error.hint}
        else:
            log.exception("an utterance failed")
        self.performance.interrupt()
        self._over(speaking, "failed", before)
        with self._lock:
            self._tell({"type": "error", "utterance": speaking.voice.id, "error": problem})

    def _finished(self, said: str, *, interrupted: bool) -> None:
        self._tell(
            {
                "type": "utterance.finished",
                "id": said,
                "generation": self.generation,
                "position_samples": self.first_sample(self.index),
                "interrupted": interrupted,
            }
        )

    def _samples(self) -> int:
        return self.first_sample(self.index + 1) - self.first_sample(self.index)

    def _new_id(self) -> str:
        self._numbers += 1
        return f"utt_{self._seen}_{self._numbers}"


def _pcm(sound: Samples) -> NDArray[np.int16]:
    return np.rint(np.clip(sound, -1, 1) * 32767).astype(np.int16)
