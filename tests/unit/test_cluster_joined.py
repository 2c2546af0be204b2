"""What a machine tells Ray before it joins a cluster."""

from __future__ import annotations

import os

import pytest

from personare.cluster.joined import following, send_token
from personare.work.workers import Capacity
from tests.unit.fake_ray import ray  # noqa: F401


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """A machine without a token."""
    for name in ("RAY_ADDRESS", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"):
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_without_a_token_nothing_is_set():
    send_token("ray://head:10001")
    assert "RAY_AUTH_MODE" not in os.environ


@pytest.mark.parametrize("name", ["RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"])
def test_a_token_is_sent(monkeypatch, name):
    monkeypatch.setenv(name, "x")
    send_token("ray://head:10001")
    assert os.environ["RAY_AUTH_MODE"] == "token"


def test_a_cluster_that_is_joined_without_the_client_sees_for_itself(monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", "x")
    send_token("ray")
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    send_token("ray")
    assert "RAY_AUTH_MODE" not in os.environ
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
    send_token("ray")
    assert os.environ["RAY_AUTH_MODE"] == "token"


def test_the_token_of_ray_s_own_file_is_sent_as_well(alone):
    (alone / ".ray").mkdir()
    (alone / ".ray" / "auth_token").write_text("x")
    send_token("ray://head:10001")
    assert os.environ["RAY_AUTH_MODE"] == "token"


def test_a_mode_that_is_set_stays(monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", "x")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    send_token("ray://head:10001")
    assert os.environ["RAY_AUTH_MODE"] == "disabled"


def test_what_a_cluster_has_is_followed_and_the_last_answer_stays(ray):  # noqa: F811
    now = [0.0]
    there = following(lambda: now[0])
    assert there() == Capacity(8, 2)
    ray.alive["c"] = 2.5
    assert there() == Capacity(8, 2)
    now[0] = 1.0
    assert there() == Capacity(10, 3)
    ray.alive["c"] = None  # so that the answer cannot be read
    now[0] = 2.0
    assert there() == Capacity(10, 3)
    ray.alive = {"a": 0.0}  # a head without cores of its own
    now[0] = 3.0
    assert there() == Capacity(1, 1)
