"""From a database to a folder of static pages."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from advbench.errors import AdvbenchError
from advbench.store import Store
from advbench_leaderboard.facts import Board, gather
from advbench_leaderboard.text import percent, shown


def render(database: Path, out: Path) -> list[Path]:
    """Write the pages that changed; all pages' paths, the index first."""
    with Store.open(database, readonly=True) as store:
        boards = gather(store)
    return [_write(out / name, text) for name, text in pages(boards)]


def pages(boards: list[Board]) -> Iterator[tuple[str, str]]:
    """File names and texts: the same for the same facts."""
    environment = _environment()
    yield "index.html", environment.get_template("index.html.j2").render(boards=boards)
    template = environment.get_template("board.html.j2")
    for board in boards:
        yield board.file, template.render(board=board)


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("advbench_leaderboard"),
        autoescape=True,  # for every template: the usual choice by file name passes `.html.j2` by
        undefined=StrictUndefined,
        finalize=_final,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    style = (resources.files("advbench_leaderboard") / "templates" / "style.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    environment.globals["style"] = Markup(style)  # ours, not from the database
    environment.globals["policy"] = (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    )
    environment.filters["percent"] = percent
    environment.filters["count"] = _counted
    return environment


def _final(value: Any) -> Any:
    """Whatever a plugin supplied reaches the page as one plain line; autoescape does the rest."""
    return shown(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _write(path: Path, text: str) -> Path:
    data = text.encode()
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.read_bytes() == data:
            return path
        try:
            draft.write_bytes(data)
            draft.replace(path)  # a reader never meets half a page
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        remedy = "name another folder with --out"
        raise AdvbenchError(f"{path}: can't be written ({error.strerror}); {remedy}") from error
    return path
