"""The networks of the wing, from the files that are on this machine: leases of what
`weights.resident` holds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from personare.engines.mimicmotion.drive import Watcher
from personare.engines.mimicmotion.options import MimicMotionOptions
from personare.engines.mimicmotion.prepare import KEPT_FORMAT, Sight
from personare.engines.mimicmotion.sampling import Dream, Networks
from personare.engines.neural import BatchSize, device_of, memory
from personare.errors import WeightsMismatch
from personare.perception.whole_body.people import pose_of_network, pose_of_session
from personare.weights import resident
from personare.weights.resident import Lease, NetworkKey, lease, lease_component

if TYPE_CHECKING:
    import torch

    from personare.engines.mimicmotion.networks.loading import MimicMotionState
    from personare.ground.onnx import Session
    from personare.perception.whole_body.rtmpose import RTMPose
    from personare.weights.finder import Weights

Network = TypeVar("Network")

RELEASE = {"1.1": "mimicmotion-1-1", "1.0": "mimicmotion-1"}
VAE, ENCODER, DETECTOR = "svd-vae", "svd-image-encoder", "yolox"
POSE = ("dwpose-onnx", "dwpose")
"""The same network, as either file has it."""
_BYTES_A_PIXEL = 9_000
"""Working memory of the UNet for a frame's pixel, in float32, measured."""
_RUNS_AT_MOST = {"cpu": 2}
"""Together: a CPU is busy with the two branches of a tile."""


def needed(options: MimicMotionOptions, weights: Weights) -> tuple[str, ...]:
    """Catalogue names of all that a run with these options uses."""
    return RELEASE[options.version], VAE, ENCODER, DETECTOR, pose_component(weights)


def pose_component(weights: Weights) -> str:
    """The file of DWPose that is there; the usual one if neither is."""
    return next((name for name in POSE if weights.find(name) is not None), POSE[0])


def sight(options: MimicMotionOptions, weights: Weights) -> Sight:
    """What looks at the picture and the guide. Raises WeightsMissing, naming all that a whole
    run would miss.
    """
    weights.require(*needed(options, weights))
    device, dtype = device_of(options), _dtype(KEPT_FORMAT)
    return Sight(
        watcher=partial(_watcher, weights, device),
        encoder=lambda: lease_encoder(weights, device, dtype),
        vae=lambda: lease_vae(weights, device, dtype),
        watcher_sha256=(weights.sha256(DETECTOR), weights.sha256(pose_component(weights))),
        encoder_sha256=(weights.sha256(ENCODER),),
        vae_sha256=(weights.sha256(VAE),),
    )


def dream(options: MimicMotionOptions, weights: Weights) -> Dream:
    """What samples."""
    dtype = sampling_dtype(options)
    return Dream(
        networks=partial(_networks, options, weights, dtype),
        sha256=release_sha256(options, weights),
        numeric_format=str(dtype).removeprefix("torch."),
    )


def sampling_dtype(options: MimicMotionOptions) -> torch.dtype:
    """What sampling and decoding compute with."""
    from personare.weights.device import choose_dtype

    return choose_dtype(device_of(options), options.precision)


def release_sha256(options: MimicMotionOptions, weights: Weights) -> tuple[str, ...]:
    """The released file, and what lies beside it where it needs that."""
    from personare.engines.mimicmotion.networks.loading import POSE_NET_ALONE, sizes_beside

    name = RELEASE[options.version]
    file = weights.require(name)[name]
    beside = [sizes_beside(file), file.parent / POSE_NET_ALONE if file.suffix != ".pth" else None]
    there = [path for path in beside if path is not None and path.is_file()]
    return weights.sha256(name), *(hashlib.sha256(path.read_bytes()).hexdigest() for path in there)


@contextmanager
def _watcher(weights: Weights, device: torch.device) -> Iterator[Watcher]:
    with lease_session(weights, DETECTOR) as detector:
        if (name := pose_component(weights)) == POSE[0]:
            with lease_session(weights, name) as session:
                yield Watcher(detector, pose_of_session(session))
            return
        with lease_pose(weights, device) as network:
            yield Watcher(detector, pose_of_network(network))


@contextmanager
def _networks(
    options: MimicMotionOptions, weights: Weights, dtype: torch.dtype, frames: int, pixels: int
) -> Iterator[Networks]:
    device = device_of(options)
    make_room(options, device)
    with (
        lease_unet(options, weights, device, dtype) as unet,
        lease_pose_net(options, weights, device, dtype) as pose_net,
    ):
        held = sum(p.numel() * p.element_size() for p in unet.parameters())
        runs = runs_together(
            options, device, held, _BYTES_A_PIXEL * dtype.itemsize // 4 * frames * pixels // 64
        )
        yield Networks(partial(unet_output, unet), pose_net, BatchSize(runs, device), dtype)
    make_room(options, device)


