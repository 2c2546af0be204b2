"""The check of widths: what it finds, what is free, and how it wraps."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import widths

WORDS = "as wide as a page"
LONG = " ".join([WORDS] * 6)
"""107 columns."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "src").mkdir()
    (tmp_path / "README.md").write_text("A page.\n")
    return tmp_path


def found(root: Path, text: str, name: str = "src/a.py") -> list[int]:
    """Numbers of the lines that are too wide."""
    (root / name).write_text(text)
    return [line.number for line in widths.all_lines(root) if line.is_held and line.width > widths.PROSE]


@pytest.mark.parametrize(
    "text",
    [
        f'"""{LONG}"""\n',
        f'X = 1\n"""Fine.\n\n{LONG}\n"""\n',
        f'def f():\n    """{LONG}"""\n',
        f"# {LONG}\n",
    ],
)
def test_docstrings_and_comments_are_held(root: Path, text: str) -> None:
    assert len(found(root, text)) == 1


@pytest.mark.parametrize(
    "text",
    [
        f'x = "{LONG}"\n',
        f"x = 1  # {LONG}\n",
        f"# https://example.org/{LONG}\n",
        f'"""Table.\n\n| {LONG} |\nname    {LONG}\n"""\n',
        f'"""{LONG[:93]}"""\n',
    ],
)
def test_code_urls_tables_and_closing_quotes_are_free(root: Path, text: str) -> None:
    assert found(root, text) == []


def test_of_a_page_prose_alone_is_held(root: Path) -> None:
    free = f"# {LONG}\n\n| {LONG} |\n\n```sh\n{LONG}\n```\n\n`{LONG}`.\n\n![{LONG}](a.png)\n\n"
    assert found(root, free + f"- {LONG}\n", "README.md") == [13]


def test_long_modules_and_figures_are_told(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "src/a.py").write_text("x = 1\n" * 401)
    (root / "src/b.py").write_text("y = 12\n" * 400)
    assert widths.report(root) == 1
    told = capsys.readouterr()
    assert "median width 5\n" in told.out
    assert "longest prose 7: README.md:1" in told.out
    assert "src/a.py: 401 lines" in told.err
    assert "b.py" not in told.err


WRAPPED = f'''"""One line.

{" ".join([WORDS] * 5)} as
wide as a page Goes on here.

size: {" ".join([WORDS] * 5)}
    as wide as a page
mode: another
"""

# {" ".join([WORDS] * 5)} as
# wide as a page Goes on.
# - An item.
x = 1


def f():
    """{" ".join([WORDS] * 5)}
    as wide as a page
    """
'''
GIVEN = f'''"""One line.

{LONG}
Goes on here.

size: {LONG}
mode: another
"""

# {LONG}
# Goes on.
# - An item.
x = 1


def f():
    """{LONG}"""
'''


def test_paragraphs_are_wrapped_and_nothing_else_changes(root: Path) -> None:
    (root / "src/a.py").write_text(GIVEN)
    (root / "README.md").write_text(f"1. {LONG}\n   ends.\n2. Two.\n")
    (root / "CHANGELOG.md").write_text(f"{' '.join([WORDS] * 5)} `make quick` ends.\n")
    widths.wrap_all(root)
    assert (root / "src/a.py").read_text() == WRAPPED
    assert (root / "README.md").read_text() == (
        f"1. {' '.join([WORDS] * 5)} as\n   wide as a page ends.\n2. Two.\n"
    )
    assert (root / "CHANGELOG.md").read_text() == f"{' '.join([WORDS] * 5)}\n`make quick` ends.\n"
    assert widths.report(root) == 0
