"""artalk: each golden name and the function that replays it. Tolerances are those of
artalk/README.md, or tighter where a fault would hide in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import torch

from personare.engines.artalk import drive
from personare.engines.artalk.motion import MotionMaker, style_token
from personare.engines.artalk.networks.autoregressive import Block
from personare.engines.artalk.networks.config import FRAME_SAMPLES, ArTalkConfig
from personare.engines.artalk.networks.loading import ArTalkState
from personare.engines.artalk.smoothing import StreamSmoother, finished, smoothed
from personare.heads.flame import FlameHead, rotation
from personare.heads.flame_mesh import MeshPicture
from personare.types import frame_count
from tests.conformance.artalk_avatar import CASES as AVATAR_CASES
from tests.conformance.artalk_avatar import standin as standin
from tests.conformance.artalk_layout import constants
from tests.conformance.case import EXACT, Arrays, Case, Replay, Tolerance


def network(replay: Replay) -> ArTalkState:
    """The seeded ARTalk_wav2vec.pt."""
    state = replay.state("artalk") | {name: torch.from_numpy(array) for name, array in constants().items()}
    return ArTalkState(state, ArTalkConfig.read(replay.config("artalk")), "the golden")


def _tensors(replay: Replay, *names: str) -> list[torch.Tensor]:
    return [torch.from_numpy(replay.arrays[name]) for name in names]


def _audio_encoder(replay: Replay) -> Arrays:
    state = network(replay)
    features = state.hearing()
    chunk = replay.arrays["audio"][0]
    audio = torch.from_numpy(drive.normalised(chunk))[None]
    with torch.inference_mode():
        return {
            "normalized_head": audio[:, :32].numpy(),
            "conv_features": features.convolved(audio).numpy(),
            "features": drive.encode(features, audio).numpy(),
            "pooled": drive.heard_at_scales(features, state.config, chunk)[None],
        }


def _style(replay: Replay) -> Arrays:
    encoder = network(replay).style()
    (motion,) = _tensors(replay, "style_motion")
    with torch.inference_mode():
        return {
            "style_feature": encoder.feature(motion).numpy(),
            "style_condition": encoder.token(motion).numpy(),
            "null_condition": encoder.token(None).numpy(),
        }


def _vae_encode(replay: Replay) -> Arrays:
    codec = network(replay).codec()
    before, this = _tensors(replay, "prev_motion", "this_motion")
    with torch.inference_mode():
        alone, pair = codec.encode(before), codec.encode(torch.cat([before, this], 1))
        bits, total = codec.quantiser.bits(alone)
        return {
            "latent_single": alone.numpy(),
            "latent_pair": pair.numpy(),
            "bits_prev": bits.numpy(),
            "bits_this": codec.quantiser.bits(pair[:, codec.config.frames :])[0].numpy(),
            "quantized_sum": total.numpy(),
            "zero_motion_bits": codec.bits(torch.zeros_like(before)).numpy(),
        }


def _bsq(replay: Replay) -> Arrays:
    quantiser, (latent,) = network(replay).codec().quantiser, _tensors(replay, "latent")
    bits, total = quantiser.bits(latent)
    inputs = quantiser.next_inputs(bits)
    ends = np.cumsum(quantiser.config.scales[1:])
    after = {f"ar_feat_after_{level}": inputs[:, :end].numpy() for level, end in enumerate(ends)}
    return {
        "bits": bits.numpy(),
        "quantized_sum": total.numpy(),
        "feat_full": quantiser.latents(bits).numpy(),
        "feat_multi_scale": inputs.numpy(),
        **after,
    }


def _vae_decode(replay: Replay) -> Arrays:
    codec = network(replay).codec()
    before, this = (bits.bool() for bits in _tensors(replay, "bits_prev", "bits_this"))
    frames = codec.config.frames
    with torch.inference_mode():
        latents = [codec.quantiser.latents(bits) for bits in (before, this)]
        motion = codec.decode(before, this).numpy()
    return {
        "decoder_input": torch.cat(latents, 1).numpy(),
        "motion_prev": motion[:, :frames],
        "motion_this": motion[:, frames:],
    }


def _ar_block(replay: Replay) -> Arrays:
    transformer = network(replay).transformer()
    block, config = transformer.attn_blocks[0], transformer.config
    assert isinstance(block, Block)
    feat, before, heard = _tensors(replay, "feat", "prev", "cond")
    with torch.inference_mode():
        modulation, lookback = block.modulation(heard), block.lookback(before, config.tokens)
        parts = [block(feat[:, span], modulation[:, span], lookback) for span in config.spans]
        made = torch.cat(parts, 1)
        logits = transformer.logits(made, transformer.cond_logits_head.ada_lin(heard))
    return {
        "out_prefix3": torch.cat(parts[:3], 1).numpy(),
        "out_all": made.numpy(),
        "logits_all": logits.flatten(-2).numpy(),
    }


def _e2e(replay: Replay) -> Arrays:
    state, given = network(replay), replay.arrays
    config, features = state.config, state.hearing()
    maker = MotionMaker(state.transformer(), state.codec())
    style = style_token(state.style(), given["style_motion"][0] if "style_motion" in given else None)
    audio, remembered = given["audio"][0], maker.at_rest()
    frames = frame_count(len(audio), 25)
    chunks = -(-frames // config.frames)
    padded = np.pad(audio, (0, chunks * config.samples - len(audio)))
    bits, logits, motions = [], [], []
    for chunk in padded.reshape(chunks, -1):
        heard = drive.heard_at_scales(features, config, chunk)
        generated = maker.generated(heard, style, remembered)
        motion, remembered = maker.chunk(heard, style, remembered)
        bits.append(generated.bits.numpy())
        logits.append(generated.logits.flatten(-2).numpy())
        motions.append(motion)
    # Bits first: motions of other bits need not be compared.
    return {
        "bits": np.concatenate(bits),
        "logits_last_level": np.concatenate(logits),
        "motions": np.concatenate(motions)[None, :frames],
    }


def _smoothing(replay: Replay) -> Arrays:
    motions = replay.arrays["motions"]
    smoother, made, at = StreamSmoother(), [], 0
    for step in replay.arrays["stream_feed_steps"]:
        if at < len(motions):
            made.append(smoother.push(motions[at : at + step]))
            at += int(step)
    made.append(smoother.finish())
    whole = smoothed(motions)
    np.testing.assert_array_equal(np.concatenate(made), whole)
    return {
        "smoothed": whole,
        "final": finished(whole, fix_pose=False),
        "final_fix_pose_clip20": finished(whole[:20], fix_pose=True),
        "stream_emitted": np.array([len(part) for part in made]),
        **{f"smoothed_first{n}": smoothed(motions[:n]) for n in (9, 10, 13)},
    }


def _frame_counts(replay: Replay) -> Arrays:
    frames = np.array([drive.official_frames(int(samples)) for samples in replay.arrays["samples"]])
    return {
        "frames": frames,
        "chunks": -(-frames // ArTalkConfig().frames),
        "audio_kept": frames * FRAME_SAMPLES,
    }


def _flame(replay: Replay) -> Arrays:
    shape, motions = replay.arrays["shape"][0], replay.arrays["motions"]

    def vertices(turned: bool, scale: float = 1.0) -> np.ndarray:
        head = FlameHead(standin(), shape, scale)
        return np.stack(
            [head.vertices(row[:100], row[100:103] if turned else None, row[103:106]) for row in motions]
        )

    whole = vertices(True)
    return {
        "verts_every_41": whole[:, ::41],
        "verts_mean": whole.mean(1),
        "verts_std": whole.std(1, ddof=1),
        "verts_local_every_41": vertices(False)[:, ::41],
        "verts_scale5_every_41": vertices(False, 5.0)[:, ::41],
        "rodrigues_out": np.stack([rotation(turn) for turn in replay.arrays["rodrigues_in"]]),
    }


def _mesh_render(replay: Replay) -> Arrays:
    given, model = replay.arrays, standin()
    head, size = FlameHead(model, given["shape"][0]), int(given["image_size"])
    picture = MeshPicture(model.faces, len(model.template), size)
    made = np.stack(
        [
            picture.colours(head.vertices(row[:100], row[100:103], row[103:106])).transpose(2, 0, 1)
            for row in given["motions"]
        ]
    )
    return {
        "images": np.rint(made),
        "alpha": (made != 255).any(1),
        "image0_float_center": made[0][:, 40:56, 40:56],
    }


_case = partial(Case, components=("artalk",))
_bits_first = {"bits": EXACT, "logits_last_level": Tolerance(2e-5), "motions": Tolerance(1e-4)}

CASES: Mapping[str, Case] = {
    **AVATAR_CASES,
    "audio_encoder": _case(_audio_encoder, {".*": Tolerance(1e-5)}, inputs=("audio",)),
    "style": _case(_style, {".*": Tolerance(1e-5)}, inputs=("style_motion",)),
    "vae_encode": _case(
        _vae_encode,
        {".*bits.*": EXACT, ".*": Tolerance(1e-5)},
        inputs=("prev_motion", "this_motion"),
    ),
    "bsq": _case(_bsq, {"bits": EXACT, ".*": Tolerance(1e-5)}, inputs=("latent",)),
    "vae_decode": _case(_vae_decode, {".*": Tolerance(1e-5)}, inputs=("bits_prev", "bits_this")),
    # Which columns are seen shows in the numbers: scales are passed one after another.
    "ar_block": _case(_ar_block, {".*": Tolerance(1e-5)}, inputs=("feat", "prev", "cond", "mask_finite")),
    "e2e_style": _case(_e2e, _bits_first, inputs=("audio", "style_motion")),
    "e2e_default": _case(_e2e, _bits_first, inputs=("audio",)),
    "smoothing": Case(
        _smoothing,
        {"stream_emitted": EXACT, ".*": Tolerance(1e-5)},
        # Published, fewer frames than a window raise; here they stay as they are.
        inputs=("motions", "stream_feed_steps", "short8_raises"),
    ),
    "flame": Case(_flame, {".*": Tolerance(1e-5)}, inputs=("shape", "motions", "rodrigues_in")),
    "mesh_render": Case(
        _mesh_render,
        {"alpha": EXACT, "images": Tolerance(1), ".*": Tolerance(1e-3)},
        inputs=("shape", "motions", "image_size"),
    ),
    "frame_counts": Case(_frame_counts, {".*": EXACT}, inputs=("samples",)),
}
