"""The promises of engines that follow a guide, one function each, as in `checks`."""

from __future__ import annotations

import threading
from itertools import islice

import numpy as np

from personare.contract.cases import Case, pictures
from personare.contract.checks import Check, refuses, want
from personare.engines.performance import Performance
from personare.types import SAMPLE_RATE, Frames, frame_count


def followed(case: Case) -> None:
    """Without speech, finish() plays the guide: as long as it is, numbered without a gap."""
    performance = case.perform()
    next_frame = 0
    for utterance in (1, 2):
        made = list(performance.finish())
        _want_whole(case, performance, made)
        for frames in made:
            want(frames.first == next_frame, f"frame {frames.first} where {next_frame} belongs")
            want(frames.utterance == utterance, f"utterance {frames.utterance}, not {utterance}")
            want(frames.images.dtype == np.uint8, f"pictures of {frames.images.dtype}")
            want(frames.images.shape[1:] == (*performance.size, 3), f"pictures of {frames.images.shape}")
            next_frame += len(frames)


def followed_alike(case: Case) -> None:
    """Two performances after one guide give the same pictures."""
    first, second = (pictures(case.perform().finish()) for _ in range(2))
    want(np.array_equal(first, second), "two runs of the same give other pictures")


def left(case: Case) -> None:
    """interrupt() leaves the guide at once; followed again, it begins anew."""
    performance = case.perform()
    stream = performance.finish()
    shown = sum(len(frames) for frames in islice(stream, 1))
    performance.interrupt()
    want(not list(stream), "frames of the guide after interrupt()")
    again = list(performance.finish())
    want(again[0].first == shown, f"it goes on at frame {again[0].first}, not at {shown}")
    _want_whole(case, performance, again)


def left_meanwhile(case: Case) -> None:
    """interrupt() from another thread while the guide is watched or shown."""
    performance = case.perform()
    other = threading.Timer(0.05, performance.interrupt)
    other.start()
    list(performance.finish())
    other.join()
    _want_whole(case, performance, list(performance.finish()))


def ended(case: Case) -> None:
    """Nothing but interrupt() and close() after close(); threads have ended."""
    before = set(threading.enumerate())
    performance = case.perform()
    stream = performance.finish()
    next(stream, None)
    performance.close()
    performance.close()
    performance.interrupt()
    want(not list(stream), "frames after close()")
    refuses(performance.finish, "finish() after close()")
    left = [thread.name for thread in set(threading.enumerate()) - before if thread.is_alive()]
    want(not left, f"threads are left: {', '.join(left)}")


def voices(case: Case) -> None:
    """Speech is taken only by engines that say so; what follows a guide alone needs one."""
    if "speech" in case.engine.drives(case.options):
        return
    performance = case.perform()
    refuses(lambda: list(performance.feed(np.zeros(640, np.float32))), "speech")
    _want_whole(case, performance, list(performance.finish()))
    refuses(lambda: case.engine.perform(case.avatar, case.options, store=case.store), "no guide")


def _want_whole(case: Case, performance: Performance, made: list[Frames]) -> None:
    guide = case.guide
    assert guide is not None
    wanted = frame_count(int(guide.frames * SAMPLE_RATE / guide.fps), performance.fps)
    count = sum(map(len, made))
    want(count == wanted, f"{count} frames after {guide.frames} at {guide.fps} a second, not {wanted}")


GUIDED: tuple[Check, ...] = (followed, followed_alike, left, left_meanwhile, ended, voices)
