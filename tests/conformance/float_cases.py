"""float: each golden name and the function that replays it. Tolerances are those of
float/README.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from functools import partial

import numpy as np
import torch

from personare.engines.float import drive, prepare
from personare.engines.float.motion import Continuation, Guidance, MotionSampler
from personare.engines.float.networks.config import FloatConfig
from personare.engines.float.networks.loading import FloatState
from personare.engines.float.networks.transformer import attention_band, position_table, time_embedding
from personare.engines.float.render import FrameDecoder, to_bytes
from personare.media.audio import speech_from_samples
from personare.perception.s3fd import candidates, s3fd_from_state, surviving
from personare.types import frame_count
from personare.voice.wav2vec2 import (
    EMOTIONS,
    EmotionClassifier,
    SpeechFeatures,
    emotion_classifier,
    normalised,
    speech_features,
)
from tests.conformance.case import EXACT, Arrays, Case, Replay, Tolerance

CPU = torch.device("cpu")
WHOLE = 3600  # seconds that attend to one another
SEED = 15


def network(replay: Replay) -> FloatState:
    """The seeded float.pth."""
    return FloatState(replay.state("float"), FloatConfig.read(replay.config("float")), "the golden")


def hearing(replay: Replay) -> tuple[SpeechFeatures, torch.nn.Module]:
    """wav2vec2 and the projection."""
    return speech_features(replay.state("wav2vec2"), replay.config("wav2vec2")), network(replay).projection(
        CPU
    )


def classifier(replay: Replay) -> EmotionClassifier:
    return emotion_classifier(replay.state("emotion"), replay.config("emotion"))


def _tensors(replay: Replay, *names: str) -> list[torch.Tensor]:
    return [torch.from_numpy(replay.arrays[name]) for name in names]


def _encoder(replay: Replay) -> Arrays:
    state = network(replay)
    encoder, decoder = state.encoder(CPU), state.decoder(CPU)
    with torch.inference_mode():
        code, features = encoder(torch.from_numpy(replay.arrays["image"]))
        coefficients = encoder.motion(code)
        named = {
            "s_r": code,
            "r_s_lambda": coefficients,
            "r_s": decoder.direction(coefficients),
            "direction_Q": decoder.direction.basis,
        }
    named |= {f"feat{level}": feature for level, feature in enumerate(features)}
    return {name: tensor.numpy() for name, tensor in named.items()}


def _layers(replay: Replay) -> Arrays:
    state = network(replay)
    encoder, decoder = state.encoder(CPU), state.decoder(CPU)
    style, sc_in, res_in = _tensors(replay, "style", "sc_in", "res_in")
    made: dict[str, torch.Tensor] = {}
    with torch.inference_mode():
        made["res_out"] = encoder.net_app.convs[1](res_in)
        made["sc_plain_out"] = decoder.convs[1](sc_in, style)
        made["sc_up_out"] = decoder.convs[2](sc_in, style)
        raw, colours = None, None
        for level, (x, features) in enumerate(
            [_tensors(replay, "sc_in", "tf_feat"), _tensors(replay, "tf1_in", "tf1_feat")]
        ):
            # The golden has other features for each sample; a decoder of ours draws one person
            # at a time.
            each = [
                decoder.to_flows[level](
                    x[n : n + 1],
                    features[n : n + 1],
                    style[n : n + 1],
                    None if raw is None else raw[n : n + 1],
                )
                for n in range(len(x))
            ]
            warp, out, raw, flow = (torch.cat(parts) for parts in zip(*each, strict=True))
            colours = decoder.to_rgbs[level](warp, colours)
            named = {"warp": warp, "out": out, "raw": raw, "flow": flow}
            made |= {f"tf{level}_{name}": tensor for name, tensor in named.items()} | {
                f"rgb{level}_out": colours
            }
    return {name: tensor.numpy() for name, tensor in made.items()}


def _decoder(replay: Replay) -> Arrays:
    decoder = network(replay).decoder(CPU)
    features = [
        torch.from_numpy(replay.arrays[name])
        for name in sorted(n for n in replay.arrays if n.startswith("feat"))
    ]
    latent = torch.from_numpy(replay.arrays["latent"])
    with torch.inference_mode():
        return {"img": decoder(latent, features).numpy(), "flow64": decoder.flow(latent, features).numpy()}


def _audio(replay: Replay) -> Arrays:
    features, projection = hearing(replay)
    raw = replay.arrays["raw"]
    audio, frames = normalised(raw), frame_count(len(raw), Fraction(25))
    filled = torch.from_numpy(drive.padded(audio, drive.padded_length(frames)))[None]
    layers: list[torch.Tensor] = []
    emotion = classifier(replay)
    with torch.inference_mode():
        interpolated = features.at_frames(filled, frames)
        features.encode(interpolated, lambda _, hidden: layers.append(hidden.clone()))
        logits = emotion.logits(torch.from_numpy(audio)[None])
        return {
            "normalised": audio[None],
            "frames": np.array(frames),
            "padded": filled.numpy(),
            "conv_features": features.convolved(filled).numpy(),
            "interpolated": interpolated.numpy(),
            "hidden_states": torch.stack(layers, 1).numpy(),
            "stacked": torch.cat(layers[1:], -1).numpy(),
            "wa": drive.voice_of_frames(features, projection, raw, WHOLE)[None],
            "emotion_logits": logits.numpy(),
            "emotion_probs": drive.emotion_scores(emotion, raw, WHOLE)[None],
        }


def _fmt(replay: Replay) -> Arrays:
    transformer, given = network(replay).transformer(CPU), replay.arrays
    config = transformer.config
    frames = config.previous + config.chunk
    x, voice, time = _tensors(replay, "x", "wa", "t")
    made = {
        "t_freq": time_embedding(time).numpy(),
        "pos_embed": position_table(frames, config.hidden).numpy(),
        "alignment_mask": ~attention_band(frames, config.attention_window).numpy(),
    }

    def velocity(guidance: Guidance) -> np.ndarray:
        continuation = Continuation(given["prev_x"][0], given["prev_wa"][0])
        sampler = MotionSampler(
            transformer, given["wr"][0], given["we"].reshape(-1), guidance=guidance, continuation=continuation
        )
        with torch.inference_mode():
            rows, index = sampler.conditions(voice[0])
            latents = torch.cat([torch.from_numpy(given["prev_x"][0]), x[0]])
            return sampler.velocity(latents, rows + transformer.time(time), index, frames)[None].numpy()

    scales = {"a2r1e1": (2, 1), "a1r1e1": (1, 1), "a2r3e1": (2, 1), "a15r1e5": (1.5, 5)}  # r has no effect
    made |= {f"cfv_{name}": velocity(Guidance(*scale)) for name, scale in scales.items()}
    return made | {"v": velocity(Guidance(1, 1))}


def _sample(replay: Replay) -> Arrays:
    given = replay.arrays
    transformer = network(replay).transformer(CPU)
    if "audio_normalised" in given:
        features, projection = hearing(replay)
        voice = drive.voice_of_frames(features, projection, given["audio_normalised"][0], WHOLE)
        heard = drive.emotion_scores(classifier(replay), given["audio_normalised"][0], WHOLE)
    else:
        voice, heard = given["wa"][0], given["we"].reshape(-1)

    def sampled(
        emotion: np.ndarray, guidance: Guidance, points: int | None = None, noise: np.ndarray | None = None
    ) -> np.ndarray:
        nfe = points or int(replay.config("float")["nfe"])
        sampler = MotionSampler(
            transformer, given["r_s"][0], emotion, points=nfe, guidance=guidance, seed=SEED, fixed=True
        )
        size = transformer.config.chunk
        chunks = [voice[first : first + size] for first in range(0, len(voice), size)]
        return np.concatenate(
            [sampler.sample(c, given["x0"][0] if noise is None else noise[n]) for n, c in enumerate(chunks)]
        )[None]

    return {
        "wa": voice[None],
        "we": heard[None],
        "sample_s2e": sampled(heard, Guidance(2, 1)),
        "sample_happy_a3_e2": sampled(drive.requested_emotion("happy"), Guidance(3, 2)),
        "sample_s2e_nfe7": sampled(heard, Guidance(2, 1), points=7),
        "sample_perchunk_noise": sampled(heard, Guidance(2, 1), noise=given["x0_perchunk"]),
    }


def _e2e(replay: Replay) -> Arrays:
    given, state = replay.arrays, network(replay)
    decoder = state.decoder(CPU)
    seen = prepare.appearance(
        state.encoder(CPU), decoder, prepare.squeezed(given["image_u8"], state.config.side)
    )
    features, projection = hearing(replay)
    voice = drive.voice_of_frames(features, projection, given["audio_raw"], WHOLE)
    emotion = drive.emotion_scores(classifier(replay), given["audio_raw"], WHOLE)
    nfe = int(replay.config("float")["nfe"])
    sampler = MotionSampler(
        state.transformer(CPU), seen["reference"], emotion, points=nfe, seed=SEED, fixed=True
    )
    np.testing.assert_allclose(
        sampler.noise(3), given["x0"][0], atol=1e-6
    )  # what the published program draws on a CPU
    motion = np.concatenate(list(sampler.chunks(voice)))
    frames = FrameDecoder(decoder, seen["appearance"], seen, torch.float32)
    return {
        "frames": np.array(len(motion)),
        "sample": motion[None],
        "frames_float": frames.colours(motion[given["frame_index"]]).numpy(),
        "video_u8": frames.render(motion),
    }


def _prepost(replay: Replay) -> Arrays:
    given = replay.arrays
    side = given["small_crop"].shape[0]
    made: dict[str, np.ndarray] = {}
    for case in sorted({name.removesuffix("_boxes") for name in given if name.endswith("_boxes")}):
        picture = _waves(*given[f"{case}_hw"])
        small = prepare.detection_picture(picture)
        box = prepare.first_face(given[f"{case}_boxes"], len(picture))
        crop = prepare.cropped(picture, prepare.face_square(box, picture.shape[:2]), side)
        made |= {f"{case}_resized_hw": np.array(small.shape[:2]), f"{case}_resized_slice": small[::30, ::30]}
        made |= {f"{case}_crop": crop, f"{case}_tensor": prepare.as_input(crop)}
    heard = speech_from_samples(given["aud_native"], int(given["aud_sr"]))
    samples = np.concatenate([chunk.samples for chunk in heard.chunks()])
    colours = torch.from_numpy(given["u8_in"]).reshape(1, 3, -1, 1)
    plan = []
    for fps, count in given["plan"][:, :2].tolist():
        frames = frame_count(int(count), Fraction(fps))
        plan.append(
            [fps, count, frames, drive.padded_length(frames, fps), int(2 * fps), -(-frames // int(2 * fps))]
        )
    return made | {
        "nocrop_resized": prepare.squeezed(_waves(*given["nocrop_hw"]), side),
        "u8_out": to_bytes(colours).transpose(0, 3, 1, 2).reshape(-1),
        "aud_16k": samples,
        "aud_norm": normalised(samples),
        "plan": np.array(plan),
    }


def _waves(height: int, width: int) -> np.ndarray:
    """The goldens' pictures, which are a formula."""
    y, x, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(3), indexing="ij")
    return np.rint(127 + 100 * np.sin(x / 7 + c) * np.cos(y / 9 + c / 2)).astype(np.uint8)


