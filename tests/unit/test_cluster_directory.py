"""Places on many nodes, and what a deployment's files say. No cluster runs."""

from __future__ import annotations

import importlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from personare.cluster.deployment import Deployment, deployment_of, read_deployment
from personare.cluster.directory import LEAN, Directory
from personare.errors import Busy, InvalidOption
from personare.serve.live.admission import SHARE, TRANSPORT_CORES, UNKNOWN_CORES

ROOT = Path(__file__).parents[2]
COST = 0.42


@pytest.fixture
def directory() -> Directory:
    """Two nodes of four cores; sessions of a kind that costs half a core with its transport."""
    directory = Directory()
    directory.join("a", 4)
    directory.join("b", 4)
    directory.enter("first", "kind")
    directory.measured("first", "kind", COST)
    directory.leave("first")
    return directory


def fill(directory: Directory, count: int, avatar: str = "") -> list[str]:
    return [directory.enter(f"{avatar}{number}", "kind", avatar).node for number in range(count)]


def test_sessions_fill_all_nodes_by_cost_and_no_further(directory):
    each = int(SHARE * 4 / (COST + TRANSPORT_CORES))
    nodes = fill(directory, 2 * each)
    assert sorted(nodes) == ["a"] * each + ["b"] * each
    with pytest.raises(Busy, match=r"this one needs 0\.50"):
        directory.enter("more", "kind")
    directory.leave("0")
    directory.leave("0")
    assert directory.enter("more", "kind").node == nodes[0]
    assert directory.used == pytest.approx(2 * each * (COST + TRANSPORT_CORES))


def test_a_new_kind_is_measured_by_its_first_session(directory):
    placed = directory.enter("x", "large")
    assert placed.measure
    assert directory.used == UNKNOWN_CORES
    directory.measured("x", "large", 3.5)  # more than a node has: the only one there may stay
    assert not directory.enter("y", "large").measure
    with pytest.raises(Busy, match=r"this one needs 3\.58"):
        directory.enter("z", "large")
    assert directory.where("z") is None


def test_an_avatar_goes_where_it_is_warm_unless_that_is_much_fuller(directory):
    first = directory.enter("1", "kind", "anna")
    assert not first.warm
    assert directory.enter("2", "kind", "anna") == type(first)(first.node, True, False)
    nodes = [directory.enter(f"anna{number}", "kind", "anna") for number in range(8)]
    assert {placed.node for placed in nodes} == {"a", "b"}
    used = directory.room()
    assert abs(used["a"] - used["b"]) / (SHARE * 4) <= LEAN + COST


def test_a_lost_node_s_sessions_have_no_place_and_find_another(directory):
    nodes = dict(enumerate(fill(directory, 4)))
    lost = directory.lose("a")
    assert lost == [str(number) for number, node in nodes.items() if node == "a"]
    assert directory.lose("a") == []
    assert all(directory.where(session) is None for session in lost)
    assert [directory.enter(session, "kind").node for session in lost] == ["b"] * len(lost)
    assert directory.nodes == ["b"]


def test_what_sessions_in_play_take_puts_a_figure_right_that_was_too_high(directory):
    directory.enter("x", "large")
    directory.measured("x", "large", 3.0)
    directory.enter("y", "large")
    with pytest.raises(Busy):
        directory.enter("z", "large")
    directory.seen("large", 1.0)
    directory.seen("large", 2.0)
    assert directory.known("large") == pytest.approx(1.0)
    assert directory.used == pytest.approx(2 * (1.0 + TRANSPORT_CORES)), "also of those that are in"
    assert directory.enter("z", "large").node == "a"
    for session in "xyz":
        directory.leave(session)
    assert directory.used == 0
    assert directory.room() == pytest.approx({"a": SHARE * 4, "b": SHARE * 4})


def test_nothing_new_goes_to_a_node_that_drains(directory):
    directory.enter("1", "kind")
    there = directory.drain("a")
    assert set(fill(directory, 3, "x")) == {"b"}
    assert directory.capacity == SHARE * 4
    directory.drain("a", False)
    assert directory.enter("2", "kind").node == "a"
    assert set(there) <= {"1"}


def test_a_share_of_a_gpu_is_had_where_one_is_and_given_back(directory):
    directory.join("a", 4, gpus=1.0)
    placed = [directory.enter(f"{number}", "kind", gpu=0.5) for number in range(2)]
    assert [(one.node, one.gpu) for one in placed] == [("a", 0.5)] * 2
    with pytest.raises(Busy, match=r"no GPU has 0\.5"):
        directory.enter("2", "kind", gpu=0.5)
    assert directory.enter("2", "kind").node == "b", "who needs none goes where there is room"
    directory.measured("1", "kind", COST)
    with pytest.raises(Busy, match="no GPU"):
        directory.enter("3", "kind", gpu=0.5)
    directory.leave("1")
    assert directory.enter("3", "kind", gpu=0.5).gpu == 0.5
    directory.join("a", 4)  # its GPUs are somebody else's now
    assert directory.enter("4", "kind", gpu=0.5).gpu == 0.0


