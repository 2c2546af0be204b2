"""One function per promise of an engine. Each takes a Case and raises Broken with what went
wrong.
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable
from itertools import islice

import numpy as np

from personare.cache.recipe import Sources
from personare.cache.run import inputs_of
from personare.contract.cases import Case, pictures, spoken
from personare.engines.performance import Performance
from personare.errors import EngineError, UnusableSpeech
from personare.motion import Motion
from personare.types import SAMPLE_RATE, Frames, frame_count

Check = Callable[[Case], None]

_SLOWEST_SECONDS = 300.0
"""An interruption that has not ended a run by then never will."""


class Broken(AssertionError):
    """The engine does not keep its promise."""


def cuts(case: Case) -> None:
    """The cut of the speech into pieces changes nothing."""
    whole = pictures(spoken(case.perform(), case.voice))
    for length in (SAMPLE_RATE // 50, 1777):
        made = pictures(spoken(case.perform(), case.voice, length))
        want(len(made) == len(whole), f"{len(made)} frames in pieces of {length}, {len(whole)} at once")
        if case.engine.exact_streaming:
            want(np.array_equal(made, whole), f"pieces of {length} samples give other pictures")


def counts(case: Case) -> None:
    """An utterance has ceil(samples * fps / 16000) frames, numbered without a gap."""
    performance = case.perform()
    next_frame = 0
    for samples in (1, 640, 641, 3201, len(case.voice)):
        made = spoken(performance, case.voice[:samples])
        wanted = frame_count(samples, performance.fps)
        want(
            sum(map(len, made)) == wanted, f"{sum(map(len, made))} frames of {samples} samples, not {wanted}"
        )
        for frames in made:
            want(frames.first == next_frame, f"frame {frames.first} where {next_frame} belongs")
            next_frame += len(frames)
    want(list(performance.feed(np.zeros(0, np.float32))) == [], "frames of no speech")
    want(list(performance.finish()) == [], "frames of an utterance without speech")
    want(list(performance.finish()) == [], "frames after the end")


def shapes(case: Case) -> None:
    """Frames are uint8 [n, height, width, 3] and the caller's to keep; motion has its width."""
    performance = case.perform()
    kept: list[tuple[Frames, bytes]] = []
    for frames in spoken(performance, case.voice, 4000):
        want(frames.images.dtype == np.uint8, f"pictures of {frames.images.dtype}")
        want(frames.images.shape[1:] == (*performance.size, 3), f"pictures of {frames.images.shape}")
        want(frames.utterance == 1, f"utterance {frames.utterance}, not 1")
        if case.engine.moves is not None and frames.motion is not None:
            expected = (len(frames), case.engine.moves.width)
            want(frames.motion.shape == expected, f"motion of {frames.motion.shape}, not {expected}")
        kept.append((frames, frames.images.tobytes()))
    want(all(frames.images.tobytes() == was for frames, was in kept), "a picture changed after it was given")


def idles(case: Case) -> None:
    """Idle frames continue the timeline before, between and after utterances."""
    if not case.engine.idles:
        refuses(lambda: case.perform().idle(1), "idle() of an engine that says it has none")
        return
    performance = case.perform()
    before = performance.idle(2)
    said = spoken(performance, case.voice[:8000])
    after = performance.idle(3)
    want(before.first == 0, f"the first frame is {before.first}")
    want(before.utterance == after.utterance == 0, "idle frames of an utterance")
    want(len(before) == 2 and len(after) == 3, "another number of idle frames than asked for")
    want(after.first == 2 + sum(map(len, said)), f"idle goes on at {after.first}")
    refuses(lambda: performance.idle(0), "idle(0)")
    other = case.perform()
    other.skip(1)
    seen = other.idle(1)
    want(seen.first == 1, f"after one frame that was skipped comes {seen.first}")
    want(np.array_equal(seen.images[0], before.images[1]), "a skipped frame changes what comes after it")
    list(performance.feed(case.voice[:2000]))
    refuses(lambda: performance.idle(1), "idle() while an utterance is under way")