def _s3fd(replay: Replay) -> Arrays:
    detector = s3fd_from_state(replay.state("s3fd"), "the golden")
    with torch.inference_mode():
        levels = detector(torch.from_numpy(prepare.detector_input(replay.arrays["image_u8"]))[None])
    maps = [(classes[0].numpy(), offsets[0].numpy()) for classes, offsets in levels]
    found = candidates(maps)
    made = {"boxes_raw": found[: len(replay.arrays["boxes_raw"])], "boxes_raw_count": np.array(len(found))}
    for level, (classes, offsets) in enumerate(levels):
        made |= {f"conf{level}": classes.numpy(), f"loc{level}": offsets.numpy()}
    return made | {"boxes_after_nms": surviving(found)}


_case = partial(Case, components=("float",))
_all = ("float", "wav2vec2", "emotion")

CASES: Mapping[str, Case] = {
    "encoder": _case(_encoder, {".*": Tolerance(2e-5)}, inputs=("image",)),
    "layers": _case(_layers, {".*": Tolerance(2e-5)}, inputs=("style", ".*_in", "tf_feat", "tf1_feat")),
    "decoder": _case(_decoder, {".*": Tolerance(5e-5)}, inputs=("latent", r"feat\d")),
    "audio": Case(
        _audio,
        {"frames": EXACT, "hidden_states|stacked|wa": Tolerance(1e-4), ".*": Tolerance(5e-5)},
        inputs=("raw",),
        components=_all,
    ),
    "fmt": _case(
        _fmt,
        {"alignment_mask": EXACT, ".*": Tolerance(5e-5)},
        inputs=("t", "x", "wa", "wr", "we", "prev_x", "prev_wa"),
    ),
    "sample": Case(
        _sample,
        {".*": Tolerance(1e-4)},
        inputs=("r_s", "audio_normalised", "x0", "x0_perchunk", "frames"),
        components=_all,
    ),
    "e2e": Case(
        _e2e,
        {"frames": EXACT, "video_u8": Tolerance(1), ".*": Tolerance(1e-4)},
        inputs=("image_u8", "audio_raw", "x0", "frame_index"),
        components=_all,
    ),
    "prepost": Case(
        _prepost,
        {
            ".*_hw|u8_out|plan": EXACT,
            ".*_slice|.*_crop|.*_resized": Tolerance(2),
            ".*_tensor": Tolerance(2 / 127.5),
            "aud_16k": Tolerance(1e-5),
            "aud_norm": Tolerance(1e-4),
        },
        inputs=(
            "(small|large|edge|second|nocrop)_hw",
            ".*_boxes",
            "u8_in",
            "aud_native",
            "aud_sr",
            "plan_columns",
        ),
    ),
    "s3fd": Case(
        _s3fd,
        {"boxes_raw_count": EXACT, "boxes.*": Tolerance(1e-2), ".*": Tolerance(1e-3)},
        inputs=("image_u8",),
        components=("s3fd",),
    ),
}

assert len(EMOTIONS) == 7
