"""Write the network that the package bundles, from trained weights, and check it.

    python tools/articulation/export.py first.pt second.pt --out src/personare/voice/networks

articulation.onnx (opset 17): x float32 [1, T, 40] normalised log mel, any T >= 1, and state
float32 [1, N] (zeros at first) -> near float32 [1, T, 20] (15 viseme probabilities, then
closed, labiodental, rounded, open, voice; of the frame 80 ms before) and state_out [1, N].
Several networks answer by the mean of their probabilities: their errors differ. Batch norms are
folded into the convolutions; weights are stored in half precision and computed with in single.
Fails if the ONNX answers differ from torch's by more than 2e-3, or whole and frame-by-frame
answers by more than 1e-5. SHA256SUMS beside it names the file that the product accepts.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from network import CHANNELS, FLAGS, LOOKAHEAD_FRAMES, OUTPUTS, PRIMING_FRAMES, Network, answers, load_network
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from personare.voice.features import MELS, SILENT_INPUT
from personare.voice.visemes import VISEMES

Array = NDArray[np.float64]
OPSET, IR_VERSION = 17, 8
HALF_PRECISION_TOLERANCE, STREAMING_TOLERANCE = 2e-3, 1e-5
NUMBERS = {"one": 1.0, "two": 2.0, "rivalry": 0.3, "gain": 1.08}
"""closed = min(1, 1.08 closed (1 - .3 labiodental)). v and f are what closures are most often
mistaken for, and lips cannot do both; the gain keeps the thresholds of the product where they
were. Both from half 0 of the real files.
"""
_END = 2**31


class Graph:
    """Nodes and constants, named after what they make."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []
        self.state = 0
        self._kept: list[str] = []

    def node(self, kind: str, inputs: list[str], output: str, **attributes: object) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def integers(self, name: str, values: list[int]) -> str:
        self.constants.append(numpy_helper.from_array(np.array(values, np.int64), name))
        return name

    def weights(self, name: str, values: Array) -> str:
        self.constants.append(numpy_helper.from_array(values.astype(np.float16), f"{name}_half"))
        return self.node("Cast", [f"{name}_half"], name, to=TensorProto.FLOAT)

    def cut(self, x: str, first: int, last: int, axis: int, output: str) -> str:
        ends = [
            self.integers(f"{output}_{what}", [value])
            for what, value in (("from", first), ("to", last), ("axis", axis))
        ]
        return self.node("Slice", [x, *ends], output)

    def conv(self, x: str, name: str, weight: Array, bias: Array, dilation: int = 1) -> str:
        inputs = [x, self.weights(f"{name}_w", weight), self.weights(f"{name}_b", bias)]
        return self.node("Conv", inputs, name, dilations=[dilation], kernel_shape=[weight.shape[-1]])

    def with_past(self, x: str, channels: int, frames: int, output: str) -> str:
        """x with its last `frames` columns before; takes them from the state, and keeps the new
        ones.
        """
        size = channels * frames
        flat = self.cut("state", self.state, self.state + size, 1, f"{output}_flat")
        self.state += size
        past = self.node(
            "Reshape", [flat, self.integers(f"{output}_shape", [1, channels, frames])], f"{output}_past"
        )
        self.node("Concat", [past, x], output, axis=2)
        tail = self.cut(output, -frames, _END, 2, f"{output}_tail")
        kept = self.node(
            "Reshape", [tail, self.integers(f"{output}_flat_shape", [1, size])], f"{output}_kept"
        )
        self._kept.append(kept)
        return output

    def finish(self) -> onnx.ModelProto:
        self.node("Concat", self._kept, "state_out", axis=1)
        inputs = [_float("x", [1, "frames", MELS]), _float("state", [1, self.state])]
        outputs = [_float("near", [1, "frames", OUTPUTS]), _float("state_out", [1, self.state])]
        graph = helper.make_graph(self.nodes, "articulation", inputs, outputs, self.constants)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
        )
        onnx.checker.check_model(model, full_check=True)
        return model


