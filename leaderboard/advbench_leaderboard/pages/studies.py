"""Studies: how many published numbers are reproduced, and which claims hold, of every paper."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from advbench_leaderboard.facts.studies import highest
from advbench_leaderboard.pages import Page
from advbench_leaderboard.site import Site

NAVIGATION = ("studies.html", "Studies")


def is_there(site: Site) -> bool:
    """A database without studies has no such page."""
    return bool(site.studies)


def pages(site: Site) -> Iterator[Page]:
    if is_there(site):
        yield Page(NAVIGATION[0], "studies.html.j2", partial(dict, listed=list(highest(site.studies))))
