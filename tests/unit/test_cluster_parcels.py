"""A task on its way to another machine and back, without a cluster: the object store is a list."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from personare import Order, Settings, Studio
from personare.cluster.maker import Maker, _sweep
from personare.cluster.parcels import Packer, Parcel, Sent, receive, renamed, unpack
from personare.provenance.ledger import Ledger
from personare.provenance.settings import MarksSettings
from personare.shelf.home import home
from personare.shelf.manifest import Consent
from personare.work.jobs import Job
from personare.work.queue import Ended
from personare.work.tasks import Creation
from tests.conftest import write_wav


class Objects(list):
    """Pieces by number, as Ray has them by reference."""

    def put(self, piece: bytes) -> int:
        self.append(piece)
        return len(self) - 1

    def get(self, number: int) -> bytes:
        return self[number]


def job(tmp_path, **fields) -> Job:
    order = Order(output=tmp_path / "out" / "clip.mp4", options={"size": 256}, **fields)
    return Job(order, "jobs.jsonl line 1", "clip.mp4")


@pytest.fixture
def objects():
    return Objects()


@pytest.fixture
def here(tmp_path):
    return Studio(Settings(cache_dir=tmp_path / "here"))


def there(tmp_path, objects, monkeypatch) -> Maker:
    """A machine that has nothing of this one's files."""
    monkeypatch.setenv("PERSONARE_HOME", str(tmp_path / "of the node"))
    return Maker(
        Settings(cache_dir=tmp_path / "there"), MarksSettings(producer="us"), objects.put, objects.get
    )


def test_the_clip_of_another_machine_is_that_of_this_one(
    tmp_path, here, objects, portrait, voice_samples, monkeypatch, home
):
    speech = write_wav(tmp_path / "short.wav", voice_samples[:6400])
    wanted = job(tmp_path, portrait=portrait, speech=speech, curves_out=tmp_path / "curves.json")
    packer = Packer(here, objects.put)
    parcel = packer.pack(wanted)
    maker = there(tmp_path, objects, monkeypatch)
    done = maker.make(parcel)
    assert not done.ended.error
    assert not list(maker.household.scratch.glob("tmp*"))
    maker.close()
    assert not maker.household.scratch.exists()
    monkeypatch.setenv("PERSONARE_HOME", str(home))
    ended = receive(done, here, objects.get)
    assert ended.task == wanted
    assert ended.report["output"] == str(wanted.order.output)
    assert Ledger().find(ended.report["marks"]["id"]).name == "clip.mp4"
    alone = replace(wanted, order=wanted.order.model_copy(update={"output": tmp_path / "alone.mp4"}))
    other = Studio(Settings(cache_dir=tmp_path / "alone", keep_clips=False)).make(
        alone.order.model_copy(update={"curves_out": tmp_path / "alone.json"})
    )
    assert other.frames == ended.report["frames"]
    assert (tmp_path / "curves.json").read_bytes() == (tmp_path / "alone.json").read_bytes()
    again = packer.pack(wanted)
    assert again.files == parcel.files  # the pieces stay put


def test_an_avatar_travels_with_its_consent_and_comes_back(tmp_path, here, objects, portrait, monkeypatch):
    wanted = Creation("job_1", "me", portrait, options={"size": 256}, consent=Consent(text="I agree"))
    maker = there(tmp_path, objects, monkeypatch)
    done = maker.make(Packer(here, objects.put).pack(wanted))
    assert done.ended.error == ""
    assert [manifest.name for manifest in maker.household.studio.shelf.list()] == []
    receive(done, here, objects.get)
    manifest = here.shelf.load_manifest("me")
    assert manifest.consent == wanted.consent
    speaks = Job(Order(avatar="me", text="Hello.", output=tmp_path / "me.mp4"), "", "me.mp4")
    parcel = Packer(here, objects.put).pack(speaks)
    maker.household.welcome(parcel.avatar, objects.get)
    assert maker.household.studio.shelf.load_manifest("me").consent == wanted.consent
    maker.close()


