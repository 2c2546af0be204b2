"""A chain of certificates for trials: a root of this machine's own and a signer below it. Each
name in it says that it is for development.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

from personare.provenance.installed import check_installed
from personare.provenance.settings import unwritable_folder, write_secret

log = logging.getLogger(__name__)

LABEL = "personare DEVELOPMENT - proves nothing"
"""The organisation in every name of the chain."""
CERTIFICATE, KEY, ROOT = "development-chain.pem", "development-key.pem", "development-root.pem"
DAYS = 365


def make_development_chain(folder: Path) -> None:
    """Write chain, key and root into a folder; the root's own key is forgotten.

    Raises WeightsMissing without the extra, UnwritableOutput.
    """
    check_installed()
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    start = datetime.now(UTC) - timedelta(hours=1)
    root_key, signer_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))

    def name(common: str) -> x509.Name:
        return x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, LABEL),
                x509.NameAttribute(NameOID.COMMON_NAME, common),
            ]
        )

    def certificate(common: str, key: ec.EllipticCurvePrivateKey, authority: bool) -> x509.Certificate:
        usage = x509.KeyUsage(not authority, False, False, False, False, authority, authority, False, False)
        issuer = root_key.public_key()
        builder = (
            x509.CertificateBuilder()
            .subject_name(name(common))
            .issuer_name(name("development root"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + timedelta(days=DAYS))
            .add_extension(x509.BasicConstraints(authority, None), True)
            .add_extension(usage, True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer), False)
        )
        if not authority:
            purposes = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
            builder = builder.add_extension(purposes, False)
        return builder.sign(root_key, hashes.SHA256())

    pem = serialization.Encoding.PEM
    root = certificate("development root", root_key, True).public_bytes(pem)
    signer = certificate("development signer", signer_key, False).public_bytes(pem)
    secret = signer_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_secret(folder / KEY, secret)
        (folder / CERTIFICATE).write_bytes(signer + root)
        (folder / ROOT).write_bytes(root)
    except OSError as error:
        raise unwritable_folder(folder, error) from None
