"""float: the files of its released checkpoints, as its users have them on disk. float.json is
ours: other sizes.
"""

from __future__ import annotations

from tests.conformance.seeded_checkpoint import Released

EMOTION = "wav2vec-english-speech-emotion-recognition"

LAYOUT = (
    Released("float", "float", "float/float.pth", config="float/float.json"),
    Released(
        "wav2vec2-base-960h",
        "wav2vec2",
        "wav2vec2-base-960h/model.safetensors",
        config="wav2vec2-base-960h/config.json",
    ),
    Released("wav2vec2-emotion", "emotion", f"{EMOTION}/pytorch_model.bin", config=f"{EMOTION}/config.json"),
    Released("s3fd", "s3fd", "s3fd/s3fd-619a316812.pth"),
)
