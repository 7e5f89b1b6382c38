"""From a database to a folder of static pages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from types import ModuleType

from advbench_leaderboard import changes
from advbench_leaderboard.folder import Folder
from advbench_leaderboard.markup import environment, filled
from advbench_leaderboard.pages import (
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
    target,
    threats,
    transfer,
)
from advbench_leaderboard.site import Site, opened

PAGES: tuple[ModuleType, ...] = (
    home,
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
`NAVIGATION`, (path, words) for the bar at the top."""


@dataclass(frozen=True)
class Rendered:
    index: Path
    boards: int
    files: int
    changed: int


def render(database: Path, out: Path, *, with_database: bool = False) -> Rendered:
    """Write what changed, and remove what no longer belongs."""
    download = f"data/{database.name}" if with_database else None
    with opened(database, frozenset(m.FOLDER for m in PAGES if hasattr(m, "FOLDER")), download) as site:
        folder = Folder(out)
        facts = changes.remembered(changes.facts(site), folder.state)
        for path, data in files(site, facts):
            folder.write(path, data)
        if download:
            folder.copy(download, site.store.connection)
        folder.finish(facts)
        return Rendered(out / "index.html", len(site.boards), len(folder.written), len(folder.changed))


def files(site: Site, facts: changes.Remembered) -> Iterator[tuple[str, bytes]]:
    """Paths and bytes, one at a time: the same for the same facts."""
    made = environment(site, tuple(module.NAVIGATION for module in PAGES if hasattr(module, "NAVIGATION")))
    made.globals["changes"] = changes.told(facts)
    for module in PAGES:
        for page in module.pages(site):
            yield (page.path, page.data) if isinstance(page, Raw) else (page.path, filled(made, page))
    for file in sorted((resources.files("advbench_leaderboard") / "static").iterdir(), key=lambda file: file.name):
        if file.name.endswith((".css", ".js")):
            yield f"static/{file.name}", file.read_bytes()
