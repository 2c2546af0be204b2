"""Everything together: a voice, a template's frames and their boxes to composited frames."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import torch

from personare.engines.musetalk import compose
from personare.engines.musetalk.drive import SpeechDrive, WindowRule
from personare.engines.musetalk.hearing import Pieces
from personare.engines.musetalk.motion import FacePredictor
from personare.engines.musetalk.render import FaceDecoder
from personare.engines.musetalk.template import boxes, latents, masks
from personare.engines.neural import BatchSize, in_batches
from personare.media.template import palindrome
from personare.networks.diffusion import unet_from_state, vae_from_state
from tests.conformance.case import EXACT, Arrays, Case, Replay, Tolerance
from tests.conformance.musetalk_pictures import rgb
from tests.conformance.musetalk_voice import ears, published_frame_count, samples_of

_BATCH = 4


def _e2e(replay: Replay, mode: masks.ParsingMode, extra_margin: int) -> Arrays:
    given = {**replay.golden("e2e_v15"), **replay.arrays}
    frames = [rgb(frame) for frame in given["frames_bgr"]]
    around = [boxes.within(box, frames[0].shape[:2], extra_margin) for box in given["boxes"].tolist()]
    vae = vae_from_state(replay.state("vae"), replay.config("vae"), "the golden")
    motion = FacePredictor(unet_from_state(replay.state("unet"), replay.config("unet"), "the golden"))
    encoded = latents.encoded(vae, [boxes.face_crop(f, box) for f, box in zip(frames, around, strict=True)])

    fps, samples = Fraction(str(int(given["fps"]))), samples_of(given["audio_i16"])
    drive = SpeechDrive(Pieces(ears(replay), None), WindowRule(fps, published=True))
    count = published_frame_count(
        len(samples), fps
    )  # ours makes one more where the voice ends within a frame
    assert count is not None
    windows = np.stack([*drive.push(samples), *drive.finish()])[:count]

    source = [palindrome(i, len(frames)) for i in range(count)]
    shown = encoded[source]

    def paint(rows: np.ndarray) -> torch.Tensor:
        return motion.predict(shown[rows], windows[rows])

    predicted = torch.cat(list(in_batches(paint, count, BatchSize(_BATCH, torch.device("cpu")))))
    index = given["index"]
    faces = FaceDecoder(vae).decode(predicted[index])
    output = []
    for i, face in zip(index, faces, strict=True):
        box = around[source[i]]
        square = masks.square_around(box)
        alpha = masks.soft_mask(masks.hard_mask(given["labels"], mode), box, square, 0.05)
        mask = compose.BlendMask(alpha, square[0], square[1])
        output.append(rgb(compose.paste(frames[source[i]].copy(), compose.face_in_box(face, box), box, mask)))
    return {
        "n_out": np.array(count),
        "chunks_shape": np.array(windows.shape),
        "chunk_0": windows[0],
        "chunk_last": windows[-1],
        "latents_in": encoded[:, :, ::2, ::2],
        "pred_latents": predicted[:, :, ::4, ::4].numpy(),
        "recon_bgr_4x4": rgb(faces)[:, ::4, ::4],
        "output_bgr": np.stack(output),
    }


_TOLERANCES = {
    "n_out|chunks_shape": EXACT,
    "recon_bgr_4x4": Tolerance(3, mean=0.1),
    "output_bgr": Tolerance(3),
    ".*": Tolerance(1e-3),
}
_INPUTS = ("frames_bgr", "boxes", "audio_i16", "labels", "fps", "index")
_COMPONENTS = ("unet", "vae", "whisper_encoder")

CASES = {
    "e2e_v15": Case(lambda replay: _e2e(replay, "jaw", 10), _TOLERANCES, _INPUTS, _COMPONENTS),
    "e2e_v1": Case(lambda replay: _e2e(replay, "raw", 0), _TOLERANCES, _INPUTS, _COMPONENTS),
}
