"""The environment that templates are filled in."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from advbench.rates.drawn import drawn_by
from advbench_leaderboard import commands
from advbench_leaderboard.compiled import COMPILED
from advbench_leaderboard.facts.rate import Rate
from advbench_leaderboard.figures.chart import shapes, swatch
from advbench_leaderboard.figures.heat import shade, sheet
from advbench_leaderboard.figures.plot import ring_swatch
from advbench_leaderboard.figures.scale import shown_number
from advbench_leaderboard.metrics import METRICS
from advbench_leaderboard.pages import Page
from advbench_leaderboard.site import Site
from advbench_leaderboard.text import (
    count_of,
    duration,
    measured,
    moment,
    percent,
    points,
    printed,
    shown,
    signed,
    tail,
)

POLICY = (
    "default-src 'none'; style-src 'self' file:; script-src 'self' file:; img-src 'self' file: data:; "
    "base-uri 'none'; form-action 'none'"
)
"""`file:` lets a folder be looked at without a server; a page that a host serves may load nothing from there."""


def environment(site: Site, navigation: tuple[tuple[str, str], ...]) -> Environment:
    made = Environment(
        loader=PackageLoader("advbench_leaderboard"),
        autoescape=True,  # for every template: the usual choice by file name passes `.html.j2` by
        undefined=StrictUndefined,
        finalize=_final,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        auto_reload=False,
        bytecode_cache=COMPILED,
    )
    made.globals.update(
        site=site,
        policy=POLICY,
        navigation=navigation,
        metrics={m.key: m for m in METRICS},
        command_of=commands,
        swatch=swatch,
        ring=ring_swatch,
        shapes=shapes,
        shade=shade,
        sheet=sheet,
    )
    made.filters.update(
        percent=percent,
        count=count_of,
        number=shown_number,
        duration=duration,
        moment=moment,
        web=web_address,
        bytes=_size,
        soft=breakable,
        coded=coded,
        points=points,
        tail=tail,
        drawn_by=drawn_by,
        measured=measured,
        printed=printed,
        signed=signed,
        counted=lambda one: Rate(one.right, one.n),
    )
    return made


def filled(made: Environment, page: Page) -> bytes:
    root = "../" * page.path.count("/")
    return made.get_template(page.template).render(root=root, path=page.path, **page.made()).encode()


def web_address(text: str) -> str:
    """The address if it is one of the web's, else nothing: a plugin's `javascript:` is never a link."""
    address = shown(text)
    on_the_web = address.lower().startswith(("https://", "http://")) and not set(address) & set(" \"'<>\\^`{|}")
    return address if on_the_web else ""


@lru_cache(maxsize=16_384)
def breakable(text: str) -> Markup:
    """Long names may go on in a new line where a part begins."""
    return Markup("<wbr>").join(escape(part) for part in re.split(r"(?=[(+])|(?<=[/,])", shown(text)) if part)


def coded(text: str) -> Markup:
    """Words of a study's author, in which what stands between backticks is code."""
    parts = shown(text).split("`")
    if len(parts) % 2 == 0:
        return escape(shown(text))
    return Markup("").join(Markup("<code>{}</code>").format(part) if i % 2 else part for i, part in enumerate(parts))


def _final(value: Any) -> Any:
    """Whatever a plugin supplied reaches the page as one plain line; autoescape does the rest."""
    return shown(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB" if count >= 1e4 else f"{count:,} bytes"