def unread(case: Case) -> None:
    """What is left unread comes with the next call; an iterator that is dropped loses nothing."""
    whole = pictures(spoken(case.perform(), case.voice))
    performance = case.perform()
    performance.feed(case.voice[:5000])  # never read
    some = performance.feed(case.voice[5000:])
    read = list(islice(some, 2))
    del some
    made = pictures([*read, *performance.finish()])
    want(len(made) == len(whole), f"{len(made)} frames where {len(whole)} belong")
    if case.engine.exact_streaming:
        want(np.array_equal(made, whole), "other pictures after iterators were left unread")


def buffers(case: Case) -> None:
    """The caller may reuse his buffer as soon as feed() has returned."""
    whole = pictures(spoken(case.perform(), case.voice[:6000]))
    performance, buffer = case.perform(), case.voice[:6000].copy()
    frames = performance.feed(buffer)
    buffer[:] = 0.7
    made = pictures([*frames, *performance.finish()])
    want(np.array_equal(made, whole), "a buffer that was reused is heard")


def exceptions(case: Case) -> None:
    """An exception in the consumer does not hurt the performance."""
    performance = case.perform()
    try:
        for _ in [*performance.feed(case.voice), *performance.finish()]:
            raise KeyError("the consumer's own")
    except KeyError:
        pass
    performance.interrupt()
    made = spoken(performance, case.voice[:8000])
    want(sum(map(len, made)) == frame_count(8000, performance.fps), "it does not speak again")


def refusals(case: Case) -> None:
    """Speech that is none is refused before anything happens, and the next utterance works."""
    performance = case.perform()
    refuses(lambda: performance.feed(np.zeros((10, 2), np.float32)), "speech of two dimensions")
    for value in (np.nan, np.inf):
        try:
            performance.feed(np.array([0, value], np.float32))
        except UnusableSpeech:
            continue
        raise Broken(f"speech with {value} is taken")
    made = spoken(performance, case.voice[:4000])
    want(sum(map(len, made)) == frame_count(4000, performance.fps), "it does not speak after a refusal")


def closing(case: Case) -> None:
    """After close() nothing works but interrupt() and close(); threads have ended."""
    before = set(threading.enumerate())
    performance = case.perform()
    frames = performance.feed(case.voice)
    next(frames, None)
    performance.close()
    performance.close()
    performance.interrupt()
    want(list(frames) == [], "frames after close()")
    refuses(lambda: performance.feed(case.voice), "feed() after close()")
    refuses(performance.finish, "finish() after close()")
    refuses(lambda: performance.idle(1), "idle() after close()")
    left = [thread.name for thread in set(threading.enumerate()) - before if thread.is_alive()]
    want(not left, f"threads are left: {', '.join(left)}")


def interruptions(case: Case) -> None:
    """interrupt() from another thread, at any moment: no frame of the old utterance after it."""
    rng = random.Random(4)
    performance = case.perform()
    spoken(performance, case.voice[:1600])  # networks are loaded
    began = time.perf_counter()
    spoken(performance, case.voice)
    lasts = time.perf_counter() - began
    for _ in range(6):
        _interrupted_once(performance, case, rng.random() * lasts)
    made = spoken(performance, case.voice[:8000])
    want(sum(map(len, made)) == frame_count(8000, performance.fps), "it does not speak again")


def _interrupted_once(performance: Performance, case: Case, after: float) -> None:
    """Read an utterance while another thread interrupts it."""
    failed: list[BaseException] = []
    ended, returned = threading.Event(), threading.Event()

    def interrupt() -> None:
        ended.wait(after)
        try:
            performance.interrupt()
        except BaseException as error:
            failed.append(error)
        returned.set()

    other = threading.Thread(target=interrupt)
    other.start()
    stale = 0
    for speech in (case.voice, None):
        if returned.is_set():
            break  # what would begin now is another utterance
        stream = performance.finish() if speech is None else performance.feed(speech)
        while True:
            was_over = returned.is_set()
            if next(stream, None) is None:
                break
            stale += was_over
    ended.set()
    other.join(_SLOWEST_SECONDS)
    want(not other.is_alive(), "interrupt() does not return")
    want(not failed, f"interrupt() raised {failed[:1]}")
    want(not stale, f"{stale} frames of the old utterance came after interrupt() had returned")
    performance.interrupt()
    if case.engine.idles:
        first = performance.idle(1).first
        want(performance.idle(1).first == first + 1, "the timeline has a gap after an interruption")


