"""Each rate in one sentence with its formula."""

from __future__ import annotations

from collections.abc import Iterator

from advbench_leaderboard.pages import Page
from advbench_leaderboard.site import Site

NAVIGATION = ("metrics.html", "Metrics")


def pages(site: Site) -> Iterator[Page]:
    yield Page("metrics.html", "metrics.html.j2")