def test_what_is_wrong_is_told_in_the_words_of_who_asked(tmp_path, here, objects, portrait, monkeypatch):
    broken = tmp_path / "v4.wav"
    broken.write_bytes(b"no sound at all")
    maker = there(tmp_path, objects, monkeypatch)
    done = maker.make(Packer(here, objects.put).pack(job(tmp_path, portrait=portrait, speech=broken)))
    assert str(broken) in done.ended.error
    assert str(maker.household.scratch) not in done.ended.error
    assert done.files == {}
    maker.close()


def test_a_folder_of_pictures_stays_a_folder(tmp_path, here, objects, portrait):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("1.jpg", "2.jpg", "10.jpg"):
        (folder / name).write_bytes(name.encode())
    parcel = Packer(here, objects.put).pack(job(tmp_path, portrait=portrait, guide=folder))
    task, _ = unpack(parcel, tmp_path / "there", objects.get)
    assert {path.name: path.read_bytes() for path in task.order.guide.iterdir()} == {
        name: name.encode() for name in ("1.jpg", "2.jpg", "10.jpg")
    }


@pytest.fixture
def posing(here, monkeypatch):
    """The default engine with options that name files, as some have."""
    engine = here.open("puppet")

    class Options(type(engine).Options):
        poses: Path | None = None
        style: str = "default"

    monkeypatch.setattr(type(engine), "Options", Options)
    own = home().styles / "lively.npz"
    own.parent.mkdir(parents=True)
    own.write_bytes(b"how I move")
    monkeypatch.setattr(
        type(engine), "styles", lambda self: {"lively": own, "calm": Path("/published/calm.pt")}
    )


def test_files_that_options_name_travel(tmp_path, here, objects, portrait, posing):
    folder = tmp_path / "poses"
    folder.mkdir()
    (folder / "1.jpg").write_bytes(b"left")
    wanted = job(tmp_path, portrait=portrait, text="Hello.")
    for style, content in (("lively", b"how I move"), (str(folder / "a.npz"), b"two seconds")):
        (folder / "a.npz").write_bytes(b"two seconds")
        options = {"poses": str(folder), "style": style, "size": 256}
        asked = replace(wanted, order=wanted.order.model_copy(update={"options": options}))
        parcel = Packer(here, objects.put).pack(asked)
        task, there = unpack(parcel, tmp_path / f"there {len(content)}", objects.get)
        at = {name: Path(task.order.options[name]) for name in ("poses", "style")}
        assert task.order.options["size"] == 256
        assert {path.name for path in at["poses"].iterdir()} == {"1.jpg", "a.npz"}
        assert (at["poses"] / "1.jpg").read_bytes() == b"left"
        assert at["style"].read_bytes() == content
        assert {there[str(path)] for path in at.values()} == {str(folder), style}
    ended = renamed(
        Ended(task, {"options": {"poses": str(at["poses"])}}, f"{at['poses']} is none"), asked, there
    )
    assert (ended.report, ended.error) == ({"options": {"poses": str(folder)}}, f"{folder} is none")


def test_what_the_machine_there_has_is_named_and_not_sent(tmp_path, here, objects, portrait, posing):
    wanted = job(tmp_path, portrait=portrait, text="Hello.")
    options = {"poses": str(tmp_path / "nowhere"), "style": "calm"}
    wanted = replace(wanted, order=wanted.order.model_copy(update={"options": options}))
    parcel = Packer(here, objects.put).pack(wanted)
    assert parcel.options == {}
    assert unpack(parcel, tmp_path / "there", objects.get)[0].order.options == options


