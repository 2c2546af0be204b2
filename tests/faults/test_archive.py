"""Avatars as files: there and back, and everything a stranger could do to one."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from personare.errors import CacheError, PersonareError
from personare.studio.studio import Studio
from personare.studio.transfer import export_avatar, import_avatar

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
    assert cli("avatar", "import", exported, "--json").json["missing"] == []
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


def test_features_of_another_version_are_left_out(exported, tmp_path, portrait):
    contents = members(exported)
    renamed = contents[:2]
    for number, (member, data) in enumerate(contents[2:]):
        member.name = f"features/{number:064x}.safetensors"
        renamed.append((member, data))
    studio = Studio()
    imported = import_avatar(studio, write(tmp_path / "old.avatar", renamed))
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


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_is_refused_whole(exported, tmp_path, attack, home):
    (tmp_path / "evil").mkdir()
    path = write(tmp_path / "evil" / "evil.avatar", ATTACKS[attack](members(exported)))
    with pytest.raises(CacheError, match=r"evil\.avatar is not a sound avatar"):
        import_avatar(Studio(), path)
    nothing_is_left(home, path)


@pytest.mark.parametrize("share", [0.0, 0.0005, 0.01, 0.5, 0.9, 0.999])
def test_a_truncated_archive_is_refused_whole(exported, tmp_path, share, home):
    data = exported.read_bytes().rstrip(b"\0")
    (tmp_path / "evil").mkdir()
    path = tmp_path / "evil" / "evil.avatar"
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(CacheError):
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
    path = write(
        tmp_path / "other.avatar", changed(contents, 0, contents[0][1].replace(b'"puppet"', b'"nobody"'))
    )
    with pytest.raises(PersonareError, match="nobody"):
        import_avatar(Studio(), path)
    path = write(
        tmp_path / "option.avatar", changed(contents, 0, contents[0][1].replace(b'"size": 256', b'"size": 3'))
    )
    with pytest.raises(PersonareError, match="size"):
        import_avatar(Studio(), path)


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
