"""Avatars as files: there and back, and everything a stranger could do to one."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from personare.cache.feature_file import read_feature, storable, write_feature
from personare.errors import CacheError, PersonareError, UnreadableMedia, UnwritableOutput
from personare.shelf import archive
from personare.studio.studio import Studio
from personare.studio.transfer import export_avatar, import_avatar
from personare.types import Feature

SMALL = ("--set", "size=256")


@pytest.fixture(scope="module")
def exported(tmp_path_factory, portrait):
    """A sound archive of an avatar named anna."""
    folder = tmp_path_factory.mktemp("exporting")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PERSONARE_HOME", str(folder / "home"))
        studio = Studio()
        studio.create("anna", studio.cast(portrait, None, {"size": 256}))
        export_avatar(studio, "anna", folder / "anna.avatar")
        export_avatar(studio, "anna", folder / "again.avatar")
    assert (folder / "anna.avatar").read_bytes() == (folder / "again.avatar").read_bytes()
    return folder / "anna.avatar"


def members(path: Path) -> list[tuple[tarfile.TarInfo, bytes]]:
    with tarfile.open(path) as archive:
        return [(member, archive.extractfile(member).read()) for member in archive]


def write(path: Path, contents, format=tarfile.USTAR_FORMAT) -> Path:
    with tarfile.open(path, "w", format=format) as archive:
        for member, data in contents:
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def test_there_and_back_speaks_the_same_bytes(cli, exported, tmp_path, voice, portrait):
    assert cli("avatar", "import", exported, "--trust", "--json").json["missing"] == []
    ended = cli("speak", "anna", voice, "-o", tmp_path / "a.mp4", "--json")
    assert set(ended.json["cache"]["stages"].values()) == {"hit"}
    assert cli("speak", portrait, voice, "-o", tmp_path / "b.mp4", *SMALL, "--no-cache").code == 0
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_a_taken_name_needs_replace_or_another_name(cli, exported):
    assert cli("avatar", "import", exported).code == 0
    taken = cli("avatar", "import", exported)
    assert taken.code == 3
    assert "already" in taken.err
    assert cli("avatar", "import", exported, "--replace").code == 0
    assert cli("avatar", "import", exported, "--name", "bert").code == 0
    assert [a["name"] for a in cli("avatar", "list", "--json").json["avatars"]] == ["anna", "bert"]


def test_an_export_computes_what_is_missing(cli, portrait, tmp_path, exported):
    assert cli("avatar", "create", "anna", portrait, *SMALL).code == 0
    assert cli("cache", "clear", "--all").code == 0
    assert cli("avatar", "export", "anna", tmp_path / "b.avatar").code == 0
    names = [member.name for member, _ in members(tmp_path / "b.avatar")]
    assert names == [member.name for member, _ in members(exported)]
    assert cli("avatar", "export", "anna", tmp_path / "b.zip").code == 3
    assert cli("avatar", "export", "nobody", tmp_path / "c.avatar").code == 3


def features_of(exported, folder):
    """Key -> (stage, feature) of an archive."""
    found = {}
    for member, data in members(exported)[2:]:
        key = member.name.removeprefix("features/").removesuffix(".safetensors")
        (folder / "feature").write_bytes(data)
        with (folder / "feature").open("rb") as file:
            feature, stage = read_feature(file, key, verify=True)
        found[key] = stage, Feature({name: a.copy() for name, a in feature.arrays.items()}, feature.metadata)
    return found


def feature_bytes(folder, key, stage, feature):
    write_feature(folder / "feature", storable(feature, stage), key, stage)
    return (folder / "feature").read_bytes()


def with_features(exported, path, features):
    """The archive with other features: key -> (stage, feature)."""
    contents = members(exported)[:2]
    contents += [
        extra(f"features/{key}.safetensors", feature_bytes(path.parent, key, *features[key]))
        for key in sorted(features)
    ]
    return write(path, contents)


def test_features_of_another_version_are_left_out(exported, tmp_path, portrait):
    contents = members(exported)
    old = {f"{n:064x}": made for n, made in enumerate(features_of(exported, tmp_path).values())}
    with_features(exported, tmp_path / "old.avatar", old)
    studio = Studio()
    imported = import_avatar(studio, tmp_path / "old.avatar", trust=True)
    assert imported.taken == ()
    assert len(imported.missing) == len(contents) - 2
    assert set(studio.warm("anna").outcome.values()) == {"miss"}


def extra(name, data=b"x", **fields):
    member = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(member, field, value)
    return member, data


def changed(contents, index, data):
    return [(member, data if i == index else old) for i, (member, old) in enumerate(contents)]


ATTACKS = {
    "parent": lambda c: [*c, extra("../../etc/passwd")],
    "absolute": lambda c: [*c, extra("/etc/passwd")],
    "inside": lambda c: [*c, extra("features/../../x.safetensors")],
    "code": lambda c: [*c, extra("features/setup.py", b"import os")],
    "symbolic link": lambda c: [
        *c,
        extra(f"features/{'f' * 64}.safetensors", b"", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
    ],
    "hard link": lambda c: [
        *c,
        extra(f"features/{'f' * 64}.safetensors", b"", type=tarfile.LNKTYPE, linkname="avatar.json"),
    ],
    "device": lambda c: [*c, extra(f"features/{'f' * 64}.safetensors", b"", type=tarfile.CHRTYPE)],
    "folder": lambda c: [extra("features", b"", type=tarfile.DIRTYPE), *c],
    "twice": lambda c: [*c, c[-1]],
    "no manifest": lambda c: c[1:],
    "no portrait": lambda c: [c[0], *c[2:]],
    "manifest is code": lambda c: changed(c, 0, b"__import__('os')"),
    "other portrait": lambda c: changed(c, 1, c[1][1] + b"x"),
    "portrait elsewhere": lambda c: changed(c, 0, c[0][1].replace(b'"portrait-', b'"../portrait-')),
    "damaged feature": lambda c: changed(c, 2, c[2][1][:-1] + bytes([c[2][1][-1] ^ 1])),
    "swapped features": lambda c: changed(c, 2, c[3][1]),
    "pickle": lambda c: changed(c, 2, b"\x80\x04cos\nsystem\n(S'true'\ntR."),
    "large manifest": lambda c: changed(c, 0, c[0][1] + b" " * (1 << 20)),
    "many": lambda c: [
        *c,
        *(extra(f"features/{n:064x}.safetensors") for n in range(0xF << 240, (0xF << 240) + 300)),
    ],
}


def nothing_is_left(home: Path, attacked: Path) -> None:
    studio = Studio()
    assert studio.shelf.list() == []
    assert not list(home.rglob("*.part*"))
    assert studio.store.verify().damaged == ()
    assert {path.name for path in attacked.parent.iterdir()} == {attacked.name}


@pytest.mark.parametrize("trust", [False, True])
@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_is_refused_whole(exported, tmp_path, attack, home, trust):
    if attack == "swapped features" and not trust:
        pytest.skip("neither of them is looked at")
    (tmp_path / "evil").mkdir()
    path = write(tmp_path / "evil" / "evil.avatar", ATTACKS[attack](members(exported)))
    with pytest.raises(CacheError, match=r"evil\.avatar is not a sound avatar"):
        import_avatar(Studio(), path, trust=trust)
    nothing_is_left(home, path)


@pytest.mark.parametrize("share", [0.0, 0.0005, 0.01, 0.5, 0.9, 0.999])
def test_a_truncated_archive_is_refused_whole(exported, tmp_path, share, home):
    data = exported.read_bytes().rstrip(b"\0")
    (tmp_path / "evil").mkdir()
    path = tmp_path / "evil" / "evil.avatar"
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises((CacheError, UnreadableMedia)):
        import_avatar(Studio(), path)
    nothing_is_left(home, path)


@pytest.mark.parametrize("kind", ["gzip", "zip bomb", "pax", "gnu", "size", "tail"])
def test_other_formats_and_claims_are_refused(exported, tmp_path, kind, home):
    import gzip
    import zipfile

    (tmp_path / "evil").mkdir()
    path = tmp_path / "evil" / "evil.avatar"
    contents = members(exported)
    if kind == "gzip":
        path.write_bytes(gzip.compress(exported.read_bytes()))
    elif kind == "zip bomb":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bomb:
            bomb.writestr("avatar.json", bytes(50_000_000))
    elif kind == "pax":
        contents[0][0].pax_headers = {"path": "avatar.json", "comment": "x" * 5000}
        write(path, contents, tarfile.PAX_FORMAT)
    elif kind == "gnu":
        write(path, [*contents, extra("features/" + "x" * 300)], tarfile.GNU_FORMAT)
    elif kind == "size":
        member = contents[2][0]
        member.size = 1 << 40
        path.write_bytes(b"".join(_blocks(contents[:2])) + member.tobuf(tarfile.GNU_FORMAT))
    else:
        path.write_bytes(exported.read_bytes() + b"more" * 5000)
    with pytest.raises(CacheError):
        import_avatar(Studio(), path)
    nothing_is_left(home, path)


def _blocks(contents):
    for member, data in contents:
        yield member.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % 512)


def test_what_is_not_there_or_not_for_us(exported, tmp_path, cli):
    assert cli("avatar", "import", tmp_path / "none.avatar").code == 3
    contents = members(exported)
    manifest = json.loads(contents[0][1])
    del manifest["digest"]  # as in earlier versions
    for change, said in (({"engine": "nobody"}, "nobody"), ({"options": {"size": 3}}, "size")):
        text = json.dumps({**manifest, **change}).encode()
        with pytest.raises(PersonareError, match=said):
            import_avatar(Studio(), write(tmp_path / "other.avatar", changed(contents, 0, text)))
    plain = write(tmp_path / "plain.avatar", changed(contents, 0, json.dumps(manifest).encode()))
    assert import_avatar(Studio(), plain).avatar == "anna"


def test_every_flipped_bit_of_the_manifest_is_found(exported, tmp_path):
    contents = members(exported)
    text = contents[0][1]
    for position in range(0, len(text), 7):
        flipped = text[:position] + bytes([text[position] ^ 1 << position % 7]) + text[position + 1 :]
        path = write(tmp_path / "bad.avatar", changed(contents, 0, flipped))
        try:
            import_avatar(Studio(), path, replace=True)
        except CacheError:
            continue
        assert json.loads(flipped) == json.loads(text)  # the white space between its values


# ---------------------------------------------------------------- what others made


def of(name, index, value):
    def change(arrays, metadata):
        arrays[name][index] = value

    return change


def told(**facts):
    return lambda arrays, metadata: metadata.update(facts)


def made(**makers):
    def change(arrays, metadata):
        arrays.update({name: make(arrays[name]) for name, make in makers.items()})

    return change


ALL = slice(None)
NONSENSE = {
    "indices before": ("puppet.rig", of("triangles", slice(None, None, 7), -612)),
    "indices behind": ("puppet.rig", of("triangles", slice(None, None, 7), 10**7)),
    "other triangles": ("puppet.rig", of("triangles", 0, (0, 1, 2))),
    "no numbers": ("puppet.rig", of("points", ALL, np.nan)),
    "infinite": ("puppet.rig", of("deltas", (0, 0), np.inf)),
    "far away": ("puppet.rig", of("points", ALL, 1e30)),
    "all at one place": ("puppet.rig", of("points", ALL, 100)),
    "no pivot": ("puppet.rig", lambda arrays, metadata: arrays.pop("pivot")),
    "one array more": ("puppet.rig", lambda arrays, metadata: arrays.update(more=np.zeros(3))),
    "flat": ("puppet.rig", made(triangles=lambda a: a.reshape(-1))),
    "wide": ("puppet.rig", made(pivot=lambda a: a.astype("f8"))),
    "whole numbers": ("puppet.rig", made(relief=lambda a: a.astype("i4"))),
    "text for a number": ("puppet.rig", told(eye_distance_px="x")),
    "a huge number": ("puppet.rig", told(eye_distance_px=1e300)),
    "a list for a corner": ("puppet.rig", told(lip_patch_corner=[1, 2, 3])),
    "a patch outside": ("puppet.rig", told(lip_patch_corner=[250, 250])),
    "a large patch": ("puppet.rig", made(lip_patch=lambda a: np.zeros((300, 300, 3), np.uint8))),
    "no axes": ("puppet.rig", of("mouth_axes", ALL, 0)),
    "an empty picture": ("puppet.crop", made(picture=lambda a: a[:0])),
    "a grey picture": ("puppet.crop", made(picture=lambda a: a[..., 0])),
    "another size": ("puppet.crop", made(picture=lambda a: a[:128, :128], matte=lambda a: a[:128, :128])),
    "another place": ("puppet.crop", told(x=100_000)),
    "no side": ("puppet.crop", told(side=0)),
    "points elsewhere": ("puppet.crop", of("landmarks", ALL, 3.0)),
    "moving": ("puppet.face", told(moving=True)),
    "a frame rate": ("puppet.face", told(fps="1e99999999")),
    "no size": ("puppet.face", told(width=-1)),
    "no face": ("puppet.face", of("landmarks", ALL, 0)),
    "a face of a mile": ("puppet.face", made(landmarks=lambda a: a * 1000)),
    "eyes elsewhere": ("puppet.face", of("irises", ALL, 1e5)),
}


@pytest.mark.parametrize("nonsense", NONSENSE)
def test_features_with_right_checksums_and_wrong_content_are_computed_anew(
    exported, tmp_path, nonsense, cli, voice, caplog
):
    stage, change = NONSENSE[nonsense]
    features = features_of(exported, tmp_path)
    key = next(key for key, (made_by, _) in features.items() if made_by == stage)
    arrays, metadata = dict(features[key][1].arrays), dict(features[key][1].metadata)
    change(arrays, metadata)
    features[key] = stage, Feature(arrays, metadata)
    path = with_features(exported, tmp_path / "bad.avatar", features)
    imported = import_avatar(Studio(), path, trust=True)
    assert stage in imported.missing
    assert stage not in imported.taken
    assert f"{stage} is not used" in caplog.text
    ended = cli("speak", "anna", voice, "-o", tmp_path / "a.mp4", "--json")
    assert ended.code == 0, ended
    assert ended.json["cache"]["stages"][stage] == "miss"


def test_an_imported_avatar_does_not_change_the_users_own_photo(exported, tmp_path, cli, portrait, voice):
    """Its crop is another picture, which fits in every way: nobody could tell."""
    assert cli("speak", portrait, voice, "-o", tmp_path / "own.mp4", *SMALL, "--no-cache").code == 0
    features = features_of(exported, tmp_path)
    key = next(key for key, (stage, _) in features.items() if stage == "puppet.crop")
    features[key][1].arrays["picture"][:] = 255 - features[key][1].arrays["picture"]
    path = with_features(exported, tmp_path / "odd.avatar", features)
    assert cli("avatar", "import", path).code == 0
    assert cli("speak", "anna", voice, "-o", tmp_path / "anna.mp4").code == 0
    assert cli("avatar", "rm", "anna").code == 0
    assert cli("speak", portrait, voice, "-o", tmp_path / "photo.mp4", *SMALL).code == 0
    own = (tmp_path / "own.mp4").read_bytes()
    assert (tmp_path / "anna.mp4").read_bytes() == own
    assert (tmp_path / "photo.mp4").read_bytes() == own


def test_what_is_no_file_is_no_archive(tmp_path, cli):
    os.mkfifo(tmp_path / "pipe.avatar")
    for name in (tmp_path / "pipe.avatar", "/dev/zero", tmp_path):
        ended = cli("avatar", "import", name)
        assert ended.code == 3
        assert "unexpected" not in ended.err


def test_a_file_whose_reading_fails_is_told_as_such(exported, monkeypatch):
    class Failing:
        def __init__(self, file):
            self.file, self.left = file, 3

        def read(self, size):
            self.left -= 1
            if self.left < 0:
                raise OSError(5, "Input/output error")
            return self.file.read(size)

    read = archive.Archive.__init__
    monkeypatch.setattr(archive.Archive, "__init__", lambda self, file, name: read(self, Failing(file), name))
    with pytest.raises(UnreadableMedia, match="Input/output error"):
        import_avatar(Studio(), exported)


def test_a_full_disk_is_not_blamed_on_the_archive(exported, tmp_path, monkeypatch):
    def full(self, folder):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archive.Archive, "take_portrait", full)
    with pytest.raises(UnwritableOutput, match="No space left"):
        import_avatar(Studio(), exported)


def test_folders_of_killed_imports_are_swept_and_those_of_others_stay(exported, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for name in ("personare-import-dead", "personare-import-busy", "something-else"):
        (tmp_path / name).mkdir()
        (tmp_path / f"{name}.lock").write_text("")
    with FileLock(tmp_path / "personare-import-busy.lock"):
        import_avatar(Studio(), exported)
    left = {path.name for path in tmp_path.iterdir() if path.is_dir()}
    assert left == {"personare-import-busy", "something-else"}


def test_warm_computes_what_is_missing(cli, portrait):
    assert cli("cache", "warm").code == 2
    assert cli("cache", "warm", "nobody").code == 3
    for name in ("anna", "bert"):
        assert cli("avatar", "create", name, portrait, *SMALL).code == 0
    assert cli("cache", "clear", "--all").code == 0
    done = cli("cache", "warm", "anna", "bert", "--json").json["avatars"]
    assert [set(one["stages"].values()) for one in done] == [{"miss"}, {"hit"}]
    assert "anna" in cli("cache", "warm", "--all").out
    assert all(stage["cached"] for stage in cli("avatar", "status", "anna", "--json").json["stages"])
