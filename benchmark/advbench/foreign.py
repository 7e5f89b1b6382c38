"""What strangers wrote, made safe to repeat."""

from __future__ import annotations

from advbench.errors import PluginError


def plain(text: str) -> str:
    """Without control characters, which would steer a terminal."""
    if text.isprintable():
        return text.strip()
    return "".join(c if c.isprintable() else " " for c in text).strip()


def shown(value: object) -> str:
    try:
        return plain(repr(value))[:80]
    except Exception:  # a stranger's repr
        return f"a {type(value).__name__}"


def one_line(error: BaseException) -> str:
    try:
        text = plain(str(error))
    except Exception:
        text = "(its message can't be read)"
    name = "" if isinstance(error, PluginError) else type(error).__name__
    return ": ".join(part for part in (name, text) if part)
