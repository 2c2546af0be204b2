"""Checkpoints into networks: strict, converted on the way, and without a second copy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from personare.errors import EngineError, WeightsMismatch
from personare.weights.loading import load_strictly, read_state, unallocated

pytestmark = pytest.mark.neural
nn = torch.nn


class Network(nn.Module):  # type: ignore[misc, name-defined]
    """A bit of everything: parameters of several kinds, buffers that a file holds and buffers
    that none does.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.token = nn.Parameter(torch.randn(5))
        self.register_buffer("table", torch.arange(6, dtype=torch.float32), persistent=False)
        self.register_buffer("count", torch.tensor(3))


@pytest.fixture
def state() -> dict[str, Any]:
    torch.manual_seed(1)
    return dict(Network().state_dict())


def empty() -> Network:
    with unallocated():
        return Network()


def same(network: Network, state: dict[str, Any]) -> bool:
    return all(torch.equal(value, state[name]) for name, value in network.state_dict().items())


def test_nothing_is_allocated_but_what_no_file_holds() -> None:
    network = empty()
    assert all(parameter.is_meta for parameter in (network.conv.weight, network.norm.weight, network.token))
    assert network.table.tolist() == [0, 1, 2, 3, 4, 5]
    assert torch.randn(2).device.type == "cpu"


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_file_becomes_the_network_without_a_copy(
    tmp_path: Path, state: dict[str, Any], suffix: str
) -> None:
    path = tmp_path / f"net{suffix}"
    if suffix == ".pth":
        torch.save(state, path)
    else:
        from safetensors.torch import save_file

        save_file(state, path)
    read = read_state(path)
    network = empty()
    load_strictly(network, read, source="net")
    assert same(network, state)
    for name, value in network.state_dict().items():
        assert value.data_ptr() == read[name].data_ptr(), name
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_the_format_is_changed_on_the_way_and_integers_stay(state: dict[str, Any]) -> None:
    network = empty()
    load_strictly(network, state, dtype=torch.bfloat16)
    assert (
        network.conv.weight.dtype == network.norm.running_mean.dtype == network.table.dtype == torch.bfloat16
    )
    assert network.count.dtype == network.norm.num_batches_tracked.dtype == torch.int64
    assert torch.equal(network.token, state["token"].bfloat16())


def test_without_a_format_the_networks_own_holds(state: dict[str, Any]) -> None:
    network = empty()
    load_strictly(
        network, {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
    )
    assert network.conv.weight.dtype == torch.float32


def test_what_does_not_fit_is_listed(state: dict[str, Any]) -> None:
    del state["conv.bias"]
    state["conv.scale"] = torch.ones(1)
    state["token"] = torch.ones(6)
    with pytest.raises(WeightsMismatch) as caught:
        load_strictly(empty(), state, source="net.pth")
    assert caught.value.message == (
        "net.pth is not the network that was expected: tensors 1 missing (conv.bias); 1 unknown (conv.scale);"
        " 1 of another shape (token 6 instead of 5)"
    )


def test_long_lists_are_cut_in_the_message_and_whole_in_the_log(
    state: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    extra = {f"extra.{index}": torch.ones(1) for index in range(20)}
    with (
        caplog.at_level("INFO", "personare"),
        pytest.raises(WeightsMismatch, match=r"20 unknown .* and 15 more"),
    ):
        load_strictly(empty(), {**state, **extra}, source="net.pth")
    assert all(name in caplog.text for name in extra)


def test_another_network_is_called_so(state: dict[str, Any]) -> None:
    with pytest.raises(
        WeightsMismatch,
        match=r"holds another network: of 9 tensors .* none is in it; it has layer.0, layer.1",
    ):
        load_strictly(empty(), {f"layer.{index}": torch.ones(2) for index in range(2)}, source="net.pth")


def test_names_are_changed_by_explicit_maps(state: dict[str, Any]) -> None:
    old = {
        name.replace("conv.", "module.features.").replace("token", "cls"): value
        for name, value in state.items()
    }
    network = empty()
    load_strictly(network, old, rename={"module.features.": "conv.", "cls": "token"})
    assert same(network, state)
    load_strictly(network, {f"net.{name}": value for name, value in state.items()}, rename={"net.": ""})
    load_strictly(
        network, old, rename=lambda name: name.replace("module.features", "conv").replace("cls", "token")
    )
    assert same(network, state)


def test_a_map_that_is_not_used_up_is_an_error(state: dict[str, Any]) -> None:
    with pytest.raises(WeightsMismatch, match="it has no old_token, features"):
        load_strictly(empty(), state, rename={"old_token": "token", "features.": "conv."})


def test_two_tensors_for_one_place_are_an_error(state: dict[str, Any]) -> None:
    with pytest.raises(WeightsMismatch, match="holds token twice"):
        load_strictly(empty(), {**state, "other": state["token"]}, rename={"other": "token"})


def test_what_is_ignored_is_neither_loaded_nor_demanded(state: dict[str, Any]) -> None:
    del state["count"]
    network = empty()
    load_strictly(network, {**state, "decoder.weight": torch.ones(2)}, ignore=[r"^decoder\.", r"^count$"])
    assert network.count == 3
    load_strictly(
        network,
        {**state, "drop": torch.ones(2)},
        rename=lambda name: None if name == "drop" else name,
        ignore=["^count$"],
    )


def test_a_network_whose_constants_were_lost_is_refused(state: dict[str, Any]) -> None:
    with torch.device("meta"):
        network = Network()
    with pytest.raises(EngineError, match="no values for table") as caught:
        load_strictly(network, state)
    assert "unallocated" in caught.value.hint


def test_ignored_parameters_without_values_are_refused(state: dict[str, Any]) -> None:
    del state["token"]
    with pytest.raises(EngineError, match="no values for token"):
        load_strictly(empty(), state, ignore=["token"])


def test_library_classes_give_the_same_numbers(state: dict[str, Any]) -> None:
    import transformers
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    config = transformers.WhisperConfig(
        d_model=32, encoder_layers=1, encoder_attention_heads=2, encoder_ffn_dim=64
    )
    reference = WhisperEncoder(config).eval()
    with unallocated():
        network = WhisperEncoder(config)
    load_strictly(
        network,
        {f"model.encoder.{name}": value for name, value in reference.state_dict().items()},
        rename={"model.encoder.": ""},
    )
    mel = torch.randn(1, 80, 3000)
    assert torch.equal(network(mel).last_hidden_state, reference(mel).last_hidden_state)


@pytest.mark.parametrize("wrapper", ["state_dict", "model_state_dict", "model"])
def test_wrapped_states(tmp_path: Path, state: dict[str, Any], wrapper: str) -> None:
    torch.save({wrapper: state, "dims": {"n_mels": 80}, "epoch": 3}, tmp_path / "net.pth")
    assert list(read_state(tmp_path / "net.pth")) == list(state)