def resumption(case: Case) -> None:
    """What comes after an interruption goes on where the last frame that was given ended."""
    performance = case.perform()
    streams = [performance.feed(case.voice)]
    made = list(islice(streams[0], 3))
    if not made:  # the engine hears the whole speech first
        streams.append(performance.finish())
        made = list(islice(streams[1], 3))
    performance.interrupt()
    want(not any(map(list, streams)), "frames of the old utterance after interrupt()")
    shown = sum(map(len, made))
    again = spoken(performance, case.voice[:8000])
    want(again[0].first == shown, f"the next utterance begins at {again[0].first}, not at {shown}")
    want(again[0].utterance == 2, f"utterance {again[0].utterance}, not 2")


def latency(case: Case) -> None:
    """Frames come no later than declared."""
    declared = case.engine.latency(case.options)
    performance = case.perform()
    made = fed = 0
    for start in range(0, len(case.voice), 320):
        made += sum(len(frames) for frames in performance.feed(case.voice[start : start + 320]))
        fed = min(start + 320, len(case.voice))
        heard = fed / SAMPLE_RATE
        due = 0 if math.isinf(declared.floor_seconds) else (heard - declared.floor_seconds) * performance.fps
        want(made >= int(due), f"{made} frames after {heard:.2f} s, {int(due)} are due")
    want(declared.chunk_seconds > 0 and declared.lookahead_seconds >= 0, f"a latency of {declared}")


def motion(case: Case) -> None:
    """What Frames.motion tells gives the same pictures again, where the engine shows its space."""
    moves = case.engine.moves
    if moves is None or moves.name not in case.engine.shows:
        return
    performance = case.perform()
    made = spoken(performance, case.voice)
    told = np.concatenate([frames.motion for frames in made if frames.motion is not None])
    want(len(told) == sum(map(len, made)), "frames without motion")
    shown = pictures(case.perform().show(Motion(moves, performance.fps, told)))
    want(np.array_equal(shown, pictures(made)), "shown again, the motion gives other pictures")


def movement(case: Case) -> None:
    """Motion alone is counted as frames are, and lies in the space that the engine moves."""
    if case.engine.moves is None:
        refuses(lambda: case.engine.move(case.options), "move() of an engine that makes no motion")
        return
    run = case.engine.move(case.options)
    made = [*run.feed(case.voice), *run.finish()]
    run.close()
    want(sum(map(len, made)) == frame_count(len(case.voice), run.fps), "another count than frames have")
    want(all(part.space == case.engine.moves for part in made), "motion of another space")


def repetition(case: Case) -> None:
    """Two performances of one avatar, side by side, give the same pictures."""
    one, other = case.perform(), case.perform()
    half = len(case.voice) // 2
    first = list(one.feed(case.voice[:half]))
    second = spoken(other, case.voice)
    first += [*one.feed(case.voice[half:]), *one.finish()]
    want(len(pictures(first)) == len(pictures(second)), "another number of frames")
    if case.engine.exact_streaming:
        want(np.array_equal(pictures(first), pictures(second)), "two runs of the same give other pictures")


def forms(case: Case) -> None:
    """What a stage makes has the form that it declares: else nothing of it is ever taken from a
    remote or an archive.
    """
    sources: Sources = {"portrait": case.avatar.portrait_file}
    for stage in case.engine.recipe(case.options).within("portrait").stages:
        if stage.form is not None:
            misfit = stage.misfit(
                inputs_of(stage, sources, case.avatar.features), case.avatar.features[stage.name]
            )
            want(not misfit, f"{stage.name}: {misfit}")


EVERY: tuple[Check, ...] = (forms, idles, movement)
"""What engines keep that no voice moves."""

CHECKS: tuple[Check, ...] = (
    forms,
    counts,
    cuts,
    shapes,
    idles,
    unread,
    buffers,
    exceptions,
    refusals,
    closing,
    interruptions,
    resumption,
    latency,
    motion,
    movement,
    repetition,
)


def want(kept: bool, otherwise: str) -> None:
    """Raises Broken unless the promise is kept."""
    if not kept:
        raise Broken(otherwise)


def refuses(call: Callable[[], object], what: str) -> None:
    """Raises Broken unless the call raises EngineError."""
    try:
        call()
    except EngineError:
        return
    raise Broken(f"{what} is taken")
