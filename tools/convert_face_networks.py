"""Convert the MediaPipe face networks that personare bundles from TFLite to ONNX.

    python tools/convert_face_networks.py [mediapipe-0.10.21-....whl]

Run from the repository root with the extra `[tools]` installed. Without an argument the wheel
is fetched with `pip download --no-deps` (its code is never run). Writes
`src/personare/perception/networks/*.onnx` and the record `networks.toml` (sources and digests),
byte for byte the same on every run, after comparing each converted network with LiteRT on a
seeded random input; fails if they differ by more than a thousandth of the largest output.
"""

from __future__ import annotations

import hashlib
import struct
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from lips_operators import LipsOperators
from onnx import TensorProto, helper, numpy_helper

Array = np.ndarray[Any, Any]

REQUIREMENT = "mediapipe==0.10.21"
WHEEL_TAGS = ["--platform", "manylinux_2_28_x86_64", "--python-version", "3.11", "--only-binary", ":all:"]
NETWORKS_FOLDER = Path("src/personare/perception/networks")
OPSET = 17
IR_VERSION = 9
TOLERANCE = 1e-3


@dataclass(frozen=True)
class Source:
    """One network to convert: its place in the wheel and the names that its inputs and outputs
    get.
    """

    name: str
    member: str
    outputs: tuple[str, ...]
    tensors: tuple[str, ...] = ()
    """Names of the tensors that are these outputs, if not the graph's own; the rest is cut."""


SOURCES = (
    Source(
        "face_detection_short_range",
        "mediapipe/modules/face_detection/face_detection_short_range.tflite",
        ("boxes", "scores"),
    ),
    Source(
        "face_landmark", "mediapipe/modules/face_landmark/face_landmark.tflite", ("landmarks", "face_score")
    ),
    Source(
        "face_lips",
        "mediapipe/modules/face_landmark/face_landmark_with_attention.tflite",
        ("landmarks", "face_score", "lips"),
        ("output_mesh", "conv_faceflag", "output_lips"),
    ),
    Source("iris_landmark", "mediapipe/modules/iris_landmark/iris_landmark.tflite", ("eye_contour", "iris")),
    Source(
        "selfie_segmentation", "mediapipe/modules/selfie_segmentation/selfie_segmentation.tflite", ("matte",)
    ),
)

_ELEMENT_TYPES = {
    schema.TensorType.FLOAT32: np.float32,
    schema.TensorType.FLOAT16: np.float16,
    schema.TensorType.INT32: np.int32,
}
_OPERATOR_NAMES = {
    value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)
}
_TO_NCHW = (0, 3, 1, 2)
_TO_NHWC = (0, 2, 3, 1)


