"""C2PA: a signed statement inside the clip of what it is and what it was made from (C2PA
Technical Specification 2.2). Written into complete files only, by c2pa-python.
"""

from __future__ import annotations

import stat
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from personare.errors import InvalidOption
from personare.ground.paths import expanded
from personare.media.local import read_at_most, shown
from personare.provenance.installed import check_installed
from personare.provenance.marks import SOURCE_TYPE, Mark, time_text
from personare.provenance.settings import MarksSettings, marks_folder

MIME = "video/mp4"
MAX_PEM_BYTES = 1 << 18
COMMAND_SECONDS = 60
SOURCES = "org.personare.sources"
"""Our assertion: digests (blake3, hex) of what the clip was made from, and of the consent."""


def manifest(mark: Mark, sources: Mapping[str, str]) -> dict[str, Any]:
    """What is signed. sources: "portrait", "voice", "guide" -> hex digest; files never go in."""
    name, _, version = mark.software.partition(" ")
    created = {
        "action": "c2pa.created",
        "when": time_text(mark.time),
        "digitalSourceType": SOURCE_TYPE,
        "softwareAgent": {"name": mark.software, "version": mark.engine},
    }
    held = {**sources, **({"consent": mark.consent} if mark.consent else {})}
    assertions: list[dict[str, Any]] = [{"label": "c2pa.actions.v2", "data": {"actions": [created]}}]
    if held:
        assertions.append({"label": SOURCES, "data": {"algorithm": "blake3", **held}})
    return {
        "claim_generator_info": [{"name": name, "version": version}],
        "title": mark.id,
        "format": MIME,
        "assertions": assertions,
        "ingredients": [
            {"title": what, "relationship": "inputTo", "instance_id": f"blake3:{digest}"}
            for what, digest in sources.items()
        ],
    }


class ClipSigner:
    """Signs clips with what the settings name. Nothing of a key is kept in it, logged or told.

    Raises InvalidOption for a certificate or key that cannot be used, WeightsMissing without
    the extra.
    """

    def __init__(self, settings: MarksSettings, folder: Path | None = None) -> None:
        check_installed()
        self._settings, self._folder = settings, folder or marks_folder()
        self._chain = self._pem(settings.certificate or "", "certificate")
        self._algorithm = _algorithm(self._chain)
        if settings.key is not None:
            _check_private(self._path(settings.key))

    @property
    def kind(self) -> str:
        """What the report says: "signed", or "development" with a certificate for trials."""
        return "development" if self._settings.development else "signed"

    def sign(self, clip: BinaryIO, target: BinaryIO, mark: Mark, sources: Mapping[str, str]) -> None:
        """Write the clip with its signature into a file open for writing and reading. Raises
        InvalidOption if the signer refuses.
        """
        import c2pa

        failure: list[str] = []
        try:
            with self._signer(failure) as signer, c2pa.Builder(manifest(mark, sources)) as builder:
                clip.seek(0)
                builder.sign(signer, MIME, clip, target)
        except (c2pa.C2paError, ValueError) as error:
            raise InvalidOption(
                f"the clip cannot be signed: {failure[0] if failure else _told(error)}",
                hint="personare marks show says what signs; personare marks setup changes it",
            ) from None

    def _signer(self, failure: list[str]) -> Any:
        import c2pa

        settings = self._settings
        if settings.signer_command:
            sign = _by_command(settings.signer_command, failure)
            algorithm = c2pa.C2paSigningAlg[self._algorithm.upper()]
            return c2pa.Signer.from_callback(sign, algorithm, self._chain, settings.time_stamps)
        key = self._pem(settings.key or "", "key")
        return c2pa.Signer.from_info(
            c2pa.C2paSignerInfo(
                self._algorithm.encode(), self._chain.encode(), key.encode(), settings.time_stamps
            )
        )

    def _pem(self, given: str, what: str) -> str:
        text = read_at_most(self._path(given), MAX_PEM_BYTES).decode("ascii", "replace")
        wanted = "CERTIFICATE-----" if what == "certificate" else "PRIVATE KEY-----"
        if wanted not in text:
            raise InvalidOption(
                f"{shown(self._path(given))} holds no {what} in PEM",
                hint="personare marks setup names another",
            )
        if "ENCRYPTED" in text:
            raise InvalidOption(
                f"{shown(self._path(given))} is encrypted",
                hint="use a signer command, which may ask for more",
            )
        return text

    def _path(self, given: str) -> Path:
        return self._folder / expanded(given)


def _algorithm(chain: str) -> str:
    """What a certificate's key signs with (C2PA 2.2, 13.2.1). Raises InvalidOption."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    try:
        key = x509.load_pem_x509_certificate(chain.encode("ascii", "replace")).public_key()
    except ValueError:
        raise InvalidOption("the certificate cannot be read", hint="give PEM, the signer's first") from None
    if isinstance(key, ec.EllipticCurvePublicKey):
        known = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
        if key.curve.name in known:
            return known[key.curve.name]
    elif isinstance(key, ed25519.Ed25519PublicKey):
        return "ed25519"
    elif isinstance(key, rsa.RSAPublicKey):
        return "ps256"
    raise InvalidOption(
        "the certificate's kind of key is none of C2PA's", hint="P-256, P-384, P-521, Ed25519 or RSA"
    )


def _by_command(command: tuple[str, ...], failure: list[str]) -> Callable[[bytes], bytes]:
    """A callback that asks a program. What the program prints beside its signature is not
    repeated: it may be a secret.
    """

    def sign(data: bytes) -> bytes:
        try:
            ended = subprocess.run(
                command, input=data, capture_output=True, timeout=COMMAND_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            failure.append(f"the signer command {command[0]!r} failed: {type(error).__name__}")
            return b""
        if ended.returncode or not ended.stdout:
            failure.append(
                f"the signer command {command[0]!r} ended with {ended.returncode} and no signature"
            )
            return b""
        return ended.stdout

    return sign


def _check_private(path: Path) -> None:
    """Raises InvalidOption for a key that others may read."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return  # whoever reads it says why
    if mode & (stat.S_IRGRP | stat.S_IROTH):
        raise InvalidOption(f"others may read the key {shown(path)}", hint=f"chmod 600 {shown(path)}")


def _told(error: Exception) -> str:
    text = str(error)
    return "the key cannot be used" if "PRIVATE" in text else text[:200]


def anchors_of(settings: MarksSettings, more: tuple[Path, ...] = (), folder: Path | None = None) -> str:
    """PEM of the roots that are known here. Raises UnreadableMedia, InvalidOption."""
    base = folder or marks_folder()
    roots = ""
    for path in (*(base / expanded(given) for given in settings.trust), *more):
        text = read_at_most(path, MAX_PEM_BYTES).decode("ascii", "replace")
        if "BEGIN CERTIFICATE" not in text:
            raise InvalidOption(f"{shown(path)} holds no certificate in PEM", hint="give a root in PEM")
        roots += text + "\n"
    return roots
