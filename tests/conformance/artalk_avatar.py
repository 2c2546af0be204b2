"""artalk: the goldens of its avatars of Gaussians (GAGAvatar)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial

import numpy as np
import torch

from personare.engines.artalk import prepare, render
from personare.engines.artalk.networks import gaussians
from personare.engines.artalk.tracked import Tracked
from personare.heads import splat
from personare.heads.flame import Flame
from tests.conformance.case import EXACT, Arrays, Case, Replay, Tolerance
from tests.conformance.flame_standin import flame_standin


def standin() -> Flame:
    """The FLAME stand-in of the goldens."""
    held = flame_standin(0)
    return Flame._of(held["flame_model"], held["lmk_embeddings_mediapipe"])


def _tensors(replay: Replay, *names: str) -> list[torch.Tensor]:
    return [torch.from_numpy(replay.arrays[name]) for name in names]


def _without_noise(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The noise's strengths at 0."""
    return {
        name: torch.zeros_like(tensor) if re.search(r"style_conv(1|s\.\d+)\.weight$", name) else tensor
        for name, tensor in state.items()
    }


def _networks(replay: Replay) -> gaussians.AvatarNetworks:
    dino = replay.config("gagavatar")["dino"]
    heads = int(dino["num_heads"]) if isinstance(dino, Mapping) else 12
    return gaussians.avatar_networks(replay.state("gagavatar"), "the golden", heads)


def _dino_features(replay: Replay) -> Arrays:
    network, (image,) = _networks(replay).base_model, _tensors(replay, "image")
    with torch.inference_mode():
        normalised = network.normalised(image)
        dense, whole = network(image)
        return {
            "normalized_sample": normalised[:, :, ::16, ::16].numpy(),
            "layers": torch.stack(network.tokens(normalised), 1).numpy(),
            "dense_sub": dense[:, :, ::3, ::3].numpy(),
            "dense_row0": dense[:, :, 0].numpy(),
            "global_feature": whole.numpy(),
        }


def _geometry(replay: Replay) -> Arrays:
    harmonic, camera, poses = _tensors(replay, "harmonic_in", "transform", "pose_in")
    points, normal = gaussians.plane(camera, round(len(replay.arrays["plane_points"]) ** 0.5))
    view = splat.view_matrix(camera)
    turns = np.stack([gaussians.camera_of_pose(pose).numpy() for pose in poses])
    # The last column is a constant that nobody reads.
    last = replay.arrays["pose_to_camera"][:, :, 3:]
    return {
        "harmonic_out": gaussians.direction_code(harmonic).numpy(),
        "plane_points": points.numpy(),
        "plane_dir": normal.numpy(),
        "view_matrix": view.numpy(),
        "full_projection": splat.projection_matrix(view).numpy(),
        "pose_to_camera": np.concatenate([turns, last], 2),
    }


def _gs_generators(replay: Replay) -> Arrays:
    networks = _networks(replay)
    code, vertices, dense = _tensors(replay, "direnc", "linear_in", "conv_in")
    with torch.inference_mode():
        linear = networks.gs_generator_g(vertices, code)
        conv = networks.gs_generator_l0(dense, code)
    made = {"conv_positions": conv.positions.numpy()}
    for prefix, sheet in (("linear", linear), ("conv", conv)):
        for name, values in zip(("colors", "opacities", "scales", "rotations"), sheet[:4], strict=True):
            made[f"{prefix}_{name}"] = values.numpy()
    return made


def _splat(replay: Replay) -> Arrays:
    means, scales, quaternions, opacities, features, camera, background = _tensors(
        replay, "means", "scales", "quaternions", "opacities", "features", "transform", "background"
    )
    width, height = replay.arrays["width_height"].tolist()
    given = splat.Gaussians(means, splat.covariances(scales, quaternions), opacities[:, 0], features)
    seen = splat.project(given, camera, width, height)
    image, through = splat.splat(given, camera, width, height, background)
    shown = seen.radii > 0
    return {
        "image": image.numpy(),
        "transmittance": through.numpy(),
        "radii": seen.radii.numpy(),
        "xy": torch.where(shown[:, None], seen.places, 0.0).numpy(),
        "conic": torch.where(shown[:, None], seen.conics, 0.0).numpy(),
        "depth": torch.where(shown, seen.depths, 0.0).numpy(),
    }


