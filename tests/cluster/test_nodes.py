"""A batch on two nodes that share nothing but a remote; workers where nodes come and go."""

from __future__ import annotations

import json

import numpy as np

from personare import Order, Settings
from personare.work.batch import run_batch
from personare.work.crew import Crew
from personare.work.jobs import Defaults, Job, read_jobs
from tests.cluster.conftest import ours, until
from tests.conftest import write_wav
from tests.serve.test_crew import ListPool


def test_two_nodes_with_features_of_their_own_compute_each_once(
    nodes, cluster, tmp_path, portrait, voice_samples, monkeypatch
):
    """Every actor has a features folder of its own, as machines have."""
    from personare.cluster import actors
    from personare.cluster.hired import staff

    added = nodes.add_node(num_cpus=2, object_store_memory=96 << 20)
    try:
        make, places = actors.maker, []

        def elsewhere(settings, marks, turns, *more):
            places.append(tmp_path / f"features {len(places)}")
            return make(settings.model_copy(update={"cache_dir": places[-1]}), marks, turns, *more)

        monkeypatch.setattr(actors, "maker", elsewhere)
        lines = []
        for number in range(4):
            speech = write_wav(tmp_path / f"v{number}.wav", np.resize(voice_samples, 8000 + 800 * number))
            line = {"portrait": str(portrait), "speech": speech.name, "output": f"{number}.mp4"}
            lines.append(json.dumps(line | {"options": {"size": 256}}))
        (tmp_path / "jobs.jsonl").write_text("\n".join(lines))
        remote = (tmp_path / "remote").as_uri()
        settings = Settings(cache_dir=tmp_path / "asks", keep_clips=False, cache_remote=remote)
        jobs = read_jobs(tmp_path / "jobs.jsonl", tmp_path / "clips", Defaults())
        summary = run_batch(jobs, tmp_path / "clips", settings, staff=staff(settings), workers=4)
        assert [result.state for result in summary.results] == ["made"] * 4
        assert len(places) == 4
        assert all(list(place.rglob("*.safetensors")) for place in places)
        stages = [result.report["cache"]["stages"] for result in summary.results]
        computed = {name: sum(each[name] == "miss" for each in stages) for name in stages[0]}
        assert set(computed.values()) == {1}, computed
    finally:
        nodes.remove_node(added)


def test_workers_come_and_go_with_nodes(nodes, cluster, tmp_path, portrait, voice_samples):
    from personare.cluster.hired import hiring
    from personare.cluster.joined import following

    speech = write_wav(tmp_path / "voice.wav", np.resize(voice_samples, 16000 * 20))
    names = [f"{number}" for number in range(6)]
    asked = {"portrait": portrait, "speech": speech, "options": {"size": 256}}
    jobs = [Job(Order(**asked, output=tmp_path / f"{name}.mp4"), name, name) for name in names]
    pool = ListPool(jobs)
    settings = Settings(cache_dir=tmp_path / "features", keep_clips=False)
    there = following()
    crew = Crew(pool, settings, count=lambda: there().cores, start=hiring(settings))
    crew.start()
    try:
        until(lambda: crew.workers == 2)
        added = nodes.add_node(num_cpus=2, object_store_memory=96 << 20)
        until(lambda: crew.busy == 4)
        until(lambda: len(ours("ray::_MakerActor")) == 4)
        nodes.remove_node(added)
        until(lambda: len(pool.ended) == 6)
        until(lambda: crew.workers <= 2)
    finally:
        crew.close()
    assert [ended.error for ended in pool.ended.values()] == [""] * 6
    assert len(pool.given_back) == 2  # those of the node that went
    assert all((tmp_path / f"{name}.mp4").stat().st_size for name in names)
