"""From sounds to lips: closures, easing, lead and latency."""

import numpy as np
import pytest
from numpy.typing import NDArray

from personare.motion import ARKIT_UNITS
from personare.voice.articulation import CLOSED, LABIODENTAL, OUTPUTS, VOICE, ArticulationFrames
from personare.voice.coarticulation import LOOKAHEAD_FRAMES, Coarticulation, MouthCurves
from personare.voice.contact import Contact
from personare.voice.jaw import Jaw
from personare.voice.visemes import VISEME

JAW, PRESS, PUCKER = (ARKIT_UNITS.index(name) for name in ("jawOpen", "mouthPressLeft", "mouthPucker"))
CLOSE, DIMPLE = ARKIT_UNITS.index("mouthClose"), ARKIT_UNITS.index("mouthDimpleLeft")
LOWER_LIP = ARKIT_UNITS.index("mouthLowerDownLeft")
ROLL, FUNNEL = ARKIT_UNITS.index("mouthRollLower"), ARKIT_UNITS.index("mouthFunnel")


def spoken(*stretches: tuple[str, int], first: int = 0) -> ArticulationFrames:
    """Certain frames: (viseme, frames) one after the other, at a steady level."""
    names = [name for name, n in stretches for _ in range(n)]
    probabilities = np.zeros((len(names), OUTPUTS), np.float32)
    probabilities[range(len(names)), [VISEME[name] for name in names]] = 1
    probabilities[:, VOICE] = [name != "sil" for name in names]
    probabilities[:, CLOSED] = [name == "PP" for name in names]
    probabilities[:, LABIODENTAL] = [name == "FF" for name in names]
    level = np.where([name == "sil" for name in names], -80, -25).astype(np.float32)
    return ArticulationFrames(first, probabilities, level, known=np.zeros(len(names), np.bool_))


def moved(frames: ArticulationFrames, reach: int = 2, expressiveness: float = 1.0) -> NDArray[np.float32]:
    return Coarticulation(reach, expressiveness).push(frames).curves


def opened(curves: NDArray[np.float32]) -> NDArray[np.float32]:
    """How far the jaw parts the lips: where these close over it, not at all."""
    opening = np.maximum(curves[:, JAW] - curves[:, CLOSE], 0)
    opening[opening < 1e-6] = 0  # two float32 weights that are alike but for rounding
    return opening


def test_frames_come_in_order_three_later() -> None:
    mouth = Coarticulation(2, 1.0)
    assert len(mouth.push(spoken(("aa", LOOKAHEAD_FRAMES)))) == 0
    settled = mouth.push(spoken(("aa", 2), first=LOOKAHEAD_FRAMES))
    assert (settled.first, len(settled)) == (0, 2)


def test_pieces_do_not_change_a_bit() -> None:
    speech = spoken(("sil", 10), ("PP", 6), ("aa", 14), ("FF", 5), ("ou", 9), ("SS", 8), ("sil", 60))
    whole = Coarticulation(2, 1.1).push(speech)
    mouth = Coarticulation(2, 1.1)
    parts: list[MouthCurves] = []
    at = 0
    for size in (1, 2, 0, 7, 30, 1, 100):
        parts.append(mouth.push(speech[at : at + size]))
        at += size
    for name in ("curves", "tongue", "loudness", "emphasis"):
        assert (
            np.concatenate([getattr(part, name) for part in parts]).tobytes()
            == getattr(whole, name).tobytes()
        )


def test_vowels_differ_in_jaw_and_rounding() -> None:
    curves = moved(spoken(("sil", 5), ("aa", 30), ("ou", 30), ("ih", 30)))
    aa, ou, ih = curves[25], curves[55], curves[85]
    assert aa[JAW] > 1.8 * max(ou[JAW], ih[JAW])
    assert aa[JAW] < 0.7
    assert ou[PUCKER] > 0.5
    assert max(aa[PUCKER], ih[PUCKER]) < 0.12


def test_lips_meet_for_a_closure_of_two_frames_and_ease_around_it() -> None:
    curves = moved(spoken(("sil", 5), ("aa", 30), ("PP", 2), ("aa", 30)))
    parted = opened(curves)
    assert (parted[35:39] == 0).all()
    assert (curves[35:39, LOWER_LIP] == 0).all()
    assert (curves[33:39, JAW] > 0.15).all()
    assert 0 < parted[34] < parted[33] < parted[32]
    assert 0 < parted[39] < parted[40] < parted[41]
    assert (curves[35:39, PRESS] > 0.09).all()


