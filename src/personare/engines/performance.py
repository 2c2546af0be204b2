"""One run of an engine: speech or a guide goes in, frames come out. Written once for all wings.

A wing writes what it does with speech (`_begin`, `_hear`, `_end`), at rest (`_rest`), with a
given motion (`_show`) and after an interruption (`_drop`). The timeline, the utterances, the
guards and their messages are here, and `interrupt`, which any thread may call.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from personare.cache.run import Outcome
from personare.engines.utterance import Utterance, one_dimensional
from personare.errors import Cancelled, EngineError
from personare.ground.stopwatch import Stopwatch
from personare.ground.tuning import one_thread
from personare.motion import Motion, Space
from personare.types import Frames, Phone, Progress, Samples, frame_count, no_progress

Floats = NDArray[np.float32]
Images = NDArray[np.uint8]


class Made(NamedTuple):
    """Some frames, fresh from a wing.

    images: uint8 [n, H, W, 3], the caller's to keep.
    motion: float32 [n, width], what they show in the engine's space, if it has one.
    """

    images: Images
    motion: Floats | None = None


Product = TypeVar("Product")
Piece = TypeVar("Piece")
Rested = TypeVar("Rested")


class Run(ABC, Generic[Product, Piece]):
    """The run behind a Performance (frames) and a Movement (motion alone).

    One timeline of frames and, on it, utterances. `feed` extends the current utterance and
    yields every frame that is settled; `finish` ends it: over one utterance there are
    ceil(samples * fps / 16000) frames. The next `feed` begins a new one at the next frame.
    Between utterances `idle` continues the timeline.

    The iterators of `feed`, `finish` and `show` work while they are read. What is left unread
    comes with the next call's iterator: there is one stream of frames, and iterators are views
    of it. One thread reads and feeds; `interrupt` alone may come from any other.
    """

    fps: Fraction
    watch: Stopwatch
    """Seconds spent in each step of the wing: "drive", "motion", "render", "compose"."""
    heard: dict[str, Outcome]
    """Stages of the speech or guide that came from the cache, and those that did not."""
    progress: Progress
    """Told about anything long that makes no frames; may be set before the first `feed`."""
    remarks: tuple[str, ...] = ()
    """What should be told of a clip of this run, a plain sentence each."""
    guided: bool
    """Whether there is a guide: `finish` without speech plays it."""
    longest: int | None = None
    """Frames of an utterance at most: speech beyond is taken, and not shown. None: no limit."""

    def __init__(self, *, guided: bool = False) -> None:
        self.watch = Stopwatch()
        self.heard = {}
        self.progress = no_progress
        self.guided = guided
        self._lock = threading.Lock()  # of the six below
        self._said: Utterance | None = None
        self._dropped: Utterance | None = None
        self._numbers = 0
        self._next_frame = 0
        self._reader: int | None = None
        self._closed = False

    # ------------------------------------------------------------- what callers use

    def feed(self, samples: Samples, phones: Sequence[Phone] | None = None) -> Stream[Product]:
        """Hear some speech; yield the frames that are settled by now.

        samples: float32 [n] at 16 kHz, any n >= 0.
        phones: those that start within these samples, with positions from the start of the
            utterance, if the text is known; None lets the engine listen.

        The cut into pieces does not change a byte of the frames (unless the engine declares
        `exact_streaming = False`). Raises EngineError for another shape, after `close`, and
        while the frames of `finish` are not all read; UnusableSpeech for NaN or infinite
        samples.
        """
        samples = one_dimensional(samples)
        with self._working():
            said = self._said
            if said is not None and said.ending:
                raise self._under_way("feed()", "read the frames of finish()")
            said = said or self._begun()
            said.samples += len(samples)
            said.work.append(self._hear(said, samples, phones))
        return Stream(self, said)

    def finish(self) -> Stream[Product]:
        """End the utterance and yield its remaining frames. Without an utterance: what a guide
        shows, if there is one, else nothing.
        """
        with self._working():
            said = self._said
            if said is None:
                if not self.guided:
                    return Stream(self, Utterance(0))
                said = self._begun()
            if not said.ending:
                said.ending = True
                said.work.append(self._end(said))
        return Stream(self, said)

    def idle(self, n: int) -> Product:
        """The next n frames at rest. Raises EngineError while an utterance is under way, and if
        the engine has no idle motion.
        """
        return self._piece(*self._resting("idle", n, self._rest), 0)

    def skip(self, n: int) -> None:
        """The next n frames at rest pass unseen, for less work than `idle(n)`. Raises as it."""
        self._resting("skip", n, self._pass)

    def interrupt(self) -> None:
        """End the utterance at once and drop what is queued: no frame of it is handed out any
        more, and what comes next, idle or speech, follows without a jump.

        May be called from any thread, at any time, also after `close`; returns at once and
        never raises.
        """
        with self._lock:
            said, self._said = self._said, None
            if said is None:
                return
            self._dropped = said
        said.cut.set()

    def close(self) -> None:
        """End threads and let go of what the run holds; only `interrupt` and `close` may be
        called after it. Called while another thread reads, it takes effect after that frame.
        """
        self.interrupt()
        with self._lock:
            if self._closed:
                return
            self._closed = True
            if self._reader is not None:
                return  # who reads now lets go of everything afterwards
            self._reader = threading.get_ident()
        self._let_go()

    def count(self, samples: int) -> int:
        """Frames of an utterance of so many samples."""
        frames = frame_count(samples, self.fps)
        return frames if self.longest is None else min(frames, self.longest)

    # ------------------------------------------------------------- what wings write

    @abstractmethod
    def _hear(self, said: Utterance, samples: Samples, phones: Sequence[Phone] | None) -> Iterator[Piece]:
        """The frames that more speech settles. Begins to work when it is first read."""

    @abstractmethod
    def _end(self, said: Utterance) -> Iterator[Piece]:
        """The utterance's remaining frames; afterwards the wing is ready for another one."""

    def _rest(self, n: int) -> Piece:  # noqa: ARG002
        """The next n frames while nobody speaks; engines that have no such thing leave it out."""
        raise EngineError("this engine has no idle motion")

    def _pass(self, n: int) -> None:
        """The next n frames at rest, unseen; wings that need not draw for it override it."""
        self._rest(n)

    def _begin(self, said: Utterance) -> None:
        """An utterance begins; called before its first `_hear` or `_end` works."""

    def _drop(self, said: Utterance) -> None:
        """The utterance was interrupted after `said.shown` of its frames. Its iterators have
        been closed.
        """

    def _close(self) -> None:
        """Let go of everything. Called once."""

    def _count(self, said: Utterance) -> int:
        """How many frames a whole utterance has."""
        return self.count(said.samples) if said.expected is None else said.expected

    @abstractmethod
    def _piece(self, first: int, made: Piece, utterance: int) -> Product:
        """What callers get of some frames."""

    @abstractmethod
    def _length(self, made: Piece) -> int:
        """How many frames these are."""

    def _told(self, said: Utterance) -> Progress:
        """`progress` for work that belongs to an utterance: it ends with Cancelled when the
        utterance is interrupted.
        """

        def told(what: str, done: int, total: int | None) -> None:
            if said.cut:
                raise Cancelled("the utterance was interrupted")
            self.progress(what, done, total)

        return told

    # ------------------------------------------------------------- the run itself

    def _begun(self, expected: int | None = None) -> Utterance:
        with self._lock:
            self._numbers += 1
            self._said = said = Utterance(self._numbers, expected=expected)
        said.work.append(self._opened(said))
        return said

    def _resting(self, call: str, n: int, make: Callable[[int], Rested]) -> tuple[int, Rested]:
        """n frames at rest, and the first one's place."""
        if n < 1:
            raise EngineError(f"{call}({n}): ask for at least one frame")
        with self._working():
            if self._said is not None:
                raise self._under_way(f"{call}()", "call finish() and read its frames")
            made = make(n)
            first, self._next_frame = self._next_frame, self._next_frame + n
        return first, made

    def _opened(self, said: Utterance) -> Iterator[Piece]:
        self._begin(said)
        return
        yield  # an iterator, so that the wing begins when the first frame is asked for

    def _next(self, said: Utterance) -> Product | None:
        """The next frames of an utterance; None when there are none by now."""
        if said.cut and (self._closed or self._reader is not None):
            return None
        with self._working():
            while said.work and not said.cut:
                try:
                    made = next(said.work[0])
                except StopIteration:
                    said.work.popleft()
                    if not said.work and said.ending:
                        self._over(said)
                except BaseException as error:
                    if said.cut and isinstance(error, Cancelled):
                        break  # `_told` ended the work of an utterance that was interrupted
                    self.interrupt()  # what failed is over; the next utterance may do better
                    raise
                else:
                    with self._lock:
                        if self._said is not said:
                            break
                        first = self._next_frame
                        self._next_frame += self._length(made)
                        said.shown += self._length(made)
                    return self._piece(first, made, said.number)
        return None

    def _over(self, said: Utterance) -> None:
        """All of an utterance's frames are out."""
        with self._lock:
            if self._said is not said:
                return
            self._said = None
        if said.shown != self._count(said):
            raise EngineError(
                f"the engine made {said.shown} frames where {self._count(said)} belong: "
                f"{said.samples} samples at {self.fps} fps",
                hint="this is a fault of the engine: please report it",
            )

    @contextmanager
    def _working(self) -> Iterator[None]:
        """One thread at a time; an interruption that came meanwhile is settled first and last."""
        with self._lock:
            if self._closed:
                raise EngineError("this performance is closed", hint="perform() starts another")
            if self._reader is not None:
                raise EngineError(
                    "frames of this performance are being made already",
                    hint="one thread feeds and reads; only interrupt() may come from any other",
                )
            self._reader = threading.get_ident()
        try:
            self._settle()
            with one_thread():
                yield
            self._settle()
        finally:
            with self._lock:
                closed = self._closed
                if not closed:
                    self._reader = None
            if closed:
                self._let_go()

    def _settle(self) -> None:
        with self._lock:
            said, self._dropped = self._dropped, None
        if said is not None:
            said.close()
            self._drop(said)

    def _let_go(self) -> None:
        self._settle()
        self._close()

    def _under_way(self, call: str, instead: str) -> EngineError:
        return EngineError(
            f"{call} while an utterance is under way", hint=f"{instead} first, or call interrupt()"
        )


