"""wav2vec2 in parts: slabs are the whole, both spellings of its file load, features fall where
frames are.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from personare.errors import WeightsMismatch
from personare.voice import wav2vec2
from personare.voice.wav2vec2 import normalised, read_sizes, speech_features
from tests.unit.float_networks import classifier, ears, noise, replay

pytestmark = pytest.mark.neural


@pytest.fixture
def audio():
    return torch.from_numpy(normalised(noise(9000)))[None]


def test_the_normalised_voice_has_no_mean_and_unit_variance():
    voice = normalised(3 + 0.01 * noise(5000))
    assert abs(voice.mean()) < 1e-5
    assert abs(voice.std() - 1) < 1e-3  # the epsilon under the root
    assert (normalised(np.zeros(10, np.float32)) == 0).all()


@pytest.mark.parametrize("network", [lambda: ears()[0], lambda: classifier().features])
def test_slabs_are_the_librarys_whole(network, audio, monkeypatch):
    features = network()
    with torch.inference_mode():
        whole = features.network.feature_extractor(audio).transpose(1, 2)
        monkeypatch.setattr(wav2vec2, "_SLAB_FEATURES", 7)
        assert features.convolved(audio).shape == whole.shape == (1, features.count(9000), 16)
        assert (features.convolved(audio) - whole).abs().max() < 2e-5
        assert (features.convolved(audio, 5, 17) - whole[:, 5:17]).abs().max() < 2e-5


def test_feed_forward_in_slabs_is_the_whole(audio, monkeypatch):
    features = ears()[0]
    with torch.inference_mode():
        heard = features.convolved(audio)
        whole = features.encode(heard)
        monkeypatch.setattr(wav2vec2, "_SLAB_TOKENS", 5)
        assert (features.encode(heard) - whole).abs().max() < 1e-6


def test_the_encoder_is_the_librarys(audio):
    features = ears()[0]
    with torch.inference_mode():
        expected = features.network(audio).last_hidden_state
        assert (features.encode(features.convolved(audio)) - expected).abs().max() < 2e-5


@pytest.mark.parametrize("frames", [1, 2, 14, 28, 60])
def test_first_and_last_frame_fall_on_first_and_last_feature(frames, audio):
    features = ears()[0]
    with torch.inference_mode():
        heard = features.at_frames(audio, frames)
        whole = features.convolved(audio)
        expected = functional.interpolate(
            whole.transpose(1, 2), size=frames, mode="linear", align_corners=True
        ).transpose(1, 2)
        assert (heard - expected).abs().max() < 2e-5
        assert (features.at_frames(audio, frames, frames // 2) - heard[:, frames // 2 :]).abs().max() < 1e-6


def test_the_counts_of_features():
    features = ears()[0]
    assert (features.reach, features.stride) == (400, 320)
    assert [features.count(n) for n in (0, 399, 400, 719, 720, 16000)] == [0, 0, 1, 1, 2, 49]


@pytest.mark.parametrize("spelling", ["old", "bare", "with a head"])
def test_other_spellings_of_the_file_are_the_same_network(spelling, audio):
    state = replay().state("wav2vec2")
    if spelling == "old":
        new_to_old = {
            "parametrizations.weight.original0": "weight_g",
            "parametrizations.weight.original1": "weight_v",
        }
        for new, old in new_to_old.items():
            state = {name.replace(new, old): tensor for name, tensor in state.items()}
        assert "wav2vec2.encoder.pos_conv_embed.conv.weight_g" in state
    elif spelling == "bare":
        state = {
            name.removeprefix("wav2vec2."): tensor
            for name, tensor in state.items()
            if name.startswith("wav2vec2.")
        }
    else:
        state |= {"wav2vec2.masked_spec_embed": torch.ones(32), "projector.weight": torch.ones(2, 2)}
    other = speech_features(state, replay().config("wav2vec2"))
    with torch.inference_mode():
        assert torch.equal(other.encode(other.convolved(audio)), ears()[0].encode(ears()[0].convolved(audio)))


def test_a_file_without_a_layer_is_refused():
    state = replay().state("wav2vec2")
    del state["wav2vec2.encoder.layers.1.attention.k_proj.weight"]
    with pytest.raises(WeightsMismatch, match=r"layers\.1\.attention\.k_proj\.weight"):
        speech_features(state, replay().config("wav2vec2"))


def test_what_newer_libraries_refuse_is_not_handed_on(tmp_path):
    """The published program set output_attentions in the file, which sdpa refuses."""
    (tmp_path / "config.json").write_text(
        '{"hidden_size": 32, "output_attentions": true, "attn_implementation": "eager"}'
    )
    assert read_sizes(tmp_path / "config.json") == {"hidden_size": 32}
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(WeightsMismatch, match="damaged"):
        read_sizes(tmp_path / "config.json")


def test_the_classifier_in_windows_is_close_and_in_one_window_exact(audio):
    with torch.inference_mode():
        whole = classifier().logits(audio)
        assert torch.equal(classifier().logits(audio, window=1000), whole)
        assert 0 < (classifier().logits(audio, window=9) - whole).abs().max() < 0.5
    with pytest.raises(ValueError, match="fewer than the 400"):
        classifier().logits(audio[:, :399])
