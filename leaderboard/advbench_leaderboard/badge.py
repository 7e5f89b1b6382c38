"""An entry's badge: its robust accuracy on a board, as an SVG to put into a README."""

from __future__ import annotations

from markupsafe import Markup

from advbench_leaderboard.facts.boards import Board, Entry
from advbench_leaderboard.figures.svg import element, label
from advbench_leaderboard.text import percent, shown

GLYPH = 6.8
"""About the width of a letter at 11 pixels: `textLength` makes it so whatever the font."""
OTHERS = {"ijlI|'!": 3.2, " .,:;/()[]-ftr": 4.6, "mwMW": 10.0, "%=+<>@": 9.6}
"""What is much narrower or wider than a usual letter."""
HEIGHT = 20


def badge(board: Board, entry: Entry) -> str:
    """Two fields: the board; rate and rank. Colours of its own, for it stands on other people's pages."""
    assert entry.robust is not None
    assert entry.rank is not None
    left = shown(f"{board.name}, aimed" if board.aim else board.name)[:40]
    right = (
        f"{percent(entry.robust.value)} % robust, rank {entry.rank}{'=' if entry.tied else ''} of {len(board.ranked)}"
    )
    widths = [_width(text) + 14 for text in (left, right)]
    words = f"{board.title}: {right}, {entry.target.label}"
    return (
        str(
            element(
                "svg",
                element("title", words),
                element("rect", width=sum(widths), height=HEIGHT, rx=3, fill="#3b4450"),
                element(
                    "path",
                    d=f"M{widths[0]:.1f} 0h{widths[1] - 3:.1f}a3 3 0 0 1 3 3v14a3 3 0 0 1-3 3h-{widths[1] - 3:.1f}z",
                    fill="#0b57a4",
                ),
                _text(left, 7),
                _text(right, widths[0] + 7),
                xmlns="http://www.w3.org/2000/svg",
                width=sum(widths),
                height=HEIGHT,
                role="img",
                aria_label=words,
            )
        )
        + "\n"
    )


def _text(text: str, x: float) -> Markup:
    return label(
        text,
        x,
        14,
        fill="#fff",
        font_family="Verdana,DejaVu Sans,sans-serif",
        font_size=11,
        textLength=_width(text),
    )


def _width(text: str) -> float:
    return round(sum(next((wide for some, wide in OTHERS.items() if letter in some), GLYPH) for letter in text), 1)
