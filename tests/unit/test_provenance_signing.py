"""C2PA signatures: by a key, by a command; whole, broken, trusted or not; keys stay where they
are.
"""

from __future__ import annotations

import json
import logging
import stat
import sys

import pytest

c2pa = pytest.importorskip("c2pa", reason="pip install 'personare[provenance]'")

from personare.errors import InvalidOption  # noqa: E402
from personare.provenance.chain import CERTIFICATE, KEY, LABEL, ROOT, make_development_chain  # noqa: E402
from personare.provenance.marks import SOURCE_TYPE  # noqa: E402
from personare.provenance.settings import (  # noqa: E402
    MarksSettings,
    read_marks_settings,
    write_marks_settings,
)
from personare.provenance.signature import read_signature  # noqa: E402
from personare.provenance.signing import ClipSigner, anchors_of  # noqa: E402
from personare.provenance.trial import check_signs  # noqa: E402
from personare.provenance.verify import verify  # noqa: E402
from tests.unit.marked_clips import (  # noqa: E402
    decoded,
    flipped,
    mark_of,
    remuxed,
    write_marked,
    write_plain,
)

DEVELOPMENT = MarksSettings(certificate=CERTIFICATE, key=KEY, development=True)
SOURCES = {"portrait": "a" * 64, "voice": "b" * 64}


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    make_development_chain(folder)
    return folder


@pytest.fixture(scope="module", params=["faststart", "fragmented"])
def signed(request, keys, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    plain = write_plain(folder / "plain.mp4", fragmented=request.param == "fragmented")
    marked, target = write_marked(folder / "marked.mp4", plain), folder / "signed.mp4"
    with marked.open("rb") as source, target.open("w+b") as written:
        ClipSigner(DEVELOPMENT, keys).sign(source, written, mark_of(plain), SOURCES)
    return target


def test_c2pa_itself_reads_what_was_signed(signed):
    with signed.open("rb") as file, c2pa.Reader("video/mp4", file) as reader:
        assert reader.get_validation_state() == "Valid"
        told = json.loads(reader.json())
    active = told["manifests"][told["active_manifest"]]
    created = next(a for a in active["assertions"] if a["label"].startswith("c2pa.actions"))
    (action,) = created["data"]["actions"]
    assert (action["action"], action["digitalSourceType"]) == ("c2pa.created", SOURCE_TYPE)
    inputs = {item["title"]: item["instance_id"] for item in active["ingredients"]}
    assert inputs == {what: f"blake3:{digest}" for what, digest in SOURCES.items()}


def test_pictures_and_layout_stay(signed):
    assert (decoded(signed) == decoded(signed.with_name("plain.mp4"))).all()
    data = signed.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_a_signature_is_whole_broken_lost_or_trusted(signed, keys, tmp_path):
    found = verify(signed)
    assert (found.verdict, found.signature.state, found.content_fits) == ("marked", "development", True)
    assert LABEL in found.signature.signer
    assert found.signature.sources == {**SOURCES, "consent": "c" * 64}
    known = verify(signed, anchors=anchors_of(MarksSettings(trust=(ROOT,)), folder=keys))
    assert (known.verdict, known.signature.state) == ("signed", "trusted")
    bad = verify(flipped(signed, tmp_path / "bad.mp4", 0.7))
    assert (bad.verdict, bad.signature.state) == ("altered", "broken")
    assert bad.signature.failures
    assert verify(remuxed(signed, tmp_path / "r.mp4")).verdict == "unmarked"


def test_without_the_extra_a_signature_is_told_and_not_read(signed, monkeypatch):
    monkeypatch.setattr("personare.provenance.verify.is_installed", lambda: False)
    found = verify(signed)
    assert (found.signature_unread, found.signature, found.verdict) == (True, None, "marked")


def test_a_command_signs_and_what_it_prints_is_not_repeated(keys, caplog, capfd):
    script = keys / "signer.py"
    script.write_text(
        "import sys\n"
        "from cryptography.hazmat.primitives import hashes, serialization\n"
        "from cryptography.hazmat.primitives.asymmetric import ec\n"
        "key = serialization.load_pem_private_key(open(sys.argv[1], 'rb').read(), None)\n"
        "sys.stdout.buffer.write(key.sign(sys.stdin.buffer.read(), ec.ECDSA(hashes.SHA256())))\n"
    )
    command = (sys.executable, str(script), str(keys / KEY))
    check_signs(MarksSettings(certificate=str(keys / CERTIFICATE), signer_command=command))
    failing = (sys.executable, "-c", "import sys; print('SECRET', file=sys.stderr); sys.exit('SECRET')")
    with caplog.at_level(logging.DEBUG), pytest.raises(InvalidOption, match="ended with 1") as refused:
        check_signs(MarksSettings(certificate=str(keys / CERTIFICATE), signer_command=failing))
    out, err = capfd.readouterr()
    assert "SECRET" not in f"{refused.value.message}{refused.value.hint}{caplog.text}{out}{err}"


def test_certificates_and_keys_that_cannot_be_used_are_refused(keys, tmp_path):
    assert stat.S_IMODE((keys / KEY).stat().st_mode) == 0o600
    key = (keys / KEY).read_bytes()
    open_key, other = tmp_path / "open.pem", tmp_path / "other"
    open_key.write_bytes(key)
    open_key.chmod(0o644)
    make_development_chain(other)
    (tmp_path / "no.pem").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    certificate = str(keys / CERTIFICATE)
    for chosen, message in (
        (MarksSettings(certificate=certificate, key=str(open_key)), "others may read"),
        (MarksSettings(certificate=certificate, key=str(other / KEY)), "does not sign|cannot be signed"),
        (MarksSettings(certificate=certificate, key=certificate), "others may read|no key"),
        (MarksSettings(certificate=str(tmp_path / "no.pem"), key=str(keys / KEY)), "cannot be read"),
        (MarksSettings(certificate=str(tmp_path / "none.pem"), key=str(keys / KEY)), "does not exist"),
    ):
        with pytest.raises(Exception, match=message) as refused:
            check_signs(chosen)
        assert "PRIVATE" not in str(refused.value)


def test_a_damaged_manifest_is_broken(signed, tmp_path):
    data = bytearray(signed.read_bytes())
    start = data.index(b"jumb")
    data[start + 40 : start + 400] = bytes(360)
    (tmp_path / "bad.mp4").write_bytes(data)
    assert read_signature(tmp_path / "bad.mp4").state == "broken"


def test_settings_are_kept_and_checked(tmp_path):
    chosen = MarksSettings(producer='Bärbel "B" \\ & Co', certificate="c.pem", signer_command=("sign", "--x"))
    write_marks_settings(chosen, tmp_path)
    assert read_marks_settings(tmp_path) == chosen
    assert read_marks_settings(tmp_path / "none") == MarksSettings()
    for text in ("producer = 3", "x =", 'colour = "red"', 'certificate = "c.pem"', "producer = ''", "\xff"):
        (tmp_path / "marks.toml").write_bytes(text.encode("latin-1"))
        with pytest.raises(InvalidOption, match=r"marks\.toml"):
            read_marks_settings(tmp_path)
