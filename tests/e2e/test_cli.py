"""Every command but `speak`, as a user types it."""

from __future__ import annotations

import subprocess
import sys

import pytest

SMALL = ("--set", "size=256")


@pytest.fixture
def anna(cli, portrait):
    ended = cli("avatar", "create", "anna", portrait, *SMALL)
    assert ended.code == 0, ended
    return "anna"


def test_avatar_life_cycle(cli, anna, tmp_path, voice, portrait):
    assert [a["name"] for a in cli("avatar", "list", "--json").json["avatars"]] == ["anna"]
    assert cli("avatar", "show", anna, "--json").json["options"]["size"] == 256
    ended = cli("speak", anna, voice, "-o", tmp_path / "a.mp4", "--json")
    assert ended.json["avatar"] == "anna"
    assert ended.json["width"] == 256
    assert set(ended.json["cache"]["stages"].values()) == {"hit"}
    again = cli("avatar", "create", "anna", portrait, *SMALL)
    assert again.code == 3
    assert "anna" in again.err
    assert cli("avatar", "create", "anna", portrait, "--replace", *SMALL).code == 0
    assert cli("avatar", "rm", anna).code == 0
    assert cli("avatar", "list", "--json").json["avatars"] == []
    gone = cli("avatar", "show", anna)
    assert gone.code == 3
    assert gone.err.startswith("error: ")


def test_an_avatar_survives_its_photo(cli, tmp_path, portrait, voice):
    photo = tmp_path / "me.jpg"
    photo.write_bytes(portrait.read_bytes())
    assert cli("avatar", "create", "me", photo, *SMALL).code == 0
    photo.unlink()
    assert cli("cache", "clear", "--all").code == 0
    ended = cli("speak", "me", voice, "-o", tmp_path / "a.mp4", "--json")
    assert ended.code == 0, ended
    assert set(ended.json["cache"]["stages"].values()) == {"miss"}


def test_status_tells_what_a_change_would_recompute(cli, anna):
    status = cli("avatar", "status", anna, "--json").json
    stages = [stage["stage"] for stage in status["stages"]]
    assert all(stage["cached"] and stage["bytes"] > 0 for stage in status["stages"])
    assert status["recomputed_by"]["seed"] == []
    assert status["recomputed_by"]["fps"] == []
    changed = status["recomputed_by"]["size"]
    assert changed
    assert "puppet.face" not in changed
    other = cli("avatar", "status", anna, "--set", "size=512", "--json").json
    assert [s["stage"] for s in other["stages"] if not s["cached"]] == changed
    assert set(changed) < set(stages)
    assert "recomputes" in cli("avatar", "status", anna).out


def test_status_tries_values_and_does_not_guess_from_names(cli, anna):
    changed = cli("avatar", "status", anna, "--json").json["recomputed_by"]
    assert changed["framing"] == ["puppet.crop", "puppet.rig", "puppet.plate"]
    assert changed["look"] == [], "the bundled head needs no preparation"
    assert [option for option in ("emotion", "gaze", "background") if changed[option]] == []
    other = cli("avatar", "status", anna, "--set", "framing=original", "--json").json
    assert [s["stage"] for s in other["stages"] if not s["cached"]] == changed["framing"]


def test_prune_keeps_what_avatars_pin(cli, anna, portrait):
    assert cli("avatar", "create", "large", portrait, "--set", "size=1024").code == 0
    assert cli("avatar", "rm", "large").code == 0
    before = cli("cache", "stats", "--json").json
    report = cli("cache", "prune", "--max-size", "1kB", "--json").json
    assert report["removed"] > 0
    after = cli("cache", "stats", "--json").json
    assert after["bytes"] == after["pinned_bytes"] == before["pinned_bytes"]
    assert all(stage["cached"] for stage in cli("avatar", "status", anna, "--json").json["stages"])