def test_lips_that_part_for_a_wide_vowel_take_a_tenth_of_a_second() -> None:
    """At once, or in one or two pictures, they snap."""
    jaw = Jaw()
    openings = [jaw.push(0.6, 1.0 if step < 40 else 0.0, 0.0).opening for step in range(60)]
    assert openings[39] == 0
    assert 8 <= np.argmax(np.array(openings[40:]) > 0.9 * 0.6) <= 12
    assert np.diff(openings).max() < 0.061


def test_at_high_frame_rates_lips_ease_into_a_closure_too() -> None:
    parted = opened(moved(spoken(("sil", 5), ("aa", 30), ("PP", 4), ("aa", 30)), reach=1))
    assert (parted[35:40] == 0).all()
    assert 0 < parted[34] < 0.6 * parted[31]


def test_one_stray_frame_is_not_a_closure() -> None:
    speech = spoken(("sil", 5), ("aa", 60))
    speech.probabilities[35, CLOSED] = 1
    assert moved(speech)[30:40, JAW].min() > 0.3


def test_the_lip_goes_to_the_teeth() -> None:
    curves = moved(spoken(("sil", 5), ("aa", 30), ("FF", 6), ("aa", 30)))
    assert opened(curves)[37] == pytest.approx(0.05)
    assert curves[37, ROLL] == pytest.approx(0.45)


def test_expressiveness_scales_all_but_contacts() -> None:
    speech = spoken(("sil", 5), ("oh", 30), ("PP", 4), ("oh", 30), ("FF", 6), ("oh", 20))
    calm, lively = moved(speech, expressiveness=1.0), moved(speech, expressiveness=1.2)
    assert lively[25, [JAW, FUNNEL]] == pytest.approx(1.2 * calm[25, [JAW, FUNNEL]], rel=0.05)
    closed = opened(calm) == 0
    assert (opened(lively[closed]) == 0).all()
    assert (lively[closed][:, FUNNEL] == 0).all()
    assert lively[36, PRESS] == calm[36, PRESS] > 0.09
    assert lively[71, ROLL] == pytest.approx(calm[71, ROLL])


def test_no_expressiveness_dislocates_the_jaw() -> None:
    assert 0.5 < moved(spoken(("sil", 5), ("aa", 30)), expressiveness=1.5)[:, JAW].max() <= 0.76


def test_quiet_syllables_open_the_jaw_less() -> None:
    speech = spoken(("sil", 5), ("aa", 200))
    speech.level_dbfs[100:130] -= 20
    jaw = moved(speech)[:, JAW]
    assert 0.1 < jaw[115:130].min() < 0.85 * jaw[90]
    assert jaw[190] > 0.9 * jaw[90]


def test_a_voice_of_which_the_network_is_unsure_still_opens_the_mouth() -> None:
    """Posteriors spread over three classes would leave every vowel half open."""
    unsure = spoken(("sil", 5), ("aa", 400))
    unsure.probabilities[5:, VISEME["aa"]] = 0.2
    unsure.probabilities[5:, [VISEME["nn"], VISEME["ih"]]] = 0.4
    curves = moved(unsure)
    early, late = (
        curves[at, JAW] / curves[at, LOWER_LIP] for at in (40, 380)
    )  # the lip follows loudness alone
    assert late > 1.2 * early


def test_a_long_pause_is_exactly_still() -> None:
    curves = moved(spoken(("sil", 30), ("aa", 30), ("sil", 150)))
    assert not curves[:20].any()
    assert curves[55, JAW] > 0.3
    assert opened(curves)[60 + 25 : 60 + 65].min() > 0.005
    assert not curves[60 + 110 :].any()
    steps = np.abs(np.diff(curves[:, JAW]))
    assert steps.max() < 0.25


def test_only_jaw_and_mouth_move_and_weights_are_weights() -> None:
    speech = spoken(*[(name, 9) for name in VISEME], ("aa", 9), ("PP", 3), ("ou", 9))
    curves = moved(speech, expressiveness=1.5)
    others = [i for i, name in enumerate(ARKIT_UNITS) if not name.startswith(("jaw", "mouth"))]
    assert not curves[:, others].any()
    assert curves.min() >= 0
    assert curves.max() <= 1


@pytest.mark.parametrize("reach", [1, 2])
def test_a_contact_is_held_by_its_reach(reach: int) -> None:
    contact = Contact(0.5, 0.62, reach)
    likely = [0.0] * 10 + [0.9, 0.9] + [0.0] * 15
    values = [contact.push(p) for p in likely][LOOKAHEAD_FRAMES:]
    full = [t for t, value in enumerate(values) if value == 1]
    assert full == list(range(10, 12 + reach))
    assert values[-1] == 0