class Conversion(LipsOperators):
    """One TFLite graph on its way to ONNX.

    TFLite activations are [n, H, W, C], ONNX wants [n, C, H, W]: four-dimensional activations
    are kept in the ONNX order throughout and turned back only where an operator sees the order
    of elements (reshape, outputs). float16 weights stay float16 in the file, with a Cast that
    onnxruntime folds away when it loads the network.
    """

    def __init__(self, source: Source, flatbuffer: bytes) -> None:
        super().__init__()
        self._source = source
        self._model = schema.ModelT.InitFromPackedBuf(flatbuffer, 0)
        self._graph = self._model.subgraphs[0]
        self._nodes: list[onnx.NodeProto] = []
        self._initialisers: list[onnx.TensorProto] = []
        self._constants: dict[int, Array] = self._read_constants()
        self._values: dict[int, str] = {}

    def onnx_model(self) -> bytes:
        """The whole network, checked and serialised."""
        inputs = [self._begin_input(index) for index in self._graph.inputs]
        ends = self._ends()
        for operator in self._needed(ends):
            self._convert(operator)
        outputs = [
            self._end_output(index, name) for index, name in zip(ends, self._source.outputs, strict=True)
        ]
        graph = helper.make_graph(self._nodes, self._source.name, inputs, outputs, self._initialisers)
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="personare tools/convert_face_networks.py",
            doc_string=f"{REQUIREMENT} {self._source.member}, Apache-2.0, The MediaPipe Authors",
        )
        onnx.checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString(deterministic=True))

    def _read_constants(self) -> dict[int, Array]:
        constants = {}
        for index, tensor in enumerate(self._graph.tensors):
            data = self._model.buffers[tensor.buffer].data
            if data is not None and len(data):
                constants[index] = np.frombuffer(bytes(data), _ELEMENT_TYPES[tensor.type]).reshape(
                    tensor.shape
                )
        return constants

    def _ends(self) -> list[int]:
        """Indices of the tensors that are the outputs."""
        named = {tensor.name.decode(): index for index, tensor in enumerate(self._graph.tensors)}
        return [named[name] for name in self._source.tensors] or list(self._graph.outputs)

    def _needed(self, ends: Sequence[int]) -> list[Any]:
        """The operators that the ends need, in order."""
        wanted, needed = set(ends), []
        for operator in reversed(self._graph.operators):
            if wanted.intersection(operator.outputs):
                wanted.update(operator.inputs)
                needed.append(operator)
        return needed[::-1]

    def _begin_input(self, index: int) -> onnx.ValueInfoProto:
        self._values[index] = self._add("Transpose", ["input"], perm=_TO_NCHW)
        return helper.make_tensor_value_info("input", TensorProto.FLOAT, self._shape(index))

    def _end_output(self, index: int, name: str) -> onnx.ValueInfoProto:
        value, shape = self._values[index], self._shape(index)
        if len(shape) == 4:
            self._nodes.append(helper.make_node("Transpose", [value], [name], perm=_TO_NHWC))
        else:
            self._nodes.append(helper.make_node("Identity", [value], [name]))
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    def _convert(self, operator: Any) -> None:
        code = self._model.operatorCodes[operator.opcodeIndex]
        builtin = max(code.builtinCode, code.deprecatedBuiltinCode)
        name = (
            code.customCode.decode() if builtin == schema.BuiltinOperator.CUSTOM else _OPERATOR_NAMES[builtin]
        )
        options = operator.builtinOptions
        if getattr(options, "fusedActivationFunction", 0) != schema.ActivationFunctionType.NONE:
            raise NotImplementedError(f"{self._source.name}: fused activation in {name}")
        if name == "DEQUANTIZE":
            self._constants[operator.outputs[0]] = self._constants[operator.inputs[0]]
            return
        convert: Callable[[Any, Any], str] | None = getattr(self, f"_convert_{name.lower()}", None)
        if convert is None:
            raise NotImplementedError(f"{self._source.name}: operator {name}")
        self._values[operator.outputs[0]] = convert(operator, options)

    # One method per operator: `operator` has the tensor indices, `options` the TFLite
    # attributes; the ONNX value comes back.

    def _convert_conv_2d(self, operator: Any, options: Any) -> str:
        return self._convolution(operator, options, kernel_order=(0, 3, 1, 2), groups=1)  # out, kh, kw, in

    def _convert_depthwise_conv_2d(self, operator: Any, options: Any) -> str:
        channels = self._shape(operator.inputs[0])[3]
        return self._convolution(
            operator, options, kernel_order=(3, 0, 1, 2), groups=channels
        )  # 1, kh, kw, out

    def _convolution(self, operator: Any, options: Any, kernel_order: tuple[int, ...], groups: int) -> str:
        activation, kernel, bias = operator.inputs
        size = self._constants[kernel].shape[1:3]
        dilations = (options.dilationHFactor, options.dilationWFactor)
        strides = (options.strideH, options.strideW)
        return self._add(
            "Conv",
            [self._values[activation], self._weight(kernel, kernel_order), self._weight(bias)],
            kernel_shape=size,
            strides=strides,
            dilations=dilations,
            pads=self._pads(activation, options.padding, size, strides, dilations),
            group=groups,
        )

    def _convert_convolution2dtransposebias(self, operator: Any, options: Any) -> str:  # noqa: ARG002
        activation, kernel, bias = operator.inputs
        _padding, stride_width, stride_height = struct.unpack("<iii", bytes(operator.customOptions)[:12])
        size = self._constants[kernel].shape[1:3]
        if size != (stride_height, stride_width):
            raise NotImplementedError(f"{self._source.name}: transposed convolution with overlapping windows")
        return self._add(
            "ConvTranspose",
            [self._values[activation], self._weight(kernel, (3, 0, 1, 2)), self._weight(bias)],
            kernel_shape=size,
            strides=(stride_height, stride_width),
        )

    def _convert_max_pool_2d(self, operator: Any, options: Any) -> str:
        return self._pool("MaxPool", operator, options)

    def _convert_average_pool_2d(self, operator: Any, options: Any) -> str:
        return self._pool("AveragePool", operator, options)

    def _pool(self, kind: str, operator: Any, options: Any) -> str:
        size = (options.filterHeight, options.filterWidth)
        strides = (options.strideH, options.strideW)
        pads = self._pads(operator.inputs[0], options.padding, size, strides)
        return self._add(
            kind, [self._values[operator.inputs[0]]], kernel_shape=size, strides=strides, pads=pads
        )

    def _convert_pad(self, operator: Any, options: Any) -> str:  # noqa: ARG002
        activation, paddings = operator.inputs
        per_axis = self._constants[paddings].astype(np.int64)[list(_TO_NCHW)]  # [4, 2] before, after
        return self._add("Pad", [self._values[activation], self._initialiser(per_axis.T.ravel())])

    def _convert_prelu(self, operator: Any, options: Any) -> str:  # noqa: ARG002
        activation, slope = operator.inputs
        return self._add(
            "PRelu", [self._values[activation], self._weight(slope, (2, 0, 1))]
        )  # [1, 1, C] -> [C, 1, 1]

    def _convert_resize_bilinear(self, operator: Any, options: Any) -> str:
        mode = "half_pixel" if options.halfPixelCenters else "asymmetric"
        mode = "align_corners" if options.alignCorners else mode
        n, height, width, channels = self._shape(operator.outputs[0])
        sizes = self._initialiser(np.array([n, channels, height, width], np.int64))
        return self._add(
            "Resize",
            [self._values[operator.inputs[0]], "", "", sizes],
            mode="linear",
            coordinate_transformation_mode=mode,
        )

    def _convert_reshape(self, operator: Any, options: Any) -> str:  # noqa: ARG002
        value = self._values[operator.inputs[0]]
        if len(self._shape(operator.inputs[0])) == 4:
            value = self._add("Transpose", [value], perm=_TO_NHWC)
        shape = self._shape(operator.outputs[0])
        value = self._add("Reshape", [value, self._initialiser(np.array(shape, np.int64))])
        return self._add("Transpose", [value], perm=_TO_NCHW) if len(shape) == 4 else value

    def _convert_concatenation(self, operator: Any, options: Any) -> str:
        if len(self._shape(operator.outputs[0])) == 4:
            raise NotImplementedError(f"{self._source.name}: concatenation of four-dimensional tensors")
        return self._add("Concat", [self._values[index] for index in operator.inputs], axis=options.axis)

    def _convert_add(self, operator: Any, options: Any) -> str:  # noqa: ARG002
        return self._elementwise("Add", operator)

    def _convert_relu(self, operator: Any, options: Any) -> str:  # noqa: ARG002
        return self._elementwise("Relu", operator)

    def _convert_logistic(self, operator: Any, options: Any) -> str:  # noqa: ARG002
        return self._elementwise("Sigmoid", operator)

    def _convert_hard_swish(self, operator: Any, options: Any) -> str:  # noqa: ARG002
        return self._elementwise("HardSwish", operator)

    def _elementwise(self, kind: str, operator: Any) -> str:
        return self._add(kind, [self._values[index] for index in operator.inputs])

    def _pads(
        self,
        activation: int,
        padding: int,
        kernel: Sequence[int],
        strides: Sequence[int],
        dilations: Sequence[int] = (1, 1),
    ) -> list[int]:
        """ONNX pads (top, left, bottom, right). TFLite's SAME puts the odd pixel after, so it
        depends on the input size.
        """
        if padding == schema.Padding.VALID:
            return [0, 0, 0, 0]
        before, after = [], []
        for length, size, stride, dilation in zip(
            self._shape(activation)[1:3], kernel, strides, dilations, strict=True
        ):
            steps = -(-length // stride)
            missing = max((steps - 1) * stride + (size - 1) * dilation + 1 - length, 0)
            before.append(missing // 2)
            after.append(missing - missing // 2)
        return before + after

    def _shape(self, index: int) -> list[int]:
        return [int(length) for length in self._graph.tensors[index].shape]

    def _weight(self, index: int, order: tuple[int, ...] | None = None) -> str:
        array = self._constants[index]
        name = self._initialiser(array if order is None else array.transpose(order))
        return self._add("Cast", [name], to=TensorProto.FLOAT) if array.dtype == np.float16 else name

    def _initialiser(self, array: Array) -> str:
        name = f"constant_{len(self._initialisers)}"
        self._initialisers.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def _add(self, kind: str, inputs: Sequence[str], **attributes: Any) -> str:
        output = f"value_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output


def largest_difference(flatbuffer: bytes, converted: bytes) -> tuple[float, float]:
    """(largest absolute difference, largest absolute value) of all outputs of LiteRT and
    onnxruntime on one random input.
    """
    interpreter = Interpreter(model_content=flatbuffer, num_threads=1)
    interpreter.allocate_tensors()
    (wanted,) = interpreter.get_input_details()
    picture = np.random.default_rng(0).random(wanted["shape"], dtype=np.float32)
    interpreter.set_tensor(wanted["index"], picture)
    interpreter.invoke()
    session = onnxruntime.InferenceSession(converted, providers=["CPUExecutionProvider"])
    expected = [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]
    actual = session.run(None, {"input": picture})
    difference = max(float(np.abs(a - b).max()) for a, b in zip(expected, actual, strict=True))
    return difference, max(float(np.abs(a).max()) for a in expected)


def compared(source: Source, flatbuffer: bytes, converted: bytes) -> str:
    """What was found; ends the program where they differ."""
    if source.tensors:  # LiteRT lacks its operators; a test compares with MediaPipe's figures
        return "not compared with LiteRT"
    difference, magnitude = largest_difference(flatbuffer, converted)
    if difference > TOLERANCE * max(magnitude, 1.0):
        sys.exit(f"error: {source.name} does not match LiteRT")
    return f"max abs diff {difference:.2g} of {magnitude:.3g}"


def fetch_wheel(folder: Path) -> Path:
    """Download the pinned wheel (any platform's has the same networks; one is chosen so that
    the record is the same).
    """
    pip = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        *WHEEL_TAGS,
        "--dest",
        str(folder),
        REQUIREMENT,
    ]
    subprocess.run(pip, check=True)
    return next(folder.glob("*.whl"))


def record(wheel: Path, entries: Sequence[tuple[Source, bytes, bytes]]) -> str:
    """The text of networks.toml."""
    lines = [
        "# Written by tools/convert_face_networks.py; personare.perception.networks checks the digests when "
        "it loads a network.",
        f'wheel = "{wheel.name}"',
        f'wheel_sha256 = "{hashlib.sha256(wheel.read_bytes()).hexdigest()}"',
        'licence = "Apache-2.0"',
        'copyright = "The MediaPipe Authors"',
    ]
    for source, flatbuffer, converted in entries:
        lines += [
            "",
            f"[networks.{source.name}]",
            f'source = "{source.member}"',
            f'source_sha256 = "{hashlib.sha256(flatbuffer).hexdigest()}"',
            f'sha256 = "{hashlib.sha256(converted).hexdigest()}"',
        ]
    return "\n".join(lines) + "\n"


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        wheel = Path(sys.argv[1]) if len(sys.argv) > 1 else fetch_wheel(Path(scratch))
        with zipfile.ZipFile(wheel) as archive:
            flatbuffers = [archive.read(source.member) for source in SOURCES]
        entries = []
        for source, flatbuffer in zip(SOURCES, flatbuffers, strict=True):
            converted = Conversion(source, flatbuffer).onnx_model()
            print(f"{source.name}: {len(converted)} bytes, {compared(source, flatbuffer, converted)}")
            entries.append((source, flatbuffer, converted))
        NETWORKS_FOLDER.mkdir(exist_ok=True)
        for source, _, converted in entries:
            (NETWORKS_FOLDER / f"{source.name}.onnx").write_bytes(converted)
        (NETWORKS_FOLDER / "networks.toml").write_text(record(wheel, entries), encoding="utf-8")


if __name__ == "__main__":
    main()
