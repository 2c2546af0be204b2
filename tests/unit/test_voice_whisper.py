"""Spectra and encoder, where the goldens do not look."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from personare.errors import WeightsMismatch
from personare.voice.whisper import (
    PIECE_SAMPLES,
    EncoderConfig,
    SpeechEncoder,
    encoder_from_state,
    library_name,
    log_mel,
    mirrored,
    normalised,
    piece_mel,
)

pytestmark = pytest.mark.neural

CONFIG = EncoderConfig(width=64, layers=2, heads=1, feed_forward=32)


@pytest.fixture(scope="module")
def encoder() -> SpeechEncoder:
    torch.manual_seed(0)
    made = SpeechEncoder(CONFIG).eval()
    torch.nn.init.normal_(made.encoder.embed_positions.weight, std=0.1)
    return made


def _noise(samples: int) -> np.ndarray:
    return (np.random.default_rng(0).standard_normal(samples) * 0.1).astype(np.float32)


def test_a_piece_is_normalised_by_its_own_peak() -> None:
    samples = _noise(PIECE_SAMPLES)
    mel = piece_mel(samples)
    assert mel.shape == (80, 3000)
    raw = log_mel(mirrored(samples))[:, :-1]
    np.testing.assert_array_equal(mel, normalised(raw, float(raw.max())))
    assert mel.min() >= (raw.max() - 8 + 4) / 4 - 1e-6


def test_spectra_of_a_slice_are_those_of_the_whole() -> None:
    padded = mirrored(_noise(16000))
    whole = log_mel(padded)
    part = log_mel(padded[20 * 160 : 39 * 160 + 400])
    np.testing.assert_array_equal(part, whole[:, 20:40])
    assert log_mel(padded[:399]).shape == (80, 0)


def test_silence_and_single_samples_have_spectra() -> None:
    assert np.isfinite(piece_mel(np.zeros(0, np.float32))).all()
    assert np.isfinite(piece_mel(np.ones(1, np.float32))).all()
    assert log_mel(mirrored(np.ones(1, np.float32))).shape == (80, 1)


def test_hidden_states_are_those_of_the_library(encoder: SpeechEncoder) -> None:
    mel = piece_mel(_noise(3000))
    with torch.inference_mode():
        theirs = encoder.encoder(torch.from_numpy(mel)[None]).last_hidden_state[0].numpy()
    with_norm, without = encoder.hear(mel, final_norm=True), encoder.hear(mel, final_norm=False)
    assert with_norm.shape == (1500, 3, 64)
    np.testing.assert_allclose(with_norm[:, -1], theirs, atol=1e-5)
    np.testing.assert_array_equal(with_norm[:, :-1], without[:, :-1])
    assert np.abs(with_norm[:, -1] - without[:, -1]).max() > 1e-2


def test_both_namings_make_the_same_encoder(encoder: SpeechEncoder) -> None:
    theirs = {f"model.encoder.{name}": tensor for name, tensor in encoder.encoder.state_dict().items()}
    back = {
        "embed_positions.weight": "positional_embedding",
        "layer_norm": "ln_post",
        "self_attn_layer_norm": "attn_ln",
        "final_layer_norm": "mlp_ln",
        "self_attn.q_proj": "attn.query",
        "self_attn.k_proj": "attn.key",
        "self_attn.v_proj": "attn.value",
        "self_attn.out_proj": "attn.out",
        "fc1": "mlp.0",
        "fc2": "mlp.2",
    }
    original = {"decoder.blocks.0.attn.query.weight": torch.zeros(1)}
    for name, tensor in encoder.encoder.state_dict().items():
        new = name.replace("layers.", "blocks.")
        for ours, openai in back.items():
            if (f".{ours}." in new) or new.startswith(f"{ours}.") or new == ours:
                new = new.replace(ours, openai)
                break
        assert library_name(f"encoder.{new}") == name
        original[f"encoder.{new}"] = tensor
    a = encoder_from_state(theirs | {"proj_out.weight": torch.zeros(1)}, CONFIG, "theirs")
    b = encoder_from_state(original, None, "original")
    assert b.config == CONFIG  # read off the shapes
    for name, tensor in a.encoder.state_dict().items():
        assert torch.equal(tensor, b.encoder.state_dict()[name])


def test_another_checkpoint_is_refused() -> None:
    with pytest.raises(WeightsMismatch, match="not a whisper checkpoint"):
        encoder_from_state({"conv1_1.weight": torch.zeros(1)}, None, "s3fd.pth")
