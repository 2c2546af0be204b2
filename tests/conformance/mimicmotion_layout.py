"""mimicmotion: the files of its released checkpoints, as its users have them on disk.
MimicMotion_1-1.json is ours: other sizes.
"""

from __future__ import annotations

from tests.conformance.people_standin import write_detector, write_pose
from tests.conformance.seeded_checkpoint import Released

SVD = "svd"

LAYOUT = (
    Released(
        "mimicmotion-1-1",
        "unet",
        "mimicmotion/MimicMotion_1-1.pth",
        config="mimicmotion/MimicMotion_1-1.json",
        prefix="unet.",
        also=(("pose_net", "pose_net."),),
    ),
    Released(
        "svd-vae",
        "vae",
        f"{SVD}/vae/diffusion_pytorch_model.safetensors",
        config=f"{SVD}/vae/config.json",
    ),
    Released(
        "svd-image-encoder",
        "image_encoder",
        f"{SVD}/image_encoder/model.safetensors",
        config=f"{SVD}/image_encoder/config.json",
    ),
    Released("yolox", "", "dwpose/yolox_l.onnx", writer=write_detector),
    Released("dwpose-onnx", "", "dwpose/dw-ll_ucoco_384.onnx", writer=write_pose),
)