class Performance(Run[Frames, Made]):
    """A run that makes pictures: speech, a guide or a motion in, Frames out."""

    size: tuple[int, int]
    """(height, width) of the frames in pixels."""
    shows: frozenset[str] = frozenset()
    """Names of the spaces whose motions `show` takes."""

    def show(self, motion: Motion) -> Stream[Frames]:
        """Frames of a given motion, one each: what `Frames.motion` told gives the same bytes
        again.

        Raises EngineError if this engine shows no motion of that space or rate, and while an
        utterance is under way.
        """
        with self._working():
            if motion.space.name not in self.shows:
                known = ", ".join(sorted(self.shows)) or "none"
                raise EngineError(f"this engine shows no motion in {motion.space.name}; it shows: {known}")
            if motion.fps != self.fps:
                raise EngineError(
                    f"the motion is at {float(motion.fps):g} frames per second, the clip at "
                    f"{float(self.fps):g}",
                    hint=f"--fps {motion.fps}, or Motion.resampled",
                )
            if self._said is not None:
                raise self._under_way("show()", "call finish() and read its frames")
            said = self._begun(expected=len(motion))
            said.work.clear()  # nothing is heard
            said.work.append(self._show(motion))
            said.ending = True
        return Stream(self, said)

    def _show(self, motion: Motion) -> Iterator[Made]:
        """Frames of a motion; wings whose `shows` is not empty write it."""
        raise NotImplementedError

    def _piece(self, first: int, made: Made, utterance: int) -> Frames:
        return Frames(first, made.images, utterance, made.motion)

    def _length(self, made: Made) -> int:
        return len(made.images)


class Movement(Run[Motion, Floats]):
    """A run that makes motion alone: speech or a guide in, Motion out. No portrait takes part,
    so that the motion of one engine can be shown by another.
    """

    space: Space

    def _piece(self, first: int, made: Floats, utterance: int) -> Motion:  # noqa: ARG002
        return Motion(self.space, self.fps, made)

    def _length(self, made: Floats) -> int:
        return len(made)


class Stream(Iterator[Product]):
    """The frames of an utterance that are settled by now.

    utterance: its number, which its frames have too.
    """

    def __init__(self, run: Run[Product, Any], said: Utterance) -> None:
        self._run, self._said, self.utterance = run, said, said.number

    def __next__(self) -> Product:
        if (made := self._run._next(self._said)) is None:
            raise StopIteration
        return made
