"""What the sections of a study's page show: tables beside ours, charts, pictures, findings, and what is missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from markupsafe import Markup

from advbench.store.study_rows import FindingRow, Found, PictureRow
from advbench_leaderboard.facts.places import Layout, layout
from advbench_leaderboard.facts.series import Columns, Drawn, Listed, chosen, columns, drawn
from advbench_leaderboard.facts.studies import Study
from advbench_leaderboard.figures.plot import plot
from advbench_leaderboard.site import Site
from advbench_leaderboard.text import in_order

MOST = 200
"""Findings in a table of the page; downloads hold all of them."""
OPEN = 20
"""Findings that are shown at once; more of them would hide what the paper says."""
PART = " · "
"""What stands between the parts of a finding's name."""


@dataclass(frozen=True)
class Figure:
    """A chart, its legend and its numbers."""

    key: str
    svg: Markup
    series: tuple[Drawn, ...]
    numbers: Columns | Listed
    x: str
    y: str


@dataclass(frozen=True)
class Shown:
    """A picture, or the words that stand in its place."""

    name: str
    caption: str
    address: str | None
    height: int
    width: int


@dataclass(frozen=True)
class Listing:
    """Findings, without the parts that all of their names have in common."""

    common: str
    rows: tuple[tuple[str, FindingRow], ...]
    left_out: int

    @property
    def long(self) -> bool:
        """Whether it lies closed until a reader opens it."""
        return len(self.rows) > OPEN


@dataclass(frozen=True)
class Block:
    """One thing that a section shows."""

    what: str
    key: str
    """Of its own on the page."""
    id: str
    """Of the heading that names it."""
    heading: str = ""
    """Empty where the block before it stands under the same one."""
    published: str = ""
    """What the paper's caption says, shown once."""
    note: str = ""
    layout: Layout | None = None
    figure: Figure | None = None
    pictures: tuple[Shown, ...] | None = None
    listing: Listing | None = None
    caption: str = ""
    missing: str = ""
    """Why there is nothing of ours to show."""


@dataclass(frozen=True)
class Part:
    """A section."""

    id: str
    title: str
    paragraphs: tuple[str, ...]
    blocks: tuple[Block, ...]