def _style_unet(replay: Replay) -> Arrays:
    state = {f"upsampler.{name}": tensor for name, tensor in replay.state("style_unet").items()}
    network = gaussians.upsampler_network(state, "the golden")
    quiet = gaussians.upsampler_network(_without_noise(state), "the golden")
    given, smaller = _tensors(replay, "input", "input_16")
    with torch.inference_mode():
        code, scales, _ = network.conditions(given)
        made = network(given)
        return {
            "final_conv": network.coarsest(given)[0].numpy(),
            "latent": network.stylegan_decoder.style_mlp(code).numpy(),
            "condition_scale0": scales[0].numpy(),
            "decoder_out": made.numpy(),
            "output_stored_noise": made.sigmoid().numpy(),
            "output_no_noise": quiet(given).sigmoid().numpy(),
            "output_16_no_noise": quiet(smaller).sigmoid().numpy(),
        }


def _e2e(replay: Replay) -> Arrays:
    given, networks = replay.arrays, _networks(replay)
    upsampler = gaussians.upsampler_network(_without_noise(replay.state("gagavatar")), "the golden")
    person = Tracked(given["image"], given["transform_matrix"], given["shapecode"])
    look = render.GaussianLook(prepare.made_avatar(networks, person), standin(), upsampler)
    logo, vertices = given["water_mark"], len(networks.head_base)
    points, features, frames, cameras = [], [], [], []
    for row in given["motions"]:
        with torch.inference_mode():
            made = look.features(row)
            frame = upsampler(made[None]).sigmoid()[0].clamp(0, 1).numpy()
        # The published mark, which is no part of personare.
        corner = frame[:, -logo.shape[1] :, -logo.shape[2] :]
        corner[:] = corner * (1 - 0.8 * logo[3]) + logo[:3] * 0.8 * logo[3]
        frames.append(frame)
        features.append(made.numpy())
        points.append(look.gaussians.means[:vertices].numpy().copy())
        turn = gaussians.camera_of_pose(torch.from_numpy(row[100:103])).numpy()
        cameras.append(np.concatenate([turn, person.camera[:, 3:]], 1))
    with torch.inference_mode():
        sheet, _ = networks.gaussians(torch.from_numpy(person.picture)[None], torch.from_numpy(person.camera))
    second = Tracked(person.picture, person.camera, given["second_avatar_shapecode"])
    other = render.GaussianLook(prepare.made_avatar(networks, second), standin(), upsampler)
    parts = zip(("colors", "opacities", "scales", "rotations"), sheet[:4], strict=True)
    return {
        "frames": np.stack(frames),
        "splat_sub": np.stack(features)[:, :, ::4, ::4],
        "splat_rgb": np.stack(features)[:, :3],
        "points_every_97": np.stack(points)[:, ::97],
        "forehead_points": np.stack(points)[:, render.FOREHEAD],
        "camera": np.stack(cameras),
        "gs_xyz_every_211": look.gaussians.means[None, ::211].numpy(),
        "second_avatar_forehead_after_reset": other.points(given["motions"][0])[None, render.FOREHEAD],
        **{f"gs_{name}_every_211": values[:, ::211].numpy() for name, values in parts},
    }


_case = partial(Case, components=("gagavatar",))

CASES: Mapping[str, Case] = {
    "dino_features": _case(_dino_features, {".*": Tolerance(1e-5)}, inputs=("image", "class_token_not_used")),
    "geometry": Case(
        _geometry, {".*": Tolerance(1e-5)}, inputs=("harmonic_in", "transform", "pose_in", "pose_after_call")
    ),
    "gs_generators": _case(
        _gs_generators, {".*": Tolerance(1e-5)}, inputs=("direnc", "linear_in", "conv_in")
    ),
    "splat": Case(
        _splat,
        {"radii": EXACT, ".*": Tolerance(1e-4)},
        inputs=(
            "means",
            "scales",
            "quaternions",
            "opacities",
            "features",
            "transform",
            "background",
            "width_height",
        ),
    ),
    "style_unet": Case(
        _style_unet, {".*": Tolerance(1e-5)}, inputs=("input", "input_16"), components=("style_unet",)
    ),
    # Published, a second avatar begins with the first one's forehead, and motions are damaged:
    # not here.
    "e2e": _case(
        _e2e,
        {"splat_.*|frames": Tolerance(1e-3), ".*": Tolerance(1e-5)},
        inputs=(
            "image",
            "transform_matrix",
            "shapecode",
            "water_mark",
            "motions",
            "motions_after_run",
            "second_avatar_shapecode",
            "second_avatar_forehead_official_leak",
        ),
    ),
}
