"""One small picture for notebooks: bars with intervals, as SVG."""

from __future__ import annotations

from html import escape

_LEFT, _WIDTH, _ROW, _TOP = 280, 360, 26, 46


def bars(rows: list[tuple[str, float, float, float]], *, title: str) -> str:
    """Shares in [0, 1] by name, each with the low and high end of its interval."""
    height = _TOP + _ROW * len(rows) + 34
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LEFT + _WIDTH + 70} {height}" role="img" '
        f'font-family="system-ui, sans-serif" font-size="13" style="max-width:720px;background:#fff">',
        f"<title>{_text(title)}</title>",
        f'<text x="12" y="24" font-size="15" font-weight="600" fill="#1a1a1a">{_text(title)}</text>',
    ]
    bottom = _TOP + _ROW * len(rows)
    for tick in (0, 25, 50, 75, 100):
        x = _LEFT + _WIDTH * tick / 100
        parts.append(f'<path d="M{x:.1f} {_TOP - 6}V{bottom}" stroke="#d8d8d8"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle" fill="#555">{tick} %</text>')
    for place, (name, share, low, high) in enumerate(rows):
        y = _TOP + _ROW * place
        middle = y + _ROW / 2 - 3
        x0, x1 = _LEFT + _WIDTH * low, _LEFT + _WIDTH * high
        shown = name if len(name) <= 42 else name[:41] + "…"
        parts.append(f'<text x="{_LEFT - 10}" y="{middle + 4:.1f}" text-anchor="end" fill="#1a1a1a">{_text(shown)}')
        parts.append(f"<title>{_text(name)}: {share:.3f} [{low:.3f}, {high:.3f}]</title></text>")
        parts.append(
            f'<rect x="{_LEFT}" y="{y + 3}" width="{max(_WIDTH * share, 1):.1f}" height="{_ROW - 12}" fill="#2a78b5"/>'
        )
        parts.append(f'<path d="M{x0:.1f} {middle:.1f}H{x1:.1f}" stroke="#1a1a1a" stroke-width="1.5"/>')
        parts.append(f'<text x="{_LEFT + _WIDTH + 10}" y="{middle + 4:.1f}" fill="#1a1a1a">{100 * share:.1f} %</text>')
    return "".join(parts) + "</svg>"


def _text(name: str) -> str:
    """As text, never as markup; XML has no way to write control characters."""
    return escape("".join(c if c.isprintable() else " " for c in name))