@dataclass
class Sections:
    """Builds the sections of one page; every published place comes up once, whatever the study shows."""

    site: Site
    study: Study
    pictures: Mapping[tuple[str, str], str | None]
    """Addresses, by analysis and name."""
    _found: dict[str, Found] = field(default_factory=dict)
    _told: set[str] = field(default_factory=set)
    _shown: set[str] = field(default_factory=set)
    _charts: int = 0

    def parts(self) -> Iterator[Part]:
        described = self.study.page["sections"]
        tabled = {str(one["place"]) for part in described for one in part["shows"] if one["what"] == "table"}
        for number, part in enumerate(described, 1):
            blocks: list[Block] = []
            for place, one in enumerate(part["shows"], 1):
                block = self._block(one, f"s{number}-{place}", tabled)
                if blocks and block.heading == self._last(blocks):
                    block = replace(block, id=blocks[-1].id, heading="")
                blocks.append(block)
            paragraphs = tuple(text for text in str(part["text"]).split("\n\n") if text.strip())
            yield Part(f"s{number}", str(part["title"]), paragraphs, tuple(blocks))
        if rest := self._rest():
            yield Part("rest", "Not shown above", (), tuple(rest))

    def _last(self, blocks: Sequence[Block]) -> str:
        return next(block.heading for block in reversed(blocks) if block.heading)

    def _block(self, one: Mapping[str, Any], name: str, tabled: set[str]) -> Block:
        what = str(one["what"])
        if what == "ours":
            return self._ours(one, name)
        place = str(one["place"])
        block = self._named(Block(what, name, name, place), place)
        if what == "missing":
            block = replace(block, missing=str(one["reason"]))
        elif what == "chart":
            block = self._chart(one, block)
        elif what == "gallery":
            block = self._gallery(one, block)
        elif what != "table":
            raise ValueError(f"a section shows {what!r}, which no page can show")
        if what == "table" or (place not in tabled and place not in self._shown):
            block = replace(block, layout=self._layout(place, str(one.get("across") or "")))
        self._shown.add(place)
        return block

    def _named(self, block: Block, place: str) -> Block:
        """With what the paper says of the place, where nothing before said it."""
        if place in self._told:
            return block
        self._told.add(place)
        captions, notes = self.study.page.get("captions") or {}, self.study.page.get("notes") or {}
        return replace(block, published=str(captions.get(place) or ""), note=str(notes.get(place) or ""))

    def _layout(self, place: str, across: str) -> Layout | None:
        numbers = self.study.by_place.get(place)
        return layout(place, numbers, across) if numbers else None

    def _rest(self) -> list[Block]:
        """Places of the paper that no section shows: their numbers at least are told."""
        places = {*(self.study.page.get("captions") or {}), *self.study.by_place} - self._shown
        blocks = []
        for number, place in enumerate(sorted(places, key=in_order), 1):
            block = self._named(Block("table", f"rest-{number}", f"rest-{number}", place), place)
            made = self._layout(place, "")
            blocks.append(replace(block, layout=made, missing="" if made else "No section of this study shows it."))
        return blocks

    # --- what analyses found

    def _of(self, label: str) -> Found | str:
        """What an analysis found, or why it found nothing."""
        if label in self._found:
            return self._found[label]
        key = self.study.keys.get(label)
        if key is None:
            why = self.study.reasons.get(label, "the study does not perform it")
            return f"{label} could not be performed: {why}"
        self._found[label] = self.site.found(key)
        return self._found[label]

    def _chart(self, one: Mapping[str, Any], block: Block) -> Block:
        label, caption = str(one["label"]), str(one["caption"])
        found = self._of(label)
        curves = drawn(() if isinstance(found, str) else found.points, one["series"], one["published"])
        told = found if isinstance(found, str) else ""
        if not any(curve.ours for curve in curves):
            told = told or f"{label} found no series that is drawn here."
        if not curves:
            return replace(block, caption=caption, missing=told)
        self._charts += 1
        x, y = str(one["x"] or "x"), str(one["y"] or "y")
        svg = plot(
            f"{block.heading}: {y} against {x}",
            f"Figure {self._charts} of this page: {len(curves)} series, {', '.join(c.name for c in curves[:8])}.",
            curves,
            str(one["kind"]),
            x,
            y,
        )
        made = Figure(f"c{self._charts}", svg, tuple(curves), columns(curves), x, y)
        return replace(block, figure=made, caption=caption, missing=told)

    def _gallery(self, one: Mapping[str, Any], block: Block) -> Block:
        label, caption = str(one["label"]), str(one["caption"])
        found = self._of(label)
        if isinstance(found, str):
            return replace(block, caption=caption, missing=found)
        pictures = tuple(
            Shown(row.name, row.caption, self.pictures.get((label, row.name)), row.height, row.width)
            for row in gallery(found, one)
        )
        missing = "" if pictures else f"{label} kept no pictures that are shown here: none are kept of images that are "
        return replace(block, pictures=pictures, caption=caption, missing=missing and missing + "not to be published.")

    def _ours(self, one: Mapping[str, Any], name: str) -> Block:
        label, block = str(one["label"]), Block("ours", name, name, str(one["title"]), caption=str(one["caption"]))
        found = self._of(label)
        if isinstance(found, str):
            return replace(block, missing=found)
        rows = [row for row in found.findings if chosen(row.name, one["findings"])]
        if not rows:
            return replace(block, missing=f"{label} found no numbers that are shown here.")
        return replace(block, listing=listing(rows))


def gallery(found: Found, one: Mapping[str, Any]) -> list[PictureRow]:
    """The pictures that a section shows."""
    return [row for row in found.pictures if chosen(row.name, one["pictures"])]


def listing(rows: Sequence[FindingRow]) -> Listing:
    parts = [row.name.split(PART) for row in rows]
    same: set[int] = set()
    if len(rows) > 1:  # what some names have more of stands at their end
        shortest = min(map(len, parts))
        same = {place for place in range(shortest) if len({some[place] for some in parts}) == 1}
    words = [PART.join(part for place, part in enumerate(some) if place not in same) for some in parts]
    common = PART.join(part for place, part in enumerate(parts[0]) if place in same)
    few = tuple(zip(words, rows, strict=True))[:MOST]
    return Listing(common, few, len(rows) - len(few))