def unet_output(unet: Any, sample: Any, time: Any, context: Any, ids: Any) -> Any:
    """What diffusers' UNet gives, as a plain tensor."""
    return unet(sample, time, context, added_time_ids=ids, return_dict=False)[0]


def runs_together(options: MimicMotionOptions, device: torch.device, held: int, bytes_each: int) -> int:
    """How many branches of tiles fit into memory beside the network, from what a device has in
    all, not from what is free: so that a run that is resumed takes the same.
    """
    limit = options.max_memory * 1e9 or 0.8 * memory(device)[1]
    fits = int((limit - held) // max(1, bytes_each))
    return max(1, min(fits, _RUNS_AT_MOST.get(device.type, 8)))


def make_room(options: MimicMotionOptions, device: torch.device) -> None:
    """With a limit of memory, networks that wait for nothing leave the device: they come back
    from their files.
    """
    if options.max_memory:
        resident.drop_unleased(str(device))


def lease_unet(
    options: MimicMotionOptions, weights: Weights, device: torch.device, dtype: torch.dtype
) -> Lease[Any]:
    """Raises WeightsMissing, WeightsMismatch, as all of these."""
    return _lease_part(options, weights, "unet", device, dtype, lambda state: state.unet(device, dtype))


def lease_pose_net(
    options: MimicMotionOptions, weights: Weights, device: torch.device, dtype: torch.dtype
) -> Lease[Any]:
    """PoseNet of the same file."""
    return _lease_part(
        options, weights, "pose_net", device, dtype, lambda state: state.pose_net(device, dtype)
    )


def lease_vae(weights: Weights, device: torch.device, dtype: torch.dtype) -> Lease[Any]:
    """The autoencoder."""
    from personare.networks.video_diffusion import load_temporal_vae

    return lease_component(
        weights, VAE, lambda folder: load_temporal_vae(folder, device, dtype), device, dtype
    )


def lease_encoder(weights: Weights, device: torch.device, dtype: torch.dtype) -> Lease[Any]:
    """CLIP's picture half."""
    from personare.networks.video_diffusion import load_image_encoder

    return lease_component(
        weights, ENCODER, lambda folder: load_image_encoder(folder, device, dtype), device, dtype
    )


def lease_pose(weights: Weights, device: torch.device) -> Lease[RTMPose]:
    """DWPose of its .pth, in float32."""
    import torch

    from personare.perception.whole_body.rtmpose import rtmpose_from_state
    from personare.weights.loading import read_state

    def load(file: Path) -> RTMPose:
        return rtmpose_from_state(read_state(file), str(file), device)

    return lease_component(weights, POSE[1], load, device, torch.float32)


def lease_session(weights: Weights, name: str) -> Lease[Session]:
    """The network of an ONNX file, on the processor."""
    file = weights.require(name)[name]
    key = NetworkKey((weights.sha256(name),), name)
    return lease(key, lambda: load_session(file), size=lambda _: file.stat().st_size)


def load_session(file: Path) -> Session:
    """Raises WeightsMismatch for what onnxruntime cannot run. Read whole: a model that refers
    to other files finds none.
    """
    from personare.ground.machine import machine
    from personare.ground.onnx import open_session

    try:
        return open_session(file.read_bytes(), threads=machine().cores)
    except Exception as error:  # classes of onnxruntime's own
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise WeightsMismatch(
            f"{file} is not a network that can be run: {reason}", hint="fetch it again"
        ) from None


def _lease_part(
    options: MimicMotionOptions,
    weights: Weights,
    part: str,
    device: torch.device,
    dtype: torch.dtype,
    made: Callable[[MimicMotionState], Network],
) -> Lease[Network]:
    """A lease of what is `made` of the released file."""
    from personare.engines.mimicmotion.networks.loading import MimicMotionState

    name = RELEASE[options.version]
    path, digests = weights.require(name)[name], release_sha256(options, weights)

    def load() -> Network:
        with lease(NetworkKey(digests, f"{name}/file"), lambda: MimicMotionState.read(path)) as state:
            return made(state)

    return lease(NetworkKey.of(digests, f"{name}/{part}", device, dtype), load)


def _dtype(name: str) -> torch.dtype:
    import torch

    dtype: torch.dtype = getattr(torch, name)
    return dtype
