"""Checks that docstrings, comments and Markdown prose keep to 96 columns, and modules under src to
400 lines. (ruff checks that code keeps to 110.)

    python tools/widths.py [ROOT]

Prints the median width, the longest line of prose and what breaks a rule; exit code 1 if
anything does. Free are tables, code blocks, and lines that cannot be broken: those with a URL,
and those that are one code span or one link. A comment behind code counts as code.
"""

from __future__ import annotations

import argparse
import ast
import re
import statistics
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CODE, PROSE, MODULE = 110, 96, 400
"""Columns, columns, lines."""
PYTHON = ("src", "tests", "tools", "benchmarks", "examples")
MEASURED = ("src", "docs")
"""Folders whose lines the median counts."""
UNBREAKABLE = re.compile(r"(`[^`]*`|!?\[[^\]]*\]\([^)]*\))[.,:;]?")


@dataclass(frozen=True, slots=True)
class Line:
    """One line that is not blank."""

    path: Path
    number: int
    text: str
    prose: bool

    @property
    def width(self) -> int:
        return len(self.text)

    @property
    def is_held(self) -> bool:
        """Whether it is prose that can be broken."""
        return self.prose and "://" not in self.text and UNBREAKABLE.fullmatch(self.text.strip()) is None


def python_lines(path: Path) -> Iterator[Line]:
    """The lines of a module; prose are docstrings and comments that have a line of their own."""
    source = path.read_text(encoding="utf-8")
    prose = set(_docstring_lines(ast.parse(source)))
    with path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type == tokenize.COMMENT and not token.line[: token.start[1]].strip():
                prose.add(token.start[0])
    for number, text in enumerate(source.splitlines(), 1):
        if text.strip():
            yield Line(path, number, text, number in prose)


def _docstring_lines(module: ast.Module) -> Iterator[int]:
    """Strings that stand alone: docstrings of modules, classes, functions and constants."""
    for node in ast.walk(module):
        match node:
            case ast.Expr(value=ast.Constant(value=str())):
                yield from range(node.lineno, (node.end_lineno or node.lineno) + 1)


def markdown_lines(path: Path) -> Iterator[Line]:
    """The prose of a page: no tables, and no code blocks, which have no width."""
    in_code = False
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if text.lstrip().startswith("```"):
            in_code = not in_code
        elif text.strip() and not in_code and not text.lstrip().startswith("|"):
            yield Line(path, number, text, prose=True)


def all_lines(root: Path) -> Iterator[Line]:
    """Every line that a rule holds for."""
    for folder in PYTHON:
        for path in sorted((root / folder).rglob("*.py")):
            yield from python_lines(path)
    for path in sorted([*root.glob("*.md"), *(root / "docs").rglob("*.md")]):
        yield from markdown_lines(path)


def long_modules(root: Path) -> Iterator[tuple[Path, int]]:
    """Modules under src of more than MODULE lines, and how many they have."""
    for path in sorted((root / "src").rglob("*.py")):
        length = path.read_text(encoding="utf-8").count("\n")
        if length > MODULE:
            yield path, length


def report(root: Path) -> int:
    """Print the figures and what breaks a rule; how many places do."""
    lines = list(all_lines(root))
    measured = [line for line in lines if line.path.relative_to(root).parts[0] in MEASURED]
    held = [line for line in lines if line.is_held]
    longest = max(held, key=lambda line: line.width)
    print(f"median width {statistics.median(line.width for line in measured):g}")
    print(f"longest prose {longest.width}: {longest.path.relative_to(root)}:{longest.number}")
    print(f"lines over {CODE} columns: {sum(line.width > CODE for line in measured)} of {len(measured)}")
    broken = [
        f"{line.path.relative_to(root)}:{line.number}: {line.width} columns, {PROSE} at most"
        for line in held
        if line.width > PROSE
    ]
    broken += [
        f"{path.relative_to(root)}: {length} lines, {MODULE} at most" for path, length in long_modules(root)
    ]
    for place in broken:
        print(place, file=sys.stderr)
    return len(broken)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", nargs="?", type=Path, default=Path(__file__).parents[1])
    root = parser.parse_args().root.resolve()
    return 1 if report(root) else 0


if __name__ == "__main__":
    sys.exit(main())