def test_sessions_that_are_found_count(directory):
    directory.put("1", "a", "kind", "anna")
    assert directory.where("1") == "a"
    assert directory.used == pytest.approx(COST + TRANSPORT_CORES)
    directory.put("2", "gone", "kind")
    assert directory.where("2") is None
    assert directory.enter("3", "kind", "anna").warm


def test_a_deployment_s_file(tmp_path):
    (tmp_path / "keys.toml").write_text('[alice]\nkey = "0123456789abcdef0123"\n')
    config = tmp_path / "deploy.toml"
    config.write_text('on = "ray"\nspare = 2\napi_keys = "keys.toml"\n[service]\nport = 9000\n')
    read = read_deployment(config)
    assert (read.spare, read.service.port, [key.name for key in read.service.keys]) == (2, 9000, ["alice"])
    assert read_deployment(None) == Deployment()
    for text, told in (
        ("spare = -1", "spare"),
        ("gpu = 1.5", "gpu"),
        ("what = 1", "no field 'what'"),
        ("[", "not TOML"),
        ('[service]\nhost = "0.0.0.0"', "no API key"),
        ("api_keys = 1", "api_keys"),
    ):
        config.write_text(text)
        with pytest.raises(InvalidOption, match=told):
            read_deployment(config)


def test_the_manifest_of_kubernetes_says_what_the_program_takes(tmp_path):
    yaml = pytest.importorskip("yaml")
    claim, service = yaml.safe_load_all((ROOT / "deploy" / "rayservice.yaml").read_text())
    config = yaml.safe_load(service["spec"]["serveConfigV2"])
    (application,) = config["applications"]
    module, _, name = application["import_path"].partition(":")
    assert callable(getattr(importlib.import_module(module), name))
    keys = tmp_path / "keys.toml"
    keys.write_text('[alice]\nkey = "0123456789abcdef0123"\n')
    read = deployment_of({**application["args"], "api_keys": str(keys)})
    assert (read.service.host, read.service.port) == (
        config["http_options"]["host"],
        config["http_options"]["port"],
    )
    cluster = service["spec"]["rayClusterConfig"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    pods = [group["template"]["spec"] for group in groups]
    containers = [container for pod in pods for container in pod["containers"]]
    assert {container["image"] for container in containers} == {"personare-ray"}
    for pod in pods:
        volumes = {volume["name"] for volume in pod["volumes"]}
        for container in pod["containers"]:
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
            assert container["resources"]["limits"]["memory"]
            assert not any("TOKEN" in one["name"] for one in container["env"])
    assert cluster["authOptions"] == {"mode": "token", "secretName": "personare"}
    told = (ROOT / "deploy" / "rayservice.yaml").read_text().partition("apiVersion")[0]
    assert "secret generic personare --from-literal=auth_token=$(openssl" in told
    assert pods[0]["volumes"][0]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]


def test_the_simulation_runs_and_no_session_is_lost_track_of(tmp_path):
    told = tmp_path / "told.json"
    command = [sys.executable, ROOT / "benchmarks" / "fleet.py", "--sessions", "10", "300", "--json", told]
    subprocess.run(command, check=True, capture_output=True)
    rows = json.loads(told.read_text())["rows"]
    assert [row["sessions"] for row in rows] == [10, 300]
    for row in rows:
        assert 0 < row["used"] <= 1
        assert row["start_p50"] <= row["start_p95"] <= row["start_p99"]
    assert rows[1]["warm"] > rows[0]["warm"]


def test_with_one_node_too_few_sessions_are_turned_away():
    fleet = _fleet()
    full = fleet.simulate(100, load=fleet.Load(headroom=0.4))
    roomy = fleet.simulate(100, load=fleet.Load(headroom=2.0))
    assert full.turned_away > 0.2
    assert roomy.turned_away == 0
    assert roomy.dollars_hour > full.dollars_hour


def test_a_lost_node_costs_sessions_a_start_and_no_more():
    fleet = _fleet()
    seen = fleet.simulate(200, fleet.Costs(node_hours=0.5), fleet.Load(headroom=2.0))
    assert seen.lost > 0
    assert seen.turned_away == 0


def _fleet():
    spec = importlib.util.spec_from_file_location("fleet", ROOT / "benchmarks" / "fleet.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["fleet"] = module
    spec.loader.exec_module(module)
    return module
