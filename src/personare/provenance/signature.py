"""C2PA read back: whether a signature in anybody's file is whole, and who signed.

Nothing is fetched: neither manifests that are kept elsewhere nor lists of revoked certificates.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from personare.media.local import open_local
from personare.provenance.chain import LABEL
from personare.provenance.installed import check_installed
from personare.provenance.signing import MIME, SOURCES

State = Literal["trusted", "development", "unknown signer", "broken"]
_MOST_FAILURES = 10
_TEXT_LENGTH = 300


@dataclass(frozen=True, slots=True)
class Signature:
    """What a C2PA signature comes to.

    state: "trusted": whole, and its root is known here; "unknown signer": whole, by somebody
        whom nobody vouches for; "development": whole, by a certificate for trials; "broken":
        the file is not what was signed, or the signature is none.
    signer: the name and organisation in the certificate, which anybody may choose.
    time: when it was signed, by a time-stamping authority; "" without one.
    source_type: what the signer says that the file is.
    software: what made it.
    sources: our digests of what it was made from.
    failures: codes of the specification.
    """

    state: State
    signer: str
    time: str
    source_type: str
    software: str
    sources: Mapping[str, str]
    failures: tuple[str, ...] = ()


def read_signature(path: Path, anchors: str = "") -> Signature:
    """The active manifest of an mp4 that has one. anchors: PEM of known roots.

    Raises WeightsMissing without the extra, UnreadableMedia.
    """
    check_installed()
    import c2pa

    try:
        state, told = _read(path, anchors)
    except (c2pa.C2paError, ValueError, KeyError, TypeError, RecursionError) as error:
        return Signature("broken", "", "", "", "", {}, (_short(error),))
    active: dict[str, Any] = told.get("manifests", {}).get(told.get("active_manifest"), {})
    info = active.get("signature_info") or {}
    signer = ", ".join(str(info[name]) for name in ("common_name", "issuer") if info.get(name))
    results = (told.get("validation_results") or {}).get("activeManifest") or {}
    failures = tuple(_short(item.get("code")) for item in (results.get("failure") or [])[:_MOST_FAILURES])
    source_type, software, sources = _assertions(active)
    known: dict[str, State] = {"Trusted": "trusted", "Valid": "unknown signer"}
    kind = known.get(state, "broken")
    if kind == "unknown signer" and LABEL in signer:
        kind = "development"
    return Signature(
        kind, _short(signer), _short(info.get("time") or ""), source_type, software, sources,
        failures if kind == "broken" else (),
    )  # fmt: skip


def _read(path: Path, anchors: str) -> tuple[str, dict[str, Any]]:
    import c2pa

    settings: dict[str, Any] = {
        "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_trust": bool(anchors)}
    }
    if anchors:
        settings["trust"] = {"user_anchors": anchors}
    with open_local(path) as file, c2pa.Context(settings=c2pa.Settings.from_dict(settings)) as context:
        reader = c2pa.Reader(MIME, file, context=context)
        try:
            return str(reader.get_validation_state()), json.loads(reader.json())
        finally:
            reader.close()


def _assertions(active: Mapping[str, Any]) -> tuple[str, str, dict[str, str]]:
    source_type, sources = "", {}
    for assertion in active.get("assertions") or []:
        label, data = str(assertion.get("label")), assertion.get("data") or {}
        if label.startswith("c2pa.actions"):
            for action in data.get("actions") or []:
                source_type = source_type or _short(action.get("digitalSourceType") or "")
        elif label == SOURCES:
            sources = {str(key)[:20]: str(value)[:64] for key, value in list(data.items())[:10]}
            sources.pop("algorithm", None)
    made = (active.get("claim_generator_info") or [{}])[0]
    return source_type, _short(f"{made.get('name', '')} {made.get('version', '')}".strip()), sources


def _short(text: object) -> str:
    return " ".join(str(text).split())[:_TEXT_LENGTH]