def test_cache_commands(cli, anna):
    assert "puppet.face" in cli("cache", "stats").out
    features = cli("cache", "list", "--json").json["features"]
    assert {feature["stage"] for feature in features} >= {"puppet.face", "puppet.crop"}
    assert all(feature["pinned_by"] == ["anna"] for feature in features)
    verified = cli("cache", "verify", "--json").json
    assert (verified["checked"], verified["damaged"]) == (len(features), [])
    assert cli("cache", "clear", "--json").json["removed"] == 0
    assert cli("cache", "clear", "--all", "--json").json["removed"] == len(features)
    assert cli("cache", "prune", "--max-size", "a lot").code == 3


def test_verify_finds_damage(cli, anna, home):
    victim = next(home.rglob("*.safetensors"))
    victim.write_bytes(victim.read_bytes()[:-1])
    ended = cli("cache", "verify")
    assert ended.code == 5
    assert "1 damaged" in ended.out
    assert cli("cache", "verify").code == 0


def test_engines(cli):
    (puppet,) = [e for e in cli("engines", "--json").json["engines"] if e["engine"] == "puppet"]
    assert puppet["ready"]
    assert puppet["driven_by"] == ["guide", "speech"]
    assert 0.1 < puppet["latency_floor_seconds"] <= 0.25
    assert "size" in puppet["options"]
    assert "ready" in cli("engines").out


def test_schema_describes_orders_settings_and_options(cli):
    whole = cli("schema").json
    assert set(whole) == {"order", "settings", "engines"}
    assert whole["order"] == cli("schema", "order", "--json").json
    assert whole["settings"] == cli("schema", "settings").json
    assert whole["engines"] == cli("schema", "engine").json
    size = cli("schema", "engine", "puppet").json["properties"]["size"]
    assert (size["minimum"], size["maximum"], size["default"]) == (256, 1024, 512)
    for described in (whole["order"], whole["settings"], *whole["engines"].values()):
        assert all(field["description"] for field in described["properties"].values())
    assert cli("schema", "engine", "nobody").code == 3
    assert cli("schema", "order", "puppet").code == 2
    assert cli("schema", "face").code == 2


def test_every_command_has_the_common_switches():
    import typer

    from personare.cli.app import program

    def commands(command, path=()):
        below = getattr(command, "commands", {})
        return [found for name, sub in below.items() for found in commands(sub, (*path, name))] or [
            (path, command)
        ]

    found = commands(typer.main.get_command(program()))
    assert len(found) > 20
    for path, command in found:
        names = {name for parameter in command.params for name in parameter.opts}
        assert {"--json", "--verbose", "--debug"} <= names, path
        assert command.help, path
        assert all(parameter.help for parameter in command.params), path


def test_voices_and_doctor(cli):
    voices = cli("voices", "--json").json["voices"]
    assert {"en", "zh", "ja", "de", "fr", "es"} <= {voice["language"] for voice in voices}
    ended = cli("doctor", "--json")
    assert ended.code == 0
    assert ended.json["well"]
    assert "engine puppet" in {finding["what"] for finding in ended.json["findings"]}
    said = cli("doctor").out
    assert "ok" in said
    assert "this machine can run puppet" in said


def test_verbose_logs_are_structured(cli, portrait):
    ended = cli("avatar", "create", "v", portrait, *SMALL, "-v")
    lines = ended.err.splitlines()
    assert lines
    assert all(line.startswith("time=") and " level=" in line and " msg=" in line for line in lines)


def test_debug_shows_a_traceback(cli, tmp_path, portrait):
    quiet = cli("speak", portrait, tmp_path / "no.wav", "-o", tmp_path / "a.mp4")
    loud = cli("speak", portrait, tmp_path / "no.wav", "-o", tmp_path / "a.mp4", "--debug")
    assert "Traceback" not in quiet.err
    assert "Traceback" in loud.err


@pytest.mark.parametrize("statement", ["import personare", "import personare.cli.main"])
def test_starting_imports_nothing_heavy(statement):
    code = f"import sys; {statement}; print(*sys.modules)"
    modules = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"numpy", "cv2", "av", "onnxruntime", "torch", "pydantic"} & set(modules)
