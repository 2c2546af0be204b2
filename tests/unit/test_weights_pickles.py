"""Old checkpoints through the restricted reader: the same tensors that torch itself would give."""

from __future__ import annotations

import collections
import io
import json
import lzma
import pickle
import struct
import sys
import tarfile
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from personare.errors import WeightsMismatch
from personare.weights.loading import read_checkpoint, read_state
from personare.weights.records import Record, module_tensors
from tests.conformance.seeded_weights import seeded_state_dict

pytestmark = pytest.mark.neural

TRAP = Path(__file__).parents[1] / "conformance" / "nerffacespeech"


@pytest.fixture(scope="module")
def trap(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A network pickled with the source of its classes; that source raises when it is executed."""
    path = tmp_path_factory.mktemp("trap") / "tiny_network.pkl"
    path.write_bytes(lzma.decompress((TRAP / "tiny_network.pkl.xz").read_bytes()))
    read = read_checkpoint(path)
    assert isinstance(read, dict)
    return read


@pytest.mark.parametrize(("name", "seed"), [("G_ema", 0), ("G", 1)])
def test_the_trap_gives_its_tensors_and_runs_no_source(trap: dict[str, Any], name: str, seed: int) -> None:
    expected = seeded_state_dict(TRAP / "manifest_generator_nn_cat.json", seed)
    found = module_tensors(trap[name])
    assert expected.keys() <= found.keys()
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key].numpy(), value, err_msg=key)
    manifest = json.loads((TRAP / "manifest_generator_nn_cat.json").read_text())
    assert found.keys() <= manifest["tensors"].keys()


def test_the_trap_gives_plain_values_and_inert_records(trap: dict[str, Any]) -> None:
    assert trap["D"] is None
    options = trap["G_ema"].state["_init_kwargs"]
    assert options["img_resolution"] == 128
    assert isinstance(options["mapping_kwargs"], Record)
    assert options["mapping_kwargs"].kind == "omegaconf.dictconfig.DictConfig"
    assert "omegaconf" not in sys.modules


def tensors() -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(6, 5, generator=generator)
    return {
        "plain": base,
        "transposed": base.t(),
        "part": base[2:4],
        "half": base.half(),
        "bfloat": base.bfloat16(),
        "long": torch.arange(7),
        "flags": torch.tensor([True, False, True]),
        "empty": torch.empty(0, 3),
        "scalar": torch.tensor(2.5),
        "complex": torch.complex(base, base),
        "parameter": torch.nn.Parameter(base[:1]),
    }


def assert_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert list(found) == list(expected)
    for name, value in expected.items():
        assert found[name].dtype == value.dtype, name
        assert found[name].stride() == value.stride(), name
        assert torch.equal(found[name], value.detach()), name


def test_torchs_old_stream_gives_what_torch_gives(tmp_path: Path) -> None:
    torch.save(collections.OrderedDict(tensors()), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    found = read_state(tmp_path / "old.pth")
    assert_same(found, tensors())
    assert found["plain"].untyped_storage().data_ptr() == found["part"].untyped_storage().data_ptr()


def test_numbers_of_an_old_file_are_private_to_the_reader(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(4096)}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    before = (tmp_path / "old.pth").read_bytes()
    read_state(tmp_path / "old.pth")["a"].fill_(1)
    assert (tmp_path / "old.pth").read_bytes() == before


def old_tar(path: Path, values: dict[str, np.ndarray[Any, Any]]) -> None:
    """A checkpoint as torch < 0.1.10 wrote it: float32 tensors only, each with a storage of its
    own.
    """

    class Persistent(pickle.Pickler):
        def persistent_id(self, obj: object) -> str | None:
            return str(obj.key) if isinstance(obj, Key) else None

    class Key:
        def __init__(self, key: int) -> None:
            self.key = key

    class FloatStorage:
        pass

    FloatStorage.__module__, FloatStorage.__qualname__ = "torch", "FloatStorage"
    module = ModuleType("torch")
    module.FloatStorage = FloatStorage  # type: ignore[attr-defined]

    def dumped(value: object) -> bytes:
        held = sys.modules["torch"]
        sys.modules["torch"] = module
        try:
            return pickle.dumps(value, protocol=2)
        finally:
            sys.modules["torch"] = held

    storages, metas, names = dumped(len(values)), dumped(len(values)), {}
    for index, (name, value) in enumerate(values.items()):
        storages += (
            dumped((100 + index, "cpu", FloatStorage))
            + struct.pack("<q", value.size)
            + value.astype("<f4").tobytes()
        )
        strides = [step // value.itemsize for step in value.strides]
        metas += dumped((200 + index, 100 + index, "torch.FloatTensor")) + struct.pack("<ii", value.ndim, 0)
        metas += (
            struct.pack(f"<{value.ndim}q", *value.shape)
            + struct.pack(f"<{value.ndim}q", *strides)
            + struct.pack("<q", 0)
        )
        names[name] = Key(200 + index)
    storages += dumped([])
    buffer = io.BytesIO()
    Persistent(buffer, protocol=2).dump(names)
    with tarfile.open(path, "w:", format=tarfile.PAX_FORMAT) as archive:
        for name, data in {
            "sys_info": dumped({}),
            "pickle": buffer.getvalue(),
            "tensors": metas,
            "storages": storages,
        }.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


def test_a_tar_of_the_first_torch_gives_what_torch_gives(tmp_path: Path) -> None:
    values = {
        name: np.random.default_rng(0).standard_normal(shape, np.float32)
        for name, shape in (("a", (3, 4)), ("b", (5,)))
    }
    old_tar(tmp_path / "old.pth", values)
    found = read_state(tmp_path / "old.pth")
    reference = torch.load(tmp_path / "old.pth", weights_only=False)  # written by this test
    for name, value in values.items():
        np.testing.assert_array_equal(found[name].numpy(), value)
        assert torch.equal(found[name], reference[name])


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_plain_pickles_of_arrays_and_containers(tmp_path: Path, protocol: int) -> None:
    value = {
        "f": np.arange(6, dtype=np.float32).reshape(2, 3),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "big-endian": np.arange(3, dtype=">i4"),
        "flags": np.array([True, False]),
        "names": np.array(["a", "bc"]),
        "scalar": np.float64(1.5),
        "nested": [
            (1, 2.5, None, True),
            {"x": {1, 2}},
            frozenset({"a"}),
            b"bytes",
            bytearray(b"more"),
            1 << 100,
            1j,
        ],
        "ordered": collections.OrderedDict(a=1),
        "default": collections.defaultdict(list, {"k": [1]}),
        "queue": collections.deque([1, 2]),
    }
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps(value, protocol=protocol))
    found = read_checkpoint(tmp_path / "plain.pkl")
    for name in ("f", "fortran", "big-endian", "flags", "names"):
        np.testing.assert_array_equal(found[name], value[name])
        assert found[name].dtype == value[name].dtype  # type: ignore[attr-defined]
    assert found["scalar"] == 1.5
    assert found["nested"][:6] == value["nested"][:6]  # type: ignore[index]
    assert found["ordered"] == {"a": 1}
    assert found["default"] == {"k": [1]}
    assert found["queue"] == [1, 2]


def test_arrays_in_a_dictionary_are_a_state(tmp_path: Path) -> None:
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps({"w": np.ones((2, 2), np.float32), "epoch": 3}))
    assert torch.equal(read_state(tmp_path / "plain.pkl")["w"], torch.ones(2, 2))


class HistoryBuffer:
    """Stands for a class of a training framework that is not installed where the checkpoint is
    read.
    """

    def __init__(self) -> None:
        self._log_history = np.arange(3.0)

    def __setstate__(self, state: object) -> None:
        raise AssertionError("called")

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__


@pytest.mark.parametrize("is_zip", [True, False])
def test_a_training_checkpoint_gives_its_network_and_its_classes_stay_inert(
    tmp_path: Path, is_zip: bool
) -> None:
    state = {"backbone.w": torch.arange(10.0), "head.b": torch.ones(2, dtype=torch.float64)}
    held = {
        "meta": {"epoch": np.int64(7), "time": "now", "path": Path("/work")},
        "state_dict": collections.OrderedDict(state),
        "message_hub": {"log_scalars": collections.OrderedDict(loss=HistoryBuffer())},
        "optimizer": {"state": {0: {"exp_avg": torch.zeros(10)}}, "param_groups": [{"lr": 0.1}]},
    }
    torch.save(held, tmp_path / "dw.pth", _use_new_zipfile_serialization=is_zip)
    assert_same(read_state(tmp_path / "dw.pth"), state)
    buffer = read_checkpoint(tmp_path / "dw.pth")["message_hub"]["log_scalars"]["loss"]
    assert isinstance(buffer, Record)
    assert buffer.kind.endswith("HistoryBuffer")
    np.testing.assert_array_equal(buffer.state["_log_history"], np.arange(3.0))


def test_a_pickled_module_gives_its_state_dict(tmp_path: Path) -> None:
    module = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 1), torch.nn.BatchNorm2d(3))
    torch.save(module, tmp_path / "module.pth")
    assert_same(read_state(tmp_path / "module.pth"), dict(module.state_dict()))


def test_what_holds_no_network_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "coords.pkl").write_bytes(pickle.dumps([(0, 1, 2, 3)]))
    with pytest.raises(WeightsMismatch, match="not the checkpoint of one network: it holds a list"):
        read_state(tmp_path / "coords.pkl")
    (tmp_path / "numbers.pkl").write_bytes(pickle.dumps({"epoch": 1, "lr": 2}))
    with pytest.raises(WeightsMismatch, match="it holds epoch, lr"):
        read_state(tmp_path / "numbers.pkl")
