"""musetalk: the files of its released checkpoints, as its users have them on disk."""

from __future__ import annotations

from tests.conformance.seeded_checkpoint import Released

LAYOUT = (
    Released("musetalk-unet-v15", "unet", "musetalkV15/unet.pth", config="musetalkV15/musetalk.json"),
    Released("musetalk-unet-v1", "unet", "musetalk/pytorch_model.bin", config="musetalk/musetalk.json"),
    Released("sd-vae-ft-mse", "vae", "sd-vae/diffusion_pytorch_model.bin", config="sd-vae/config.json"),
    Released("whisper-tiny", "whisper_encoder", "whisper/model.safetensors", config="whisper/config.json"),
    Released("dwpose", "dwpose", "dwpose/dw-ll_ucoco_384.pth", wrapped_in="state_dict"),
    Released("face-parse-bisent", "face_parsing", "face-parse-bisent/79999_iter.pth"),
    Released("s3fd", "s3fd", "s3fd/s3fd-619a316812.pth"),
)
