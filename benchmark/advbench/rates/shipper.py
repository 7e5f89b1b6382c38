"""The distribution that ships a board's ball, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def shipper_of(ball: Mapping[str, Any] | None) -> str:
    """Who shipped a board's or a cell's ball: `advbench-acme 1.0, source 1a2b3c4d`; empty for the core's own."""
    if not ball:
        return ""
    who = " ".join(filter(None, (ball.get("distribution"), ball.get("version")))) or "nobody's package"
    source = str(ball.get("digest") or "")[:8]
    return f"{who}, source {source}" if source else who
