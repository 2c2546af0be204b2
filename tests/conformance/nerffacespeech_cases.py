"""nerffacespeech: each golden name and the function that replays it. Tolerances are those of
nerffacespeech/README.md, tightened as the specification asks where wrong readings would pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import torch
from torch.nn import functional

from personare.engines.nerffacespeech import drive, face_model, motion, render
from personare.engines.nerffacespeech.align import ffhq_corners
from personare.engines.nerffacespeech.face_model import FaceModel
from personare.engines.nerffacespeech.fit import (
    LANDMARK_WEIGHT,
    RATE,
    landmark_loss,
    landmark_weights,
    photo_loss,
    reflectance_loss,
)
from personare.engines.nerffacespeech.inversion import (
    noise_scale,
    project,
    projection_rate,
    style_statistics,
    tune,
)
from personare.engines.nerffacespeech.networks import rays
from personare.engines.nerffacespeech.networks.config import ANGLES, EXPRESSION, GeneratorConfig
from personare.engines.nerffacespeech.networks.generator import Generator, Seen, Shift
from personare.engines.nerffacespeech.networks.loading import load_strictly, unallocated
from personare.engines.nerffacespeech.networks.recon import recon_net
from personare.engines.nerffacespeech.networks.voice import audio2exp, lipaint
from personare.engines.nerffacespeech.shading import TorchFace
from personare.perception.parsing import BiSeNet, bisenet_from_state
from tests.conformance.case import EXACT, Arrays, Case, Replay, Tolerance

CPU = torch.device("cpu")
FULL_NAMES = {"nn_cat": "generator", "pixelshuffle": "generator_alt", "e2e": "generator"}


@torch.inference_mode(False)
def generator(replay: Replay, how: str) -> Generator:
    """The seeded generator of a kind."""
    name = FULL_NAMES[how] if replay.full else f"generator_{how}"
    with unallocated():
        network = Generator(GeneratorConfig.read(replay.config(name), "the golden"))
    load_strictly(network, replay.state(name), ignore=(r"resample_filter$",), source="the golden")
    return network


def segmentation(replay: Replay) -> BiSeNet:
    return bisenet_from_state(replay.state("segnet"), "the golden", classes=16)


def _given(replay: Replay) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(np.asarray(array)) for name, array in replay.arrays.items()}


def _numpy(named: Mapping[str, torch.Tensor]) -> Arrays:
    return {name: tensor.detach().numpy() for name, tensor in named.items()}


def _mapping(replay: Replay) -> Arrays:
    network, z = generator(replay, "nn_cat"), _given(replay)["z"]
    with torch.inference_mode():
        return _numpy(
            {
                "ws": network.styles(network.mapping(z)),
                "ws_psi07": network.styles(network.mapping(z, 0.7)),
            }
        )


def _style_layer(replay: Replay) -> Arrays:
    layer, given = generator(replay, "nn_cat").synthesis.fg_nerf.blocks[0], _given(replay)
    x = given["x"]
    with torch.inference_mode():
        points = layer.points(x.flatten(2).transpose(1, 2), given["w"])
        y = functional.leaky_relu(points, 0.2) * 2**0.5
        return _numpy({"y": y.transpose(1, 2).reshape(x.shape), "styles": layer.style(given["w"])})


def _foreground(replay: Replay) -> Arrays:
    field, given = generator(replay, "nn_cat").synthesis.fg_nerf, _given(replay)
    with torch.inference_mode():
        hidden, density = field(given["p"], given["ws"])
        return _numpy({"feat": field.features(hidden, given["ws"]), "sigma_raw": density[..., None]})


def _background(replay: Replay) -> Arrays:
    given = _given(replay)
    with torch.inference_mode():
        seen, density = generator(replay, "nn_cat").synthesis.bg_nerf(given["p"], given["z_shape"])
        return _numpy({"feat": seen, "sigma_raw": density[..., None]})


def _camera(replay: Replay, how: str) -> Arrays:
    config = generator(replay, how).config
    angles = torch.from_numpy(replay.arrays["angles"])[None]
    camera = rays.cameras(angles)
    place, ahead = rays.rays(config, camera)
    points, _ = rays.background_points(config)
    return _numpy(
        {
            "rot": rays.rotations(angles),
            "front": rays.cameras(torch.zeros(1, 3)),
            "RT": camera,
            "K_inv": rays.intrinsics_inverse(config)[None],
            "fixed_RT": rays.camera_at(0.0, rays.FROZEN_V),
            "pixels": rays.pixels(config)[None],
            "ray_vector": ahead,
            "camera_world": place,
            "bg_points": points.reshape(1, -1, 4)[:, ::8],
        }
    )


def _quadrature(replay: Replay) -> Arrays:
    given = _given(replay)
    distances = given["z_vals"].diff(dim=2)
    open_weights, passed = rays.shares(
        given["sigma"], distances * given["ray"].norm(dim=2, keepdim=True), closed=False
    )
    closed, _ = rays.shares(given["sigma"], distances, closed=True)
    return _numpy(
        {
            "weights_last0": open_weights,
            "lambda_last0": passed,
            "weights_last1e10": closed,
            "fine": rays.fine_samples(given["z_vals"], open_weights),
        }
    )


def _up_layer(replay: Replay, how: str) -> Arrays:
    given = _given(replay)
    with torch.inference_mode():
        layer = generator(replay, how).synthesis.get_submodule("b64").conv0
        return _numpy({"y": layer(given["x"], given["w"])[:, :, ::3, ::3]})


def _block(replay: Replay, how: str) -> Arrays:
    given = _given(replay)
    with torch.inference_mode():
        block = generator(replay, how).synthesis.get_submodule("b64")
        x, picture = block(given["x"], given["img"], given["ws"])
    return _numpy({"x_out": x[:, :, ::3, ::3], "img_out": picture})


def _see(network: Generator, given: Mapping[str, torch.Tensor], camera: str = "RT", **named: object) -> Seen:
    behind = network.synthesis.behind(given["z_bg"])
    return network.synthesis.see(given["ws"], behind, given[camera], **named)


def _told(network: Generator, seen: Seen, ws: torch.Tensor) -> dict[str, torch.Tensor]:
    config = network.config
    return {
        "img": network.synthesis.picture(seen.map, ws),
        "img_nerf": seen.map[:, :3],
        "feat": seen.map[:, 3:, ::2, ::2],
        "p_i": seen.coarse_points[:, ::7],
        "p_f": seen.fine_points[:, ::7],
        "di": rays.even_samples(config)[None, None],
        "di_fine": seen.fine[:, ::5],
    }


def _generator(replay: Replay, how: str) -> Arrays:
    network, given = generator(replay, how), _given(replay)
    with torch.inference_mode():
        return _numpy(_told(network, _see(network, given), given["ws"]))


def _moved(network: Generator, given: Mapping[str, torch.Tensor], front: torch.Tensor) -> tuple[Seen, Arrays]:
    """The field seen with its samples moved as the nearest vertices were."""
    first = _see(network, {**given, "front": front}, "front")
    reference, moved = given["ref_vertices"][0], given["pred_vertices"][0]
    index = [
        face_model.nearest(points[0, :, 1:].numpy(), reference.numpy())
        for points in (first.coarse_points, first.fine_points)
    ]
    shift = Shift(*(((reference - moved)[torch.from_numpy(each).long()])[None] for each in index))
    seen = _see(network, given, fine=first.fine, shift=shift)
    return seen, {"nearest": index[0][None, ::7], "nearest_f": index[1][None, ::7]}


def _deform(replay: Replay, how: str) -> Arrays:
    network, given = generator(replay, how), _given(replay)
    with torch.inference_mode():
        seen, indices = _moved(network, given, given["front"])
        return {**_numpy(_told(network, seen, given["ws"])), **indices}


def _inpaint_blend(replay: Replay) -> Arrays:
    network, given = generator(replay, "nn_cat"), _given(replay)
    mask = torch.ones(1, 1, 512, 512)
    mask[:, :, 300:390, 200:310] = 0
    mask[:, :, 330:350, 230:280] = 3 / 7
    with torch.inference_mode():
        front = rays.cameras(torch.zeros(1, 3))
        seen, _ = _moved(network, given, front)
        fine = _see(network, {**given, "front": front}, "front").fine
        lip = _see(network, {**given, "ws": given["ws_lip"]}, fine=fine)
        blended = render.MapBlend(network.config.volume, CPU)(seen.map[:, 3:], lip.map[:, 3:], mask)
        picture = network.synthesis.picture(torch.cat([seen.map[:, :3], blended], 1), given["ws"])
        return _numpy(
            {
                "lip_feat": lip.map[:, 3:],
                "lip_img": network.synthesis.picture(lip.map, given["ws_lip"]),
                "deformed_feat": seen.map[:, 3:],
                "img": picture,
            }
        )


def _lipaintnet(replay: Replay) -> Arrays:
    given = _given(replay)
    network = lipaint(replay.state("lipaintnet"), given["w"].shape[1], CPU, "the golden")
    with torch.inference_mode():
        return _numpy({"out": network(given["w"], given["exp"])})


def _prefixed(replay: Replay) -> dict[str, torch.Tensor]:
    """As SadTalker's file holds it."""
    return {f"audio2exp.{name}": tensor for name, tensor in replay.state("audio2exp").items()}