def _float(name: str, shape: list[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def trunk_and_head(graph: Graph, network: Network, name: str) -> tuple[str, str]:
    """Viseme probabilities [1, T, 15] and flags [1, T, 5] of one network; all it makes is named
    NAME.something.
    """
    weights = {key: value.numpy().astype(np.float64) for key, value in network.state_dict().items()}
    y = graph.node(
        "Relu",
        [graph.conv("stacked", f"{name}.inp", weights["inp.weight"], weights["inp.bias"])],
        f"{name}.trunk",
    )
    for i, dilation in enumerate(network.dilations):
        own = {
            key.removeprefix(f"blocks.{i}."): value
            for key, value in weights.items()
            if key.startswith(f"blocks.{i}.")
        }
        gain = own["norm.weight"] / np.sqrt(own["norm.running_var"] + 1e-5)
        bias = (own["conv.bias"] - own["norm.running_mean"]) * gain + own["norm.bias"]
        heard = graph.with_past(y, CHANNELS, 2 * dilation, f"{name}.block{i}")
        hidden = graph.conv(
            heard, f"{name}.conv{i}", own["conv.weight"] * gain[:, None, None], bias, dilation
        )
        relu = graph.node("Relu", [hidden], f"{name}.relu{i}")
        mixed = graph.conv(relu, f"{name}.mix{i}", own["mix.weight"], own["mix.bias"])
        y = graph.node("Add", [y, mixed], f"{name}.trunk{i}")
    logits = graph.conv(y, f"{name}.head", weights["near.weight"], weights["near.bias"])
    logits = graph.node("Transpose", [logits], f"{name}.logits", perm=[0, 2, 1])
    visemes = graph.cut(logits, 0, len(VISEMES), 2, f"{name}.viseme_logits")
    flags = graph.cut(logits, len(VISEMES), OUTPUTS, 2, f"{name}.flag_logits")
    return graph.node("Softmax", [visemes], f"{name}.visemes", axis=2), graph.node(
        "Sigmoid", [flags], f"{name}.flags"
    )


def build(networks: Sequence[Network]) -> onnx.ModelProto:
    graph = Graph()
    graph.constants += [
        numpy_helper.from_array(np.array([value], np.float32), name) for name, value in NUMBERS.items()
    ]
    x = graph.node("Transpose", ["x"], "mel", perm=[0, 2, 1])
    before = graph.cut(graph.with_past(x, MELS, 1, "mel_and_before"), 0, -1, 2, "before")
    difference = graph.node("Sub", [x, before], "difference")
    graph.node("Concat", [x, graph.node("Mul", [difference, "two"], "delta")], "stacked", axis=1)
    heard = [trunk_and_head(graph, network, f"member{k}") for k, network in enumerate(networks)]
    visemes, flags = (
        graph.node("Mean", list(parts), name)
        for parts, name in zip(zip(*heard, strict=True), ("visemes", "flags"), strict=True)
    )
    closed, bitten = (graph.cut(flags, k, k + 1, 2, FLAGS[k]) for k in range(2))
    spared = graph.node("Sub", ["one", graph.node("Mul", [bitten, "rivalry"], "rival")], "spared")
    closed = graph.node("Mul", [graph.node("Mul", [closed, spared], "closed_alone"), "gain"], "closed_scaled")
    closed = graph.node("Min", [closed, "one"], "closed_at_most_one")
    others = graph.cut(flags, 1, len(FLAGS), 2, "other_flags")
    graph.node("Concat", [visemes, closed, others], "near", axis=2)
    return graph.finish()


def check(model: bytes, networks: Sequence[Network]) -> tuple[float, float]:
    """Largest difference from torch, and between one pass and frame by frame."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    mel = np.random.default_rng(0).normal(-0.5, 0.8, (200, MELS)).astype(np.float32)
    silence = np.full((PRIMING_FRAMES, MELS), SILENT_INPUT, np.float32)
    fed = np.concatenate([silence, mel, np.repeat(mel[-1:], LOOKAHEAD_FRAMES["near"], axis=0)])
    at_rest = np.zeros(session.get_inputs()[1].shape, np.float32)
    whole = session.run(["near"], {"x": fed[None], "state": at_rest})[0][0]
    state, parts = at_rest, []
    for frame in fed:
        near, state = session.run(["near", "state_out"], {"x": frame[None, None], "state": state})
        parts.append(near[0])
    expected = np.mean([answers(network, mel)["near"] for network in networks], axis=0)
    alone = expected[:, len(VISEMES)] * (1 - NUMBERS["rivalry"] * expected[:, len(VISEMES) + 1])
    expected[:, len(VISEMES)] = np.minimum(1, NUMBERS["gain"] * alone)
    return float(np.abs(whole[-len(mel) :] - expected).max()), float(
        np.abs(whole - np.concatenate(parts)).max()
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("weights", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    networks = [load_network(path) for path in arguments.weights]
    model = build(networks).SerializeToString()
    from_torch, streaming = check(model, networks)
    if from_torch > HALF_PRECISION_TOLERANCE or streaming > STREAMING_TOLERANCE:
        parser.error(
            f"the exported network differs: {from_torch:.1e} from torch, {streaming:.1e} when streaming"
        )
    digest = hashlib.sha256(model).hexdigest()
    (arguments.out / "articulation.onnx").write_bytes(model)
    (arguments.out / "SHA256SUMS").write_text(f"{digest}  articulation.onnx\n", encoding="utf-8")
    print(
        f"{len(model) / 1e6:.2f} MB, sha256 {digest}; {from_torch:.1e} from torch, {streaming:.1e} when "
        f"streaming"
    )


if __name__ == "__main__":
    main()
