"""How a process of ours uses memory and threads: settings seen from inside."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import cv2
import pytest

import personare
from personare.engines.puppet.draw.mesh import MeshRenderer
from personare.ground import tuning
from personare.ground.tuning import ALLOCATOR_VARIABLE, keep_memory, one_thread
from personare.media import encoder
from personare.studio.clip import sound_for
from personare.voice import articulation

glibc = pytest.mark.skipif(not tuning._has_glibc(), reason="mallopt is glibc's")


@pytest.fixture
def users_threads(monkeypatch):
    """A user's process, whose OpenCV has two threads."""
    monkeypatch.delenv("OPENCV_FOR_THREADS_NUM", raising=False)
    before = cv2.getNumThreads()
    cv2.setNumThreads(2)
    yield
    cv2.setNumThreads(before)


def test_the_last_one_out_puts_the_setting_back(users_threads):
    inside, leave, seen = threading.Event(), threading.Event(), []

    def other() -> None:
        with one_thread():
            inside.set()
            leave.wait(10)
        seen.append(cv2.getNumThreads())

    thread = threading.Thread(target=other)
    with one_thread():
        thread.start()
        inside.wait(10)
        assert cv2.getNumThreads() == 1
    assert cv2.getNumThreads() == 1, "another one is still at work"
    leave.set()
    thread.join()
    assert seen == [2]


def test_it_is_put_back_after_an_error_too(users_threads):
    with pytest.raises(ValueError, match="broken"), one_thread():
        raise ValueError("broken")
    assert cv2.getNumThreads() == 2


def test_what_the_user_has_set_in_the_environment_stays(users_threads, monkeypatch):
    monkeypatch.setenv("OPENCV_FOR_THREADS_NUM", "2")
    with one_thread():
        assert cv2.getNumThreads() == 2


def test_from_python_the_puppet_draws_and_hears_on_one_thread(users_threads, monkeypatch, tmp_path):
    """As from the command line, which says so in the environment."""
    engine = personare.open_engine("puppet", cache_dir=tmp_path)
    drawn, draw = [], MeshRenderer.render

    def seen(*given: object) -> object:
        drawn.append(cv2.getNumThreads())
        return draw(*given)

    monkeypatch.setattr(MeshRenderer, "render", seen)
    performance = engine.perform(engine.prepare(look="mesh", size=256))
    performance.idle(1)
    performance.close()
    assert set(drawn) == {1}
    assert len(drawn) == 1
    assert cv2.getNumThreads() == 2, "between frames the user's own calls have theirs"
    heard = articulation._network().network.get_session_options()
    assert (heard.intra_op_num_threads, heard.inter_op_num_threads) == (1, 1)
    assert heard.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_a_clip_that_is_saved_keeps_one_thread_from_its_first_frame_to_its_last(
    users_threads, monkeypatch, tmp_path
):
    """OpenCV's threads would be ended and begun for each frame, and the planes made with all."""
    engine = personare.open_engine("puppet", cache_dir=tmp_path)
    clip = engine.speak(engine.prepare(look="mesh", size=256), sound_for(2560, "silence"))
    settings, at_planes = [], []
    set_threads, planes = cv2.setNumThreads, encoder.i420
    monkeypatch.setattr(cv2, "setNumThreads", lambda n: (settings.append(n), set_threads(n)))
    monkeypatch.setattr(
        encoder, "i420", lambda image: (at_planes.append(cv2.getNumThreads()), planes(image))[1]
    )
    clip.save(tmp_path / "a.mp4")
    assert at_planes == [1] * 4
    assert settings == [1, 2], "once in, once out"


@glibc
def test_memory_is_kept_unless_the_user_says_otherwise(monkeypatch):
    monkeypatch.setenv("THP_MEM_ALLOC_ENABLE", "0")
    assert keep_memory()
    assert os.environ["THP_MEM_ALLOC_ENABLE"] == "0", "what the user has set stays"
    monkeypatch.setenv(ALLOCATOR_VARIABLE, " System")
    assert not keep_memory()


@glibc
def test_an_array_that_is_made_again_brings_no_page_faults():
    """Counted by the system in a process of its own: 40 MB, six times."""
    program = (
        "import resource, sys\n"
        "from personare.ground.tuning import keep_memory\n"
        "kept = keep_memory()\n"
        "import numpy\n"
        "faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "numpy.ones(10_000_000, numpy.float32)\n"
        "before = faults()\n"
        "for _ in range(6): numpy.ones(10_000_000, numpy.float32)\n"
        "print(kept, faults() - before)"
    )

    def run(**environment: str) -> tuple[str, int]:
        said = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "NUMPY_MADVISE_HUGEPAGE": "0", **environment},
            capture_output=True,
            text=True,
            check=True,
        )
        kept, faults = said.stdout.split()
        return kept, int(faults)

    kept, faults = run()
    assert kept == "True"
    system, many = run(**{ALLOCATOR_VARIABLE: "system"})
    assert system == "False"
    assert many > 20_000
    assert faults < many / 20
