"""Elements, and the frame around a figure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from markupsafe import Markup, escape

from advbench_leaderboard.text import shown

Value = str | int | float | None


def element(name: str, *children: Markup | str, **attributes: Value) -> Markup:
    """`element("text", "a < b", x=1.5, class_="axis")`; None leaves an attribute out, `_` becomes `-`."""
    written = "".join(
        [
            f' {key.rstrip("_").replace("_", "-")}="{_escaped(value)}"'
            for key, value in attributes.items()
            if value is not None
        ]
    )
    inside = "".join([child if isinstance(child, Markup) else escape(shown(child)) for child in children])
    return Markup(f"<{name}{written}>{inside}</{name}>" if inside else f"<{name}{written}/>")


def strokes(ways: Iterable[str]) -> Markup:
    """A path for each `d`, of which there may be hundreds: letters and numbers that its caller wrote, not a plugin."""
    return Markup("".join([f'<path d="{way}"/>' for way in ways]))


def group(*children: Markup, **attributes: Value) -> Markup:
    return element("g", *children, **attributes)


def label(text: str, x: float, y: float, *, anchor: str = "start", class_: str | None = None, **more: Value) -> Markup:
    return element("text", text, x=x, y=y, text_anchor=None if anchor == "start" else anchor, class_=class_, **more)


def frame(title: str, description: str, width: float, height: float, *children: Markup, class_: str = "") -> Markup:
    """A figure that says in words what it is; put its table behind it with the `behind` macro."""
    name = f"f{hashlib.sha256(f'{title}|{description}'.encode()).hexdigest()[:8]}"
    return element(
        "svg",
        element("title", title, id=f"{name}t"),
        element("desc", description, id=f"{name}d"),
        *children,
        class_=f"figure {class_}".strip(),
        viewBox=f"0 0 {_written(width)} {_written(height)}",
        width=width,
        height=height,
        role="img",
        aria_labelledby=f"{name}t {name}d",
    )


def path(points: list[tuple[float, float]]) -> str:
    """The `d` of a line through the points."""
    return "M" + "L".join(f"{_written(x)} {_written(y)}" for x, y in points)


def _escaped(value: Value) -> str:
    return escape(_written(value)) if isinstance(value, str) else _written(value)


def _written(value: Value) -> str:
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".") or "0"
    return shown(str(value))