def _audio2exp(replay: Replay) -> Arrays:
    given, network = _given(replay), audio2exp(_prefixed(replay), CPU, "the golden")
    with torch.inference_mode():
        heard = network.hear(given["mel"][:, 0])
        made = network(heard, given["ref"], torch.zeros(len(heard), 1))
        return _numpy({"hidden": heard, "exp": made})


def _sequence(replay: Replay, anchor: np.ndarray, windows: np.ndarray) -> np.ndarray:
    network = audio2exp(_prefixed(replay), CPU, "the golden")
    expressions = motion.Expressions(network, anchor)
    return np.stack([expressions.next(window) for window in windows])


def _expression_sequence(replay: Replay) -> Arrays:
    given = replay.arrays
    return {"exp_scaled": _sequence(replay, given["ref"][0], given["mel"][0])}


def _recon(replay: Replay) -> Arrays:
    network = recon_net(replay.state("recon"), CPU, "the golden")
    with torch.inference_mode():
        return _numpy({"coeffs": network(_given(replay)["img"])})


def _segnet(replay: Replay) -> Arrays:
    network, entering = segmentation(replay), render.as_network_input(_given(replay)["img"])
    with torch.inference_mode():
        scores, sixteenth, _ = network.all_heads(entering)
    return {
        "net_in": entering[:, :, ::4, ::4].numpy(),
        "logits": scores[:, :, ::4, ::4].numpy(),
        "logits16": sixteenth[:, :, ::8, ::8].numpy(),
        "labels": scores.argmax(1)[:, ::2, ::2].numpy(),
    }