def test_an_avatar_s_options_lead_to_files_on_the_machine_it_comes_to(
    tmp_path, here, objects, portrait, posing, monkeypatch
):
    poses = tmp_path / "poses.mp4"
    poses.write_bytes(b"left and right")
    cast = here.cast(portrait, "puppet", {"size": 256, "poses": str(poses)})
    here.shelf.save("me", here.prepare(cast)[0], portrait)
    sent = Packer(here, objects.put).avatar("me")
    maker = there(tmp_path, objects, monkeypatch)
    for content in (b"left and right", b"right"):
        poses.write_bytes(content)
        maker.household.welcome(Packer(here, objects.put).avatar("me"), objects.get)
        kept = maker.household.studio.shelf.load_manifest("me")
        assert kept.options["size"] == 256
        assert Path(kept.options["poses"]).read_bytes() == content
        assert Path(kept.options["poses"]).is_relative_to(maker.household.scratch)
    assert sent.name == "me"
    wanted = Creation("job_1", "you", portrait, options={"size": 256, "poses": str(poses)})
    done = maker.make(Packer(here, objects.put).pack(wanted))
    assert done.ended.error == ""
    receive(done, here, objects.get)
    assert here.shelf.load_manifest("you").options["poses"] == str(poses)
    maker.close()


@pytest.mark.parametrize("name", ["../out", "/etc/passwd", "a/../../b", "a/b/c", ""])
def test_no_name_leads_out_of_the_folder(tmp_path, objects, portrait, name):
    task = job(tmp_path, portrait=portrait, text="Hello.")
    with pytest.raises(OSError, match="no file's name"):
        unpack(Parcel(task, {"portrait": (Sent(name, ()),)}), tmp_path / "there", objects.get)


def test_a_task_stops_at_its_next_step(tmp_path, here, objects, portrait, voice, monkeypatch):
    maker = there(tmp_path, objects, monkeypatch)
    wanted = job(tmp_path, portrait=portrait, speech=voice)
    note = maker._note

    def stop_then(*step):
        maker.stop("another")
        assert not maker._stopped.is_set()
        maker.stop(wanted.name)
        note(*step)

    monkeypatch.setattr(maker, "_note", stop_then)
    done = maker.make(Packer(here, objects.put).pack(wanted))
    assert (done.ended.kind, done.files) == ("Cancelled", {})
    assert maker.told() is not None
    maker.close()  # whoever leaves begins nothing any more
    assert maker.make(Packer(here, objects.put).pack(wanted)).ended.kind == "Cancelled"


def test_folders_of_killed_actors_are_removed(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    for name in ("personare-actor-1-a", "personare-actor-2-b", "personare-actor-x-c", "else-1-a"):
        (tmp_path / name).mkdir()
    _sweep(alive=lambda pid: pid == 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "else-1-a",
        "personare-actor-2-b",
        "personare-actor-x-c",
    ]


@pytest.mark.parametrize(
    ("on", "code", "told"),
    [
        ("ray", 5, "pip install 'personare[cluster]'"),
        ("spark", 3, "ray, or ray://HOST:PORT"),
        ("ray://head", 3, "ray, or ray://HOST:PORT"),
    ],
)
def test_a_cluster_that_cannot_be_had(cli, tmp_path, portrait, monkeypatch, on, code, told):
    monkeypatch.setitem(sys.modules, "ray", None)
    (tmp_path / "jobs.jsonl").write_text(f'{{"portrait": "{portrait}", "text": "Hi.", "output": "a.mp4"}}')
    ended = cli("batch", tmp_path / "jobs.jsonl", "--on", on)
    assert ended.code == code
    assert told in ended.err
    assert not (tmp_path / "a.mp4").exists()


@pytest.mark.slow
def test_nothing_imports_ray_by_itself():
    """Neither the program, nor a service, nor what a cluster is joined with."""
    program = (
        "import sys, personare, personare.cli.app, personare.cli.batch, personare.serve.app\n"
        "import personare.cluster.hired, personare.cluster.joined, personare.cluster.maker\n"
        "print([name for name in sys.modules if name == 'ray' or name.startswith('ray.')])"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"


def test_a_lost_actor_is_told_as_lost():
    from personare.work.workers import Worker

    class Gone:
        exitcode = pid = None

        def join(self, timeout=None):
            pass

    class Line:
        def close(self):
            pass

        def send(self, message):
            pass

    worker = Worker(Settings(), start=lambda settings, terms: (Line(), Gone()))
    worker.give(Job(Order(text="Hi.", output="a.mp4"), "", "a.mp4"))
    lost = worker.lost()
    assert isinstance(lost, Ended)
    assert (lost.kind, lost.error) == ("WorkerLost", "the process that made a.mp4 was lost")
