"""The one place that opens onnxruntime: quiet, on the processor, without threads that spin.

No other module imports onnxruntime (ruff's TID251 sees to it), so that none can forget the
settings. The variable that keeps it from reporting is in the environment by now: see
privacy.py.
"""

from __future__ import annotations

from typing import Any

import onnxruntime

onnxruntime.disable_telemetry_events()  # where the user's program imported it before us

Session = Any
"""An onnxruntime.InferenceSession, which has no types."""


def open_session(model: bytes, *, threads: int = 1, seed: int | None = None) -> Session:
    """A session for a model's bytes. Calls of one session are safe from several threads.

    threads: how many one call may use.
    seed: of the model's own noise; None leaves it as it is.

    Raises what onnxruntime raises of a model that it cannot run: classes of its own.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Spinning threads would take the core from the renderer between two calls.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if seed is not None:
        onnxruntime.set_seed(seed)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