def _masks(replay: Replay) -> Arrays:
    labels, mean = _given(replay)["labels"], render.MeanMask()
    masks = torch.stack([mean.next(mask) for mask in render.outside_mouth(labels)])
    return {"mouth_masks": masks.numpy(), "torso_points": face_model.torso_points(labels[0].numpy())[None]}


def _bfm(replay: Replay) -> Arrays:
    given = replay.arrays
    model = FaceModel.of(given)
    face, rows = TorchFace(model), []
    for coefficients in torch.from_numpy(given["coeffs"]):
        mesh = face.mesh(coefficients, unit_faces=True)
        camera = mesh.turned * torch.tensor([1.0, 1.0, -1.0]) + torch.tensor([0.0, 0.0, 10.0])
        places = model.projected(coefficients[None].numpy())[0]
        rows.append(
            {
                "vertex_cam": camera.numpy(),
                "texture": mesh.texture.numpy() / 255,
                "color": mesh.colours.numpy() / 255,
                "proj": places,
                "landmarks": places[model.landmarks],
                "rot": face_model.turns(coefficients[None, ANGLES].numpy())[0],
                "scaled_proj": model.references(coefficients[None].numpy())[0],
            }
        )
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def _fit(replay: Replay) -> Arrays:
    given = replay.arrays
    face, tensors = TorchFace(FaceModel.of(given)), _given(replay)
    mesh = face.mesh(tensors["coeffs"][0])
    weights, wanted = torch.from_numpy(landmark_weights()), tensors["landmarks"][0]
    drawn, photo = tensors["rendered"][0].float(), tensors["target"][0].float()
    covered = drawn[..., 3] > 0
    angles, place = torch.zeros(3, requires_grad=True), torch.zeros(3, requires_grad=True)
    optimiser, losses = torch.optim.Adam([angles, place], lr=RATE), []
    for _ in range(len(given["rigid_losses"])):
        loss = landmark_loss(face.mean_landmarks(angles, place), wanted, weights)
        losses.append(float(loss.detach()))
        optimiser.zero_grad()
        (LANDMARK_WEIGHT * loss).backward()
        optimiser.step()
    with torch.no_grad():
        return {
            "lms_proj": face.landmarks(mesh)[None].numpy(),
            "face_texture": mesh.texture[None].numpy(),
            "face_color": mesh.colours[None].numpy(),
            "lm_weights": landmark_weights(),
            "photo_loss": photo_loss(drawn[covered][:, :3], photo[covered])[None].numpy(),
            "lm_loss": landmark_loss(face.landmarks(mesh), wanted, weights)[None].numpy(),
            "reflectance_loss": reflectance_loss(mesh.texture, face.skin)[None].numpy(),
            "rigid_losses": np.array(losses),
            "rot_after": angles[None].numpy(),
            "trans_after": place[None].numpy(),
            "bbox_padded": _padded(given["bbox_in"], 224),
        }


