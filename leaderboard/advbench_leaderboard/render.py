"""From a database to a folder of static pages."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from types import ModuleType

from jinja2 import Environment, TemplateError

from advbench.errors import AdvbenchError, MalformedError, PluginError, one_line, printable
from advbench.store.faults import READING_FAILED
from advbench.store.publication import stray_pictures
from advbench_leaderboard import changes
from advbench_leaderboard.compiled import COMPILED
from advbench_leaderboard.folder import Folder
from advbench_leaderboard.markup import environment, filled
from advbench_leaderboard.pages import (
    Page,
    Raw,
    attack,
    board,
    cell,
    compare,
    downloads,
    failures,
    home,
    metrics,
    provenance,
    studies,
    study,
    target,
    threats,
    transfer,
)
from advbench_leaderboard.site import Site, opened

PAGES: tuple[ModuleType, ...] = (
    home,
    studies,
    study,
    threats,
    transfer,
    board,
    compare,
    target,
    attack,
    cell,
    failures,
    provenance,
    metrics,
    downloads,
)
"""Every kind of page. A module has `pages(site)`, and may have `FOLDER`, which turns links to that folder on, and
`NAVIGATION`, (path, words) for the bar at the top; with `is_there(site)` it is there for some databases alone."""
FOLDERS = frozenset(module.FOLDER for module in PAGES if hasattr(module, "FOLDER"))


@dataclass(frozen=True)
class Rendered:
    index: Path
    boards: int
    files: int
    changed: int
    problems: tuple[str, ...] = ()
    """Rows that were left out and pages that could not be made, each with the reason in a line."""


def render(database: Path, out: Path, *, with_database: bool = False) -> Rendered:
    """Write what changed, and remove what no longer belongs; nothing where the facts can't be gathered."""
    try:
        return _render(database, out, with_database=with_database)
    except MalformedError:  # it names the row
        raise
    except _FAILED as error:
        raise PluginError(
            f"{database}: no pages can be made of it ({one_line(error)}), and none of its rows says why; what holds of "
            f"it can be taken into another database: advbench merge NEW.sqlite {shlex.quote(str(database))}"
        ) from error


def _render(database: Path, out: Path, *, with_database: bool) -> Rendered:
    download = f"data/{database.name}" if with_database else None
    with opened(database, FOLDERS, download) as site:
        if download and (stray := stray_pictures(site.store)):
            raise AdvbenchError(
                f"{database}: it holds {stray[0].pictures} pictures of {printable(stray[0].label)}, whose images are "
                "not to be published; leave out --with-database, or merge it into another, which leaves them behind"
            )
        folder = Folder(out)
        COMPILED.recall()
        facts = changes.remembered(changes.facts(site), folder.state)
        problems = list(site.left_out)
        for path, data in files(site, facts, problems.append):
            folder.write(path, data)
        if download:
            folder.copy(download, site.store.connection)
        folder.finish(facts)
        COMPILED.keep()
        return Rendered(out / "index.html", len(site.boards), len(folder.written), len(folder.changed), tuple(problems))


def files(site: Site, facts: changes.Remembered, report: Callable[[str], None]) -> Iterator[tuple[str, bytes]]:
    """Paths and bytes, one at a time: the same for the same facts. A page that can't be made says so, and is reported.

    A database may say anything; what nobody can read costs one page and not the site.
    """
    made = environment(site, navigation(site))
    made.globals["changes"] = changes.sentences(facts)
    for module in PAGES:
        yield from _of(module, site, made, report)
    for file in sorted((resources.files("advbench_leaderboard") / "static").iterdir(), key=lambda file: file.name):
        if file.name.endswith((".css", ".js")):
            yield f"static/{file.name}", file.read_bytes()


def navigation(site: Site) -> tuple[tuple[str, str], ...]:
    """The bar at the top."""
    kinds = (module for module in PAGES if hasattr(module, "NAVIGATION"))
    return tuple(module.NAVIGATION for module in kinds if not hasattr(module, "is_there") or module.is_there(site))


_FAILED = (*READING_FAILED, MalformedError, TemplateError)


def _of(
    module: ModuleType, site: Site, made: Environment, report: Callable[[str], None]
) -> Iterator[tuple[str, bytes]]:
    """The pages of a kind. Where even their list can't be made, the one that the bar at the top leads to says so."""
    written = set()

    def instead(path: str, error: Exception) -> tuple[str, bytes]:
        reason = one_line(error)
        report(f"{path} can't be made ({reason})")
        return path, filled(made, Page(path, "unreadable.html.j2", lambda: {"reason": reason}))

    try:
        for page in module.pages(site):
            written.add(page.path)
            if isinstance(page, Raw):
                yield page.path, page.data
                continue
            try:
                data = filled(made, page)
            except _FAILED as error:
                yield instead(page.path, error)
            else:
                yield page.path, data
    except _FAILED as error:
        path = getattr(module, "NAVIGATION", (f"{getattr(module, 'FOLDER', 'site')}/unreadable.html", ""))[0]
        if path not in written:
            yield instead(path, error)
