"""Whoever follows a link within the documentation arrives, and every page of it can be found from the README."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]*`")
LINK = re.compile(r"\]\(([^()\s]+(?:\([^()\s]*\)[^()\s]*)*)\)")
SOURCE = re.compile(r'\b(?:src|srcset|href)="([^"]+)"')
HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)
MENTION = re.compile(r"\bdocs/[\w./-]*\w\.\w+")
"""A file of the documentation that a comment or a docstring names."""


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text(encoding="utf-8"))


@cache
def anchors(page: Path) -> frozenset[str]:
    """The places in a page, as GitHub names them: words in small letters with hyphens, numbered where they repeat."""
    found: dict[str, int] = {}
    for heading in HEADING.findall(prose(page)):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        name = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
        found[name] = found.get(name, -1) + 1
    return frozenset(f"{name}-{i}" if i else name for name, last in found.items() for i in range(last + 1))


def links(page: Path) -> list[str]:
    """Where a page leads within the repository: files beside it, and places in them."""
    text = prose(page)
    found = LINK.findall(CODE.sub("`code`", text)) + SOURCE.findall(text)
    return [link for link in found if not re.match(r"[a-z]+:", link)]


def fault(page: Path, link: str) -> str | None:
    file, _, place = unquote(link).partition("#")
    target = (page.parent / file).resolve() if file else page
    if not target.is_relative_to(ROOT.resolve()):
        return f"{link}: outside the repository"
    if not target.exists():
        return f"{link}: no such file"
    if place and target.suffix == ".md" and place not in anchors(target):
        return f"{link}: no such heading; there are {', '.join(sorted(anchors(target)))}"
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_to_a_file_and_a_heading_that_exist(page: Path) -> None:
    assert [found for found in (fault(page, link) for link in links(page)) if found] == []


@pytest.mark.parametrize(
    ("link", "reason"),
    [
        ("docs/none.md", "no such file"),
        ("docs/reference.md#no-such-place", "no such heading"),
        ("#no-such-place", "no such heading"),
        ("../elsewhere.md", "outside"),
    ],
)
def test_a_dead_link_is_found(link: str, reason: str) -> None:
    assert reason in (fault(ROOT / "README.md", link) or "")


def test_every_page_is_reached_from_the_readme() -> None:
    reached, waiting = set[Path](), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        files = (link.partition("#")[0] for link in links(page))
        waiting += [(page.parent / file).resolve() for file in files if file]
    assert [page.relative_to(ROOT).as_posix() for page in PAGES if page.resolve() not in reached] == []


def test_files_of_the_documentation_that_code_names_exist() -> None:
    folders = [ROOT / name for name in ("benchmark", "plugins", "leaderboard", "tests", "docs")]
    files = [path for folder in folders for kind in ("*.py", "*.yaml", "*.j2") for path in folder.rglob(kind)]
    files += [ROOT / "Makefile", ROOT / "pyproject.toml", ROOT / ".ci/run"]
    named = {(file, name) for file in files if file != Path(__file__) and file.exists() for name in _mentions(file)}
    assert named, "nothing is looked at"
    assert [f"{file.relative_to(ROOT)}: {name}" for file, name in sorted(named) if not (ROOT / name).exists()] == []


def _mentions(file: Path) -> list[str]:
    return MENTION.findall(file.read_text(encoding="utf-8"))


def test_every_page_says_first_what_it_is_for() -> None:
    short = []
    for page in PAGES:
        title, _, rest = page.read_text(encoding="utf-8").partition("\n")
        first = rest.strip().partition("\n\n")[0]
        if not title.startswith("# ") or re.match(r"[#|<\-]|```", first) or len(first.split()) < 8:
            short.append(page.relative_to(ROOT).as_posix())
    assert short == []