def _padded(box: np.ndarray, side: int) -> np.ndarray:
    """The published program prints this box and does nothing else with it."""
    size = int(1.3 * max(box[2] - box[0], box[3] - box[1]))
    x0 = int((box[0] + box[2]) // 2 - size // 2)
    y0 = int((box[1] + box[3]) // 2 - size // 2)
    return np.clip([x0, y0, x0 + size, y0 + size], 0, side)


def _mel(replay: Replay) -> Arrays:
    wav = replay.arrays["wav"]
    frames = len(wav) // drive.FRAME_SAMPLES  # the published program leaves out what is no whole frame
    wav = wav[: frames * drive.FRAME_SAMPLES]
    hearing = drive.MelWindows()
    pieces = [wav[at : at + 1777] for at in range(0, len(wav), 1777)]
    windows = np.concatenate([*map(hearing.push, pieces), hearing.finish()])
    sound = wav.astype(np.float64)
    sound = np.pad(sound - 0.97 * np.concatenate([[0], sound[:-1]]), drive.WINDOW // 2)
    strips = np.lib.stride_tricks.sliding_window_view(sound, drive.WINDOW)[:: drive.HOP]
    return {
        "mel": drive.mel_rows(strips).T,
        "num_frames": np.array(len(windows)),
        "windows": windows[None, ::5],
    }


def _pooled(picture: torch.Tensor) -> torch.Tensor:
    """The goldens' stand-in for VGG."""
    return functional.avg_pool2d(picture / 255, 8).flatten(1)


def _projection(replay: Replay) -> Arrays:
    network, given = generator(replay, "nn_cat"), _given(replay)
    side = network.config.side
    target = functional.interpolate(given["target"], size=(side, side), mode="bilinear", align_corners=False)
    middle, spread = style_statistics(network)
    found = project(
        network,
        given["RT"],
        target,
        _pooled,
        steps=1000,
        until=len(given["noise"]),
        begin=given["z_bg_init"],
        noise=lambda step: given["noise"][step],
    )
    parts = [step / 1000 for step in range(0, 1000, 50)]
    return {
        "w_avg": middle[None].numpy(),
        "w_std": np.array(spread),
        "lr_used": np.array([projection_rate(step / 1000) for step in range(5)]),
        "losses": np.array(found.losses),
        "w_after": found.w[None, None],
        "z_bg_after": found.z[None],
        "lr_schedule": np.array([projection_rate(part) for part in parts]),
        "noise_scale_schedule": np.array([noise_scale(part, spread) for part in parts]),
    }


def _pti(replay: Replay) -> Arrays:
    network, given = generator(replay, "nn_cat"), _given(replay)
    target = given["target_full"][None]

    def distance(picture: torch.Tensor) -> torch.Tensor:
        away = functional.avg_pool2d(picture, 8) - functional.avg_pool2d(target, 8)
        return 5 * away.square().mean()

    ws = network.styles(given["w"][:, 0])
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    steps = len(given["losses"])
    tuned = tune(network, ws, given["z_bg"], given["RT"], target, distance, steps=steps)
    after = tuned.generator
    with torch.inference_mode():
        picture = after.synthesis(ws, given["z_bg"], given["RT"])
    for name, buffer in after.named_buffers():
        assert torch.equal(buffer, before[name]), name
    return {
        "losses": np.array(tuned.losses),
        "img_after": picture[:, :, ::2, ::2].numpy(),
        "fc0_bias_after": after.mapping.fc0.bias.numpy(),
        "sigma_bias_after": after.synthesis.fg_nerf.sigma_out.bias.numpy(),
        "b64_conv0_weight_after": after.synthesis.b64.conv0.weight[:, :, 0, 0].numpy(),
    }


def _end_to_end(replay: Replay) -> Arrays:
    network, given = generator(replay, "e2e"), _given(replay)
    arrays = {name.removeprefix("bfm_"): array for name, array in replay.arrays.items() if name[:4] == "bfm_"}
    model = _stand_in(arrays)
    parser, recon = segmentation(replay), recon_net(replay.state("recon"), CPU, "the golden")
    lips = lipaint(replay.state("lipaintnet"), 512, CPU, "the golden")
    fitted = replay.arrays["fitted"]
    expressions = _sequence(replay, fitted[0, EXPRESSION], replay.arrays["mel"][0])
    guide = functional.interpolate(given["drive14"], size=(224, 224), mode="bilinear", align_corners=False)
    with torch.inference_mode():
        angles = recon(guide)[:, ANGLES]
        cameras = rays.cameras(angles)
        ws = network.styles(network.mapping(given["z"], 0.7))
        front = network.synthesis.see(
            ws, network.synthesis.behind(given["z_bg"]), rays.cameras(torch.zeros(1, 3))
        )
        picture = network.synthesis.picture(front.map, ws)
        labels0 = render.parsed(parser, picture)
        torso = face_model.torso_points(labels0[0].numpy())
        references = np.concatenate([model.references(fitted)[0], torso])
        indices = [
            torch.from_numpy(face_model.nearest(points[0, :, 1:].numpy(), references)).long()
            for points in (front.coarse_points, front.fine_points)
        ]
        plane = face_model.ExpressionPlane(model, fitted[0])
        person = render.Person(network, ws, given["z_bg"], front.fine, plane, references, *indices)
        drawing = _Watched(person, lips, parser)
        frames = torch.cat(
            [drawing.colours(expressions[n : n + 1], cameras[n : n + 1]) for n in range(len(expressions))]
        )
    return {
        "img0": picture[:, :, ::2, ::2].numpy(),
        "labels0": labels0[:, ::8, ::8].numpy(),
        "n_torso": np.array(len(torso)),
        "exp_scaled": expressions,
        "RT": cameras.numpy(),
        "labels": torch.cat(drawing.seen)[:, ::8, ::8].numpy(),
        "mask": torch.cat(drawing.masks)[:, :, ::16, ::16].numpy(),
        "frames": frames[:, :, ::2, ::2].numpy(),
        "frames_uint8": render.to_bytes(frames)[:, ::4, ::4],
    }


class _Watched(render.Renderer):
    """Tells the labels and the masks that it works with."""

    def __init__(self, *arguments) -> None:  # type: ignore[no-untyped-def]
        super().__init__(*arguments)
        self.seen: list[torch.Tensor] = []
        self.masks: list[torch.Tensor] = []

    def labels(self, pictures: torch.Tensor) -> torch.Tensor:
        self.seen.append(super().labels(pictures))
        return self.seen[-1]

    def blended(self, expressions, cameras, mouth, masks):  # type: ignore[no-untyped-def]
        self.masks.append(masks)
        return super().blended(expressions, cameras, mouth, masks)


def _stand_in(arrays: dict[str, np.ndarray]) -> FaceModel:
    """A face model of what moves; the rest of its file is irrelevant here."""
    count = arrays["meanshape"].size // 3
    return FaceModel.of(
        {
            **arrays,
            "meantex": np.zeros((1, 3 * count)),
            "texBase": np.zeros((3 * count, 80)),
            "tri": np.ones((1, 3)),
            "point_buf": np.full((count, 8), 2),
            "keypoints": np.ones((1, 68)),
            "skinmask": np.ones((1, count)),
        }
    )


def _align_quad(replay: Replay) -> Arrays:
    corners, size = ffhq_corners(replay.arrays["landmarks"])
    return {"quad": corners, "qsize": np.array(size)}


PICTURE = Tolerance(5e-3, mean=5e-6)
"""A ray whose weights are nearly zero may jump; the mean tells what the largest cannot."""
_WHOLE = {"nearest.*": Tolerance(0, share=0.999), ".*": PICTURE}
_given_ws = ("ws.*", "z_bg", "RT", "front", "ref_vertices", "pred_vertices")
_mesh = ("meanshape", "idBase", "exBase", "meantex", "texBase", "tri", "point_buf", "keypoints", "skinmask")


def _two(name: str, run: Callable[[Replay, str], Arrays], tolerances: dict, inputs: tuple) -> dict[str, Case]:
    """The case of both generators."""
    return {
        f"{short}_{name}": Case(partial(run, how=how), tolerances, inputs)
        for short, how in (("nncat", "nn_cat"), ("pixelshuffle", "pixelshuffle"))
    }


CASES: Mapping[str, Case] = {
    "nncat_mapping": Case(_mapping, {".*": Tolerance(2e-5)}, ("z",)),
    "nncat_style_layer": Case(_style_layer, {".*": Tolerance(1e-5)}, ("x", "w")),
    "nncat_fg_nerf": Case(_foreground, {"sigma_raw": Tolerance(1e-4), ".*": Tolerance(1e-5)}, ("p", "ws")),
    "nncat_bg_nerf": Case(_background, {".*": Tolerance(1e-5)}, ("p", "z_shape")),
    "nncat_quadrature": Case(_quadrature, {".*": Tolerance(1e-5)}, ("sigma", "z_vals", "ray")),
    **_two("camera", _camera, {".*": Tolerance(1e-6)}, ("angles",)),
    **_two("up_layer", _up_layer, {".*": Tolerance(1e-5)}, ("x", "w")),
    **_two("block", _block, {".*": Tolerance(1e-5)}, ("x", "img", "ws")),
    **_two("generator_front", _generator, _WHOLE, _given_ws),
    **_two("generator_pose", _generator, _WHOLE, _given_ws),
    **_two("deform", _deform, _WHOLE, _given_ws),
    "nncat_inpaint_blend": Case(_inpaint_blend, _WHOLE, _given_ws),
    "generator": Case(partial(_generator, how="nn_cat"), _WHOLE, _given_ws),
    "generator_alt": Case(partial(_generator, how="pixelshuffle"), _WHOLE, _given_ws),
    "lipaintnet": Case(_lipaintnet, {".*": Tolerance(1e-4)}, ("w", "exp"), ("lipaintnet",)),
    "audio2exp": Case(_audio2exp, {".*": Tolerance(1e-4)}, ("mel", "ref"), ("audio2exp",)),
    "expression_sequence": Case(
        _expression_sequence, {".*": Tolerance(2e-4)}, ("mel", "ref"), ("audio2exp",)
    ),
    "recon": Case(_recon, {".*": Tolerance(1e-4)}, ("img",), ("recon",)),
    "segnet": Case(
        _segnet, {"labels": Tolerance(0, share=0.999), ".*": Tolerance(1e-3)}, ("img",), ("segnet",)
    ),
    "masks": Case(_masks, {".*": Tolerance(1e-6)}, ("labels",)),
    "bfm": Case(_bfm, {"proj|landmarks": Tolerance(1e-3), ".*": Tolerance(1e-4)}, (*_mesh, "coeffs")),
    "fit": Case(
        _fit,
        {"bbox_padded": EXACT, ".*_loss(es)?": Tolerance(1e-5), ".*": Tolerance(1e-3)},
        (*_mesh, "coeffs", "landmarks", "rendered", "target", "bbox_in"),
    ),
    "mel": Case(_mel, {"num_frames": EXACT, "mel": Tolerance(1e-6), ".*": Tolerance(1e-4)}, ("wav",)),
    "projection": Case(
        _projection,
        {"losses": Tolerance(1e-3), ".*schedule|lr_used": Tolerance(1e-6), ".*": Tolerance(1e-4)},
        ("target", "RT", "z_bg_init", "noise"),
    ),
    "pti": Case(
        _pti,
        {"losses": Tolerance(1e-4), "img_after": Tolerance(3e-2, mean=1e-3), ".*": Tolerance(1e-4)},
        ("target", "target_full", "w", "z_bg", "RT"),
    ),
    "end_to_end": Case(
        _end_to_end,
        {
            "n_torso": EXACT,
            "labels.*": Tolerance(0, share=0.999),
            "frames": Tolerance(5e-4, mean=1e-4, share=0.99),
            "frames_uint8": Tolerance(1, share=0.999),
            "mask": Tolerance(1e-6, share=0.999),
            "img0": PICTURE,
            ".*": Tolerance(2e-4),
        },
        ("z", "z_bg", "mel", "fitted", "drive14", "bfm_.*"),
        ("segnet", "recon", "audio2exp", "lipaintnet"),
    ),
    "align_quad": Case(_align_quad, {".*": Tolerance(1e-6)}, ("landmarks",)),
}
