"""The state machine of a live session, without a clock, a thread or a socket."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from personare.errors import Busy
from personare.serve.live.session import PATIENCE_SECONDS, STARVED_SECONDS, Session, Tick
from personare.serve.live.wire import State
from personare.types import Phone
from tests.unit.live_performances import TICK, Mirror, TurnedClock

PRIME = 5


class Stage:
    """A session, what left of it, what it told."""

    def __init__(self, fps: Fraction = Fraction(25), **given: object) -> None:
        self.performance = Mirror(fps, guided=bool(given.pop("guided", False)))
        self.clock = TurnedClock()
        self.events: list[dict] = []
        self.left: list[Tick] = []
        self.session = Session(
            self.performance,
            prime_seconds=PRIME / 25,
            tell=self.events.append,
            now=self.clock.now,
            **{"sparing": False, **given},
        )

    def play(self, count: int) -> list[Tick]:
        """So many ticks leave."""
        begun = len(self.left)
        while len(self.left) < begun + count:
            tick = self.session.tick()
            self.session.leave(tick, lambda tick=tick: self.left.append(tick))
            self.clock.passes(0.04)
        return self.left[begun:]

    def told(self, *kinds: str) -> list[dict]:
        return [event for event in self.events if event["type"] in kinds]


def voice(ticks: float, level: float = 0.5) -> np.ndarray:
    """Each tick of it has a level of its own."""
    count = round(ticks * TICK)
    return (level + 0.01 * (np.arange(count) // TICK % 40)).astype(np.float32)


def states(ticks: list[Tick]) -> str:
    return "".join("is-"[tick.state] for tick in ticks)


def test_it_idles_speaks_and_idles_again() -> None:
    stage = Stage()
    stage.play(3)
    stage.session.append(voice(8))
    stage.session.commit()
    ticks = stage.play(10)
    assert states(stage.left) == "iii" + "ssssssss" + "ii"
    assert [tick.index for tick in stage.left] == list(range(13))
    spoken = [tick for tick in ticks if tick.state is State.SPEAKING]
    sound = np.concatenate([tick.sound for tick in spoken]) / 32767
    assert np.allclose(sound, voice(8), atol=1e-4)
    assert stage.told("utterance.started")[0]["position_samples"] == 3 * TICK
    assert stage.told("utterance.finished")[0]["position_samples"] == 11 * TICK


@pytest.mark.parametrize("fps", [Fraction(25), Fraction(30000, 1001), Fraction(24)])
def test_a_picture_leaves_with_the_sound_of_its_time(fps: Fraction) -> None:
    """Also at odd rates, after interruptions: the sound is as long as the ticks, to a sample."""
    stage = Stage(fps)
    for _ in range(3):
        stage.session.append(voice(20))
        for tick in stage.play(14):
            if tick.state is State.SPEAKING:
                assert abs(int(tick.image.flat[0]) / 255 - tick.sound[0] / 32767) < 0.012
        stage.session.interrupt()
        stage.play(3)
    heard = sum(len(tick.sound) for tick in stage.left)
    assert heard == stage.session.first_sample(len(stage.left))


def test_nothing_is_fed_before_the_engine_can_answer_at_once() -> None:
    stage = Stage()
    for _ in range(PRIME - 1):
        stage.session.append(voice(1))
        assert states(stage.play(1)) == "i"
    stage.session.append(voice(1))
    assert states(stage.play(1)) == "s"


def test_a_voice_too_short_to_begin_begins_after_a_while() -> None:
    stage = Stage()
    stage.session.append(voice(1))
    waited = int(PATIENCE_SECONDS * 25)
    assert states(stage.play(waited)) == "i" * waited
    stage.clock.passes(0.001)
    assert states(stage.play(2)) == "s-"


def test_starved_means_silence_never_a_skip() -> None:
    stage = Stage()
    stage.session.append(voice(6))
    first = stage.play(10)
    assert states(first) == "ssssss----"
    assert not np.concatenate([tick.sound for tick in first[6:]]).any()
    stage.session.append(voice(6, 0.2))
    stage.session.commit()
    rest = stage.play(14)
    sound = np.concatenate([tick.sound for tick in rest if tick.state is State.SPEAKING]) / 32767
    assert np.allclose(sound[sound > 0], voice(6, 0.2), atol=1e-4)
    assert len(stage.told("utterance.finished")) == 1


def test_an_utterance_that_starves_for_long_ends() -> None:
    stage = Stage()
    stage.session.append(voice(6))
    ticks = stage.play(int(STARVED_SECONDS * 25) + 20)
    assert states(ticks).rstrip("i").count("-") == STARVED_SECONDS * 25
    assert states(ticks).endswith("ii")
    assert [event["interrupted"] for event in stage.told("utterance.finished")] == [False]


def test_interrupt_right_after_the_text_is_not_ignored() -> None:
    """Complaint 3: not one speaking picture, and nothing was started that would have to be
    finished.
    """
    stage = Stage()
    line = stage.session.line()
    assert stage.session.interrupt().utterance is None
    stage.session.put(line, voice(20), None)
    stage.session.end(line)
    assert states(stage.play(5)) == "iiiii"
    assert stage.events == []


def test_a_minute_of_voice_at_once_is_gone_at_an_interrupt() -> None:
    """Complaint 2: the picture that was drawn meanwhile does not leave either."""
    stage = Stage()
    stage.session.append(voice(1500))
    stage.play(10)
    drawn = stage.session.tick()
    interrupted = stage.session.interrupt()
    assert not stage.session.leave(drawn, lambda: pytest.fail("an old picture left"))
    after = stage.play(5)
    assert states(after) == "iiiii"
    assert {tick.generation for tick in after} == {interrupted.generation} == {1}
    assert not np.concatenate([tick.sound for tick in after]).any()
    assert [tick.index for tick in stage.left] == list(range(15))
    assert stage.session.waiting_seconds() == 0


def test_an_interrupt_counts_when_all_voice_has_arrived() -> None:
    """Complaint 14."""
    stage = Stage()
    stage.session.append(voice(30))
    stage.session.commit()
    stage.play(10)
    assert stage.session.interrupt().utterance == "utt_0_1"
    assert states(stage.play(3)) == "iii"
    assert [event["interrupted"] for event in stage.told("utterance.finished")] == [True]


def test_exactly_one_finished_after_its_last_picture_left() -> None:
    """Complaint 13."""
    stage = Stage()
    stage.session.append(voice(8))
    stage.session.commit()
    stage.play(8)
    assert stage.told("utterance.finished") == []
    stage.play(1)
    assert len(stage.told("utterance.finished")) == 1
    stage.session.interrupt()
    stage.play(3)
    assert len(stage.told("utterance.finished")) == len(stage.told("utterance.started")) == 1


def test_500_pieces_are_one_utterance() -> None:
    """Complaint 15."""
    stage = Stage()
    for _ in range(500):
        stage.session.append(voice(0.5))
        if stage.session.waiting_seconds() > 1:
            stage.play(1)
    stage.session.commit()
    stage.play(300)
    assert len(stage.told("utterance.started")) == len(stage.told("utterance.finished")) == 1


def test_utterances_wait_for_their_turn() -> None:
    stage = Stage()
    stage.session.append(voice(8))
    line = stage.session.line()  # commits what is appended
    stage.session.put(line, voice(7), None)
    stage.session.end(line)
    stage.session.append(voice(6))
    stage.session.commit()
    assert states(stage.play(22)) == "s" * 21 + "i"
    assert [event["type"] for event in stage.events] == ["utterance.started", "utterance.finished"] * 3


def test_clear_forgets_what_waits_and_ends_what_is_said() -> None:
    stage = Stage()
    stage.session.append(voice(50))
    stage.session.commit()
    stage.session.append(voice(50))
    stage.play(3)
    stage.session.clear()
    ticks = stage.play(10)
    assert states(ticks) == "ssss" + "iiiiii"  # what the engine had heard: three, and four ahead
    assert [event["interrupted"] for event in stage.told("utterance.finished")] == [False]


def test_voice_for_an_older_generation_is_void() -> None:
    stage = Stage()
    stage.session.interrupt()
    stage.session.append(voice(20), generation=0)
    assert stage.session.waiting_seconds() == 0
    stage.session.append(voice(20), generation=1)
    assert states(stage.play(1)) == "s"


def test_too_much_voice_is_refused() -> None:
    stage = Stage()
    stage.session.append(np.zeros(16000 * 119, np.float32))
    with pytest.raises(Busy, match="120 s"):
        stage.session.append(np.zeros(16000 * 2, np.float32))


def test_voice_at_another_rate_is_as_long() -> None:
    stage = Stage()
    for _ in range(10):
        stage.session.append(np.full(1920, 0.5, np.float32), 48000)
    stage.session.commit()
    ticks = stage.play(12)
    assert states(ticks) == "s" * 10 + "ii"


def test_a_guide_moves_the_face_and_is_heard() -> None:
    stage = Stage(guided=True)
    line = stage.session.line(guided=True)
    stage.session.put(line, voice(10, 0.1), None)
    stage.session.end(line)
    ticks = stage.play(12)
    assert states(ticks) == "s" * 10 + "ii"
    assert {int(tick.image.flat[0]) for tick in ticks[:10]} == {128}
    assert np.allclose(np.concatenate([tick.sound for tick in ticks[:10]]) / 32767, voice(10, 0.1), atol=1e-4)


def test_phones_go_with_their_samples_and_wait_for_late_ones() -> None:
    stage = Stage()
    fed: list[tuple[int, tuple[Phone, ...] | None]] = []
    feed = stage.performance.feed

    def listened(samples, phones=None):
        fed.append((len(samples), phones))
        return feed(samples, phones)

    stage.performance.feed = listened
    line = stage.session.line()
    stage.session.put(line, voice(6), (Phone("m", 0, 700), Phone("a", 700, 6 * TICK)))
    stage.play(7)  # starved from the third tick on
    stage.session.put(line, voice(2), (Phone("p", 6 * TICK + 10, 7 * TICK),))
    stage.session.end(line)
    stage.play(8)
    given = [phone for _, phones in fed for phone in phones]
    late = sum(count for count, phones in fed) - 8 * TICK
    assert [phone.symbol for phone in given] == ["m", "a", "p"]
    assert given[2].start == 6 * TICK + 10 + late
    assert [phones for _, phones in fed[:2]] == [(given[0],), (given[1],)]


def test_at_rest_every_second_picture_is_spared_until_somebody_speaks() -> None:
    stage = Stage(sparing=True)
    ticks = stage.play(65)
    assert all(tick.image is not None for tick in ticks[:25])
    assert sum(tick.image is None for tick in ticks) == 20
    stage.session.append(voice(10))
    assert all(tick.image is not None for tick in stage.play(8))
    stage.session.interrupt()
    assert all(tick.image is not None for tick in stage.play(25))


def test_a_fault_ends_the_utterance_and_not_the_session() -> None:
    stage = Stage()
    stage.performance.fails_at = 3
    stage.session.append(voice(20))
    assert states(stage.play(6)) == "sssiii"
    assert [event["type"] for event in stage.events] == [
        "utterance.started",
        "error",
        "utterance.finished",
    ]
    assert stage.events[-1]["interrupted"]
    stage.performance.fails_at = 10**9
    stage.session.append(voice(20))
    assert states(stage.play(1)) == "s"


def test_two_hours_keep_sound_and_picture_together() -> None:
    """Complaint 4, on a clock that tests turn: the offset is exact after 180 000 ticks."""
    stage = Stage(sparing=True)
    stage.session.index = 180_000
    stage.session.append(voice(20))
    ticks = stage.play(12)
    assert ticks[0].index == 180_000
    assert stage.told("utterance.started")[0]["position_samples"] == 7200 * 16000
    for tick in ticks:
        assert abs(int(tick.image.flat[0]) / 255 - tick.sound[0] / 32767) < 0.012
