"""Checks that docstrings, comments and Markdown prose keep to 96 columns, and modules under src
to 400 lines. (ruff checks that code keeps to 110.)

    python tools/widths.py [--wrap] [ROOT]

Prints the median width, the longest line of prose and what breaks a rule; exit code 1 if
anything does. --wrap first wraps the prose that is too wide, up to the end of its paragraph.
Free are tables, code blocks, and lines that cannot be broken: those with a URL,
and those that are one code span or one link. A comment behind code counts as code.
"""

from __future__ import annotations

import argparse
import ast
import re
import statistics
import sys
import textwrap
import tokenize
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

CODE, PROSE, MODULE = 110, 96, 400
"""Columns, columns, lines."""
PYTHON = ("src", "tests", "tools", "benchmarks", "examples")
MEASURED = ("src", "docs")
"""Folders whose lines the median counts."""
QUOTES = '"' * 3
OPENS = re.compile(r'\s*[rR]?"""')
ITEM = re.compile(r"([-*]|\d+\.)\s+")
NEW = re.compile(rf"{ITEM.pattern}|[#>]|```")
"""A line that begins something: an item; in Markdown also a heading or a block."""
ENTRY = re.compile(r"[a-z_]\w*(, [a-z_]\w*)*: ")
"""A line of a docstring that begins a parameter."""
TABLE = re.compile(r"^\||\S {2,}\S")
SPAN = re.compile(r"`[^`]{1,40}`")
GLUE = "\0"
"""Takes the place of a space at which no line is broken."""
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
        """Columns; quotes that close a docstring are none, for ruff puts them on its only line."""
        return len(self.text.removesuffix(QUOTES) if self.prose else self.text)

    @property
    def is_held(self) -> bool:
        """Whether it is prose that can be broken."""
        text = self.text.strip()
        is_free = "://" in text or TABLE.search(text) is not None or UNBREAKABLE.fullmatch(text) is not None
        return self.prose and not is_free


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
    """The prose of a page: no headings, no tables, and no code blocks, which have no width."""
    in_code = False
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if text.lstrip().startswith("```"):
            in_code = not in_code
        elif text.strip() and not in_code and not text.lstrip().startswith(("|", "#")):
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


def wrap(path: Path, number: int) -> None:
    """Wrap a paragraph from a line on that is too wide."""
    lines = path.read_text(encoding="utf-8").splitlines()
    first = number - 1
    last = _paragraph_end(lines, first, path.suffix == ".py")
    texts = [line.strip() for line in lines[first : last + 1]]
    lead = _indent(lines[first]) + ("# " if texts[0].startswith("#") else "")
    closes = path.suffix == ".py" and texts[-1].endswith(QUOTES) and texts[-1] != QUOTES
    text = " ".join(text.removeprefix("#").strip() if lead.endswith("# ") else text for text in texts)
    text = SPAN.sub(lambda span: span.group().replace(" ", GLUE), text)
    made = textwrap.wrap(
        text.removesuffix(QUOTES).rstrip() if closes else text,
        PROSE,
        initial_indent=lead,
        subsequent_indent=_hanging(lines, first, lead, path.suffix == ".py"),
        break_long_words=False,
        break_on_hyphens=False,
    )
    if closes and len(made) == 1:
        made[0] += QUOTES
    elif closes:
        made.append(_indent(lines[_docstring_start(lines, first)]) + QUOTES)
    lines[first : last + 1] = [line.replace(GLUE, " ") for line in made]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _paragraph_end(lines: list[str], first: int, in_python: bool) -> int:
    """Index of the last line that goes on what a line says."""
    if not in_python:
        return _last_before(lines, first, lambda text, _: NEW.match(text) is not None)
    if lines[first].lstrip().startswith("#"):
        return _last_before(
            lines,
            first,
            lambda text, _: not text.startswith("# ") or ITEM.match(text.removeprefix("# ")) is not None,
        )
    if _closes(lines[first]):
        return first
    return _last_before(lines, first, lambda text, line: _ends_in_docstring(lines, first, text, line))


def _last_before(lines: list[str], first: int, ends: Callable[[str, int], bool]) -> int:
    """Index of the line before the first one that is empty, of a table, or ends a paragraph."""
    last = first
    while last + 1 < len(lines):
        text = lines[last + 1].strip()
        if not text or TABLE.search(text) or ends(text, last + 1):
            break
        last += 1
    return last


def _ends_in_docstring(lines: list[str], first: int, text: str, line: int) -> bool:
    """Whether a line of a docstring does not go on the paragraph of the line before."""
    another_indent = line - 1 > first and _indent(lines[line]) != _indent(lines[line - 1])
    begins = (ITEM.match(text) or ENTRY.match(text)) is not None
    return text == QUOTES or another_indent or begins or (line - 1 > first and _closes(lines[line - 1]))


def _hanging(lines: list[str], first: int, lead: str, in_python: bool) -> str:
    """The indent of the lines that follow."""
    text = lines[first].strip()
    if lead.endswith("# "):
        return lead
    if not in_python:
        item = ITEM.match(text)
        return lead + " " * len(item.group()) if item else lead
    is_entry = ENTRY.match(text) is not None
    following = _indent(lines[first + 1]) if first + 1 < len(lines) and lines[first + 1].strip() else ""
    if len(following) > len(lead) and not text.startswith(QUOTES):
        return following
    return lead + "    " if is_entry else lead


def _docstring_start(lines: list[str], within: int) -> int:
    while OPENS.match(lines[within]) is None:
        within -= 1
    return within


def _closes(line: str) -> bool:
    text = line.strip()
    return text.endswith(QUOTES) and OPENS.sub("", text) != ""


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def wrap_all(root: Path) -> None:
    """Wrap what can be wrapped, from the end of each file to its start."""
    wide = [line for line in all_lines(root) if line.is_held and line.width > PROSE]
    for line in sorted(wide, key=lambda line: line.number, reverse=True):
        wrap(line.path, line.number)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wrap", action="store_true", help="wrap what is too wide")
    parser.add_argument("root", nargs="?", type=Path, default=Path(__file__).parents[1])
    chosen = parser.parse_args()
    root = chosen.root.resolve()
    if chosen.wrap:
        wrap_all(root)
    return 1 if report(root) else 0


if __name__ == "__main__":
    sys.exit(main())
