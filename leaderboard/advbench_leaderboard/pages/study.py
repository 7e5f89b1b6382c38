"""A study at a level: a ledger of the paper's claims, then its tables and figures, each number beside ours."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from advbench.store.faults import READING_FAILED
from advbench.store.study_rows import PictureRow
from advbench_leaderboard import png
from advbench_leaderboard.facts.studies import Study
from advbench_leaderboard.pages import Page, Raw
from advbench_leaderboard.sections import Sections, gallery
from advbench_leaderboard.site import Site

FOLDER = "studies"
LARGEST = 1 << 22
"""Bytes of a picture that a page shows; a stranger's database may claim any shape."""
INSIDE = 6_000
"""Letters of a picture that lies in the page itself; larger ones, and what is shown twice, are files beside it."""
ROOM = 200_000
"""Letters of all pictures that lie in one page."""
SENTENCE = 240
"""Letters of a verdict's words that are shown at once."""
_COUNTED = re.compile(r"(?:not: )*[^:]*: ")
"""How the words of many verdicts begin: with how many of them hold."""


@dataclass(frozen=True)
class Album:
    """Where the pictures of a page are: in it, in files beside it, or nowhere since they can't be read."""

    addresses: Mapping[tuple[str, str], str | None]
    files: Mapping[str, bytes]


def pages(site: Site) -> Iterator[Page | Raw]:
    written: set[str] = set()
    for study in site.studies:
        made = album(site, study)
        for path in made.files.keys() - written:
            yield Raw(path, made.files[path])
        written |= made.files.keys()
        yield Page(site.study_file(study), "study.html.j2", partial(_context, site, study, made))


def album(site: Site, study: Study) -> Album:
    """The pictures of all galleries; none where the page can't be read, which then says so itself."""
    addresses: dict[tuple[str, str], str | None] = {}
    files: dict[str, bytes] = {}
    used = 0
    try:
        asked = [one for part in study.page["sections"] for one in part["shows"] if one["what"] == "gallery"]
        rows = [
            (one["label"], row)
            for one in asked
            if one["label"] in study.keys
            for row in gallery(site.found(study.keys[one["label"]]), one)
        ]
    except READING_FAILED:
        rows = []
    times = Counter((label, row.name) for label, row in rows)
    for label, row in rows:
        if (label, row.name) in addresses:
            continue
        try:
            pixels, shape = _pixels(row)
            inside = str(png.address(pixels, shape))
        except ValueError:
            addresses[label, row.name] = None
            continue
        if len(inside) <= INSIDE and used + len(inside) <= ROOM and times[label, row.name] == 1:
            used += len(inside)
            addresses[label, row.name] = inside
        else:
            data = png.png(pixels, shape)
            path = f"studies/pictures/{hashlib.sha256(data).hexdigest()[:20]}.png"
            files[path] = data
            addresses[label, row.name] = path.removeprefix("studies/")
    return Album(addresses, files)


def _pixels(row: PictureRow) -> tuple[bytes, png.Image]:
    size = row.channels * row.height * row.width
    if not 0 < size <= LARGEST or min(row.channels, row.height, row.width) < 1:
        raise ValueError(f"a picture of {size} bytes is too large for a page, or none")
    return png.inflated(row.pixels, size), (row.channels, row.height, row.width)


def _context(site: Site, study: Study, made: Album) -> dict[str, object]:
    keys = [(one.label, one.analysis) for one in study.performed.analyses]
    return {
        "study": study,
        "others": [one for one in site.studies if one.name == study.name and one is not study],
        "sections": list(Sections(site, study, made.addresses).parts()),
        "analyses": [(label, site.analysis(key) if key else None) for label, key in keys],
        "parted": parted,
    }


def parted(words: str) -> tuple[str, str]:
    """A verdict's words as what is shown at once, and the rest that a reader may open."""
    if len(words) <= SENTENCE:
        return words, ""
    begins = _COUNTED.match(words)
    if begins and begins.end() <= SENTENCE:
        return begins[0].removesuffix(": "), words[begins.end() :]
    cut = words.rfind(" ", 0, SENTENCE) if " " in words[:SENTENCE] else SENTENCE
    return f"{words[:cut]} …", f"… {words[cut:].strip()}"
