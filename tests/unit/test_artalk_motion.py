"""artalk's motion at tiny size: cut anywhere, from the cache, limited, smoothed, in styles."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from personare.cache.store import FeatureStore
from personare.engines.artalk.motion import MotionMaker, style_token
from personare.engines.artalk.networks.config import ArTalkConfig
from personare.engines.artalk.networks.loading import ArTalkState
from personare.engines.artalk.options import ArTalkOptions
from personare.engines.artalk.performance import ArTalkMovement
from personare.engines.artalk.smoothing import smoothed
from personare.engines.artalk.styles import find_style, style_files
from personare.errors import InvalidOption, UnknownName, UnreadableMedia, WeightsMismatch
from personare.heads.flame_motion import read_flame_motion, write_flame_motion
from personare.motion import FLAME, Motion
from personare.shelf.home import home
from personare.shelf.styles import StyleShelf
from personare.types import frame_count
from personare.weights import resident
from personare.weights.finder import Weights
from tests.conformance.artalk_cases import network
from tests.conformance.artalk_published import bits_of_chunk
from tests.conformance.case import HERE, Replay, read_golden
from tests.conformance.seeded_checkpoint import write_checkpoints

pytestmark = pytest.mark.neural

GOLDEN = read_golden(HERE / "artalk" / "golden_e2e_style.npz")
AUDIO, STYLE = GOLDEN["audio"][0], GOLDEN["style_motion"][0]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("artalk")
    write_checkpoints("artalk", "tiny", folder, only=["artalk"])
    return Weights(folder)


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("PERSONARE_HOME", str(tmp_path / "home"))


def moved(weights, audio=AUDIO, piece=None, store=None, **options):
    movement = ArTalkMovement(ArTalkOptions(device="cpu", **options), weights, store)
    made = []
    for first in range(0, len(audio), piece or len(audio)):
        made += [part.values for part in movement.feed(audio[first : first + (piece or len(audio))])]
    made += [part.values for part in movement.finish()]
    movement.close()
    return np.concatenate(made), movement


def test_it_is_the_published_motion(weights, tmp_path):
    torch.save(torch.from_numpy(STYLE), tmp_path / "style.pt")
    raw, movement = moved(weights, style=str(tmp_path / "style.pt"), smoothing=False)
    golden = GOLDEN["motions"][0]
    assert raw.shape == golden.shape
    np.testing.assert_allclose(raw[:, :104], golden[:, :104], atol=1e-4)
    assert not raw[:, 104:].any()
    made, _ = moved(weights, style=str(tmp_path / "style.pt"))
    expected = smoothed(golden)
    expected[:, 104:] = 0
    np.testing.assert_allclose(made, expected, atol=1e-4)
    assert movement.space is FLAME


@pytest.mark.parametrize("piece", [160, 12800, 4999])
@pytest.mark.parametrize("smoothing", [True, False])
def test_the_cut_of_the_speech_changes_no_bit(weights, piece, smoothing):
    whole, _ = moved(weights, smoothing=smoothing)
    cut, _ = moved(weights, piece=piece, smoothing=smoothing)
    np.testing.assert_array_equal(cut, whole)


@pytest.mark.parametrize("samples", [1, 160, 1600, 5760, 12800, 12801, 25600])
def test_every_length_has_its_frames(weights, samples):
    made, movement = moved(weights, AUDIO[:samples])
    assert len(made) == frame_count(samples, movement.fps)


def test_frames_come_chunk_by_chunk(weights):
    movement = ArTalkMovement(ArTalkOptions(device="cpu"), weights, None)
    assert list(movement.feed(AUDIO[:12799])) == []
    assert sum(map(len, movement.feed(AUDIO[12799:12800]))) == 16  # of 20 frames, 4 wait for the next ones


def test_a_limit_stops_before_computing(weights, tmp_path):
    whole, _ = moved(weights)
    store = FeatureStore(tmp_path / "features")
    for length in (7, 16, 17, 40):
        made, movement = moved(weights, clip_length=length, store=store)
        np.testing.assert_array_equal(made, whole[:length])
        assert movement.count(len(AUDIO)) == length
    shorter, longer = FeatureStore(tmp_path / "short"), FeatureStore(tmp_path / "long")
    moved(weights, clip_length=16, store=shorter)
    moved(weights, clip_length=17, store=longer)
    counts = [len(list(store.entries())) for store in (shorter, longer)]
    assert counts == [3, 5]  # a style; two stages for each chunk


def test_the_head_stays_straight_if_it_is_to(weights):
    whole, _ = moved(weights)
    still, _ = moved(weights, fix_pose=True)
    assert whole[:, 100:103].any()
    assert not still[:, 100:103].any()
    np.testing.assert_array_equal(still[:, :100], whole[:, :100])


def test_published_counts_are_on_demand(weights):
    samples = 7 * 640
    made, _ = moved(weights, AUDIO[:samples], official_frame_count=True)
    assert len(made) == 8
    assert len(moved(weights, AUDIO[:samples])[0]) == 7


def test_the_same_voice_in_the_same_style_needs_no_network(weights, tmp_path):
    store = FeatureStore(tmp_path / "features")
    first, cold = moved(weights, store=store)
    loads = resident.report()
    again, warm = moved(weights, piece=999, store=store, fix_pose=False)
    np.testing.assert_array_equal(again, first)
    assert set(cold.heard.values()) == {"miss"}
    assert warm.heard == {"artalk.style": "hit", "artalk.hear": "hit", "artalk.motion": "hit"}
    assert resident.report() == loads
    StyleShelf(home().styles).add("mine", Motion(FLAME, warm.fps, STYLE))
    _, other = moved(weights, store=store, style="mine")
    assert other.heard == {"artalk.style": "miss", "artalk.hear": "hit", "artalk.motion": "miss"}


def test_utterances_begin_at_rest(weights):
    movement = ArTalkMovement(ArTalkOptions(device="cpu"), weights, None)

    def said():
        return np.concatenate([part.values for part in [*movement.feed(AUDIO), *movement.finish()]])

    first = said()
    next(movement.feed(AUDIO))
    movement.interrupt()
    np.testing.assert_array_equal(said(), first)


def test_styles_are_found_by_name_and_by_file(weights, tmp_path):
    recording = torch.from_numpy(np.random.default_rng(0).normal(size=(300, 214)).astype(np.float32))
    view = recording[40:90, 1:213:2]  # strided, and in the middle of another storage
    published = weights.locate("artalk").folder / "style_motion"
    published.mkdir(exist_ok=True)
    torch.save(view, published / "natural_0.pt")
    assert "natural_0" in style_files(weights)
    found = find_style("natural_0", weights)
    np.testing.assert_array_equal(found.motion, view.numpy())
    shelf = StyleShelf(home().styles)
    shelf.add("natural_0", Motion(FLAME, 25, np.zeros((80, 106), np.float32)), 1.0)
    assert not find_style("natural_0", weights).motion.any()  # the user's own goes first
    with pytest.raises(InvalidOption, match="already"):
        shelf.add("natural_0", Motion(FLAME, 25, np.zeros((80, 106), np.float32)))


@pytest.mark.parametrize(
    ("tensor", "error", "told"),
    [
        (torch.zeros(49, 106), InvalidOption, "49 frames, not 50"),
        (torch.zeros(50, 105), UnreadableMedia, "a tensor \\[50, 105\\]"),
        ({"motion": torch.zeros(50, 106)}, UnreadableMedia, "holds dict"),
        (torch.full((50, 106), float("nan")), UnreadableMedia, "NaN"),
    ],
)
def test_what_is_no_style_is_told(weights, tmp_path, tensor, error, told):
    torch.save(tensor, tmp_path / "style.pt")
    with pytest.raises(error, match=told):
        find_style(str(tmp_path / "style.pt"), weights)


def test_files_that_are_none(weights, tmp_path):
    (tmp_path / "style.pt").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(WeightsMismatch):
        find_style(str(tmp_path / "style.pt"), weights)
    with pytest.raises(UnreadableMedia, match="does not exist"):
        find_style(str(tmp_path / "nothing.pt"), weights)
    with pytest.raises(UnknownName, match="no style named 'lively'"):
        find_style("lively", weights)


def test_a_style_is_cut_where_it_is_asked_for(tmp_path):
    shelf = StyleShelf(tmp_path / "styles")
    values = np.arange(100, dtype=np.float32)[:, None] * np.ones((1, 106), np.float32)
    path = shelf.add("mine", Motion(FLAME, 25, values), 1.2)
    assert shelf.files() == {"mine": path}
    with np.load(path) as arrays:
        np.testing.assert_array_equal(arrays["values"][:, 0], np.arange(30, 80))
    with pytest.raises(UnreadableMedia, match=r"from 3 s on this one has 1.00 s"):
        shelf.add("late", Motion(FLAME, 25, values), 3)
    for name in ("default", "", "a/b", "ä"):
        with pytest.raises(InvalidOption, match="cannot be the name"):
            shelf.add(name, Motion(FLAME, 25, values))


def test_torch_reads_what_is_written(tmp_path):
    values = np.random.default_rng(0).normal(size=(9, 106)).astype(np.float32)
    write_flame_motion(tmp_path / "a.pt", values)
    np.testing.assert_array_equal(torch.load(tmp_path / "a.pt", weights_only=True).numpy(), values)
    np.testing.assert_array_equal(read_flame_motion(tmp_path / "a.pt").values, values)


def test_what_is_kept_gives_the_bits_of_the_published_loop():
    """Prefixes passed again at every scale, against one pass of each token."""
    replay = Replay("artalk", HERE / "artalk", {})
    state = network(replay)
    rng = np.random.default_rng(5)
    transformer, config = state.transformer(), state.config
    style = state.style().token(None)
    for _ in range(3):
        heard = torch.from_numpy(rng.normal(size=(1, config.tokens, config.heard_width)).astype(np.float32))
        remembered = torch.from_numpy(rng.random((1, config.tokens, config.code)) > 0.5)
        with torch.inference_mode():
            plain = bits_of_chunk(state.tensors, config, heard, style, remembered)
            kept = transformer(heard, style, remembered).bits
        assert torch.equal(kept, plain)


def test_several_chunks_are_remembered_oldest_first():
    """A checkpoint that remembers two chunks: their order and both their places count."""
    replay = Replay("artalk", HERE / "artalk", {})
    tensors, one = dict(network(replay).tensors), network(replay).config
    tensors["prev_pos_embed"] = torch.cat([tensors["prev_pos_embed"], 0.5 * tensors["pos_embed"]], 1)
    state = ArTalkState(tensors, replace(one, memory=2), "two")
    transformer, style = state.transformer(), state.style().token(None)
    rng = np.random.default_rng(5)
    remembered = torch.from_numpy(rng.random((2, one.tokens, one.code)) > 0.5)
    with torch.inference_mode():
        memory = transformer.memory(style, remembered)
        turned = transformer.memory(style, remembered.flip(0))
        single = network(replay).transformer().memory(style, remembered[:1])
    assert memory.shape == (1, 2 * one.tokens, one.width)
    torch.testing.assert_close(memory[:, : one.tokens], single)
    assert not torch.equal(memory, turned)
    maker = MotionMaker(transformer, state.codec())
    heard = rng.normal(size=(one.tokens, one.heard_width)).astype(np.float32)
    rest = maker.at_rest()
    assert rest.shape == (2, one.tokens, one.code)
    _, after = maker.chunk(heard, style_token(state.style(), None), rest)
    np.testing.assert_array_equal(after[0], rest[1])
    assert (after[1] != rest[1]).any()


def test_a_config_of_something_else_is_told(tmp_path):
    for text in ("{", "{}", '{"AR_CONFIG": {"AUDIO_ENCODER": "mimi"}, "VAE_CONFIG": {}}'):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(WeightsMismatch, match="does not describe an ARTalk checkpoint"):
            ArTalkConfig.read_file(tmp_path / "config.json")
