"""Known vulnerabilities of pinned versions: `make audit`.

    python tools/audit.py VENV REQUIREMENTS

pip-audit runs in a virtual environment of its own, VENV, which is made if it is not there. Exit
code 1 if something is known; 0 if nothing is, or if nobody could be asked, which is then said.
"""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any


def main(folder: Path, requirements: Path) -> int:
    """The exit code."""
    python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    installed = _run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "pip-audit")
    if installed.returncode:
        return _skipped("pip-audit cannot be installed (offline?)")
    audited = _run(
        python, "-m", "pip_audit", "--requirement", requirements, "--no-deps", "--disable-pip",
        "--format", "json", "--progress-spinner", "off", "--timeout", "20",
    )  # fmt: skip
    try:
        found: list[dict[str, Any]] = json.loads(audited.stdout)["dependencies"]
    except (ValueError, KeyError):
        return _skipped("the index cannot be asked (offline?)")
    known = [dependency for dependency in found if "vulns" in dependency]
    if not known:
        return _skipped("the index has no list of vulnerabilities")
    bad = [(dependency, vulnerability) for dependency in known for vulnerability in dependency["vulns"]]
    for dependency, vulnerability in bad:
        fixed = ", ".join(vulnerability["fix_versions"]) or "nothing yet"
        print(f"{dependency['name']} {dependency['version']}: {vulnerability['id']}, fixed in {fixed}")
    print(f"audit: {len(bad)} known vulnerabilities in {len(known)} of {len(found)} packages")
    return int(bool(bad))


def _run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)


def _skipped(reason: str) -> int:
    print(f"audit: skipped, {reason}")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
