"""Columns that several tables have."""

from __future__ import annotations

import json
from typing import Any

from advbench_leaderboard.facts.rate import Rate
from advbench_leaderboard.tables.form import Value

BOARD = {"board": "the board’s key", "board_name": "the board’s name"}
TARGET = {"target": "the target’s key", "target_label": "the target’s label"}


def rate_columns(name: str, meaning: str) -> dict[str, str]:
    """Five columns, which `rate_values` fills."""
    return {
        f"{name}_k": f"{meaning}: counted",
        f"{name}_n": f"{meaning}: of so many",
        name: f"{meaning}: the share",
        f"{name}_low": f"{meaning}: lower end of the 95 % interval",
        f"{name}_high": f"{meaning}: upper end of the 95 % interval",
    }


def rate_values(rate: Rate | None) -> tuple[Value, ...]:
    return (rate.k, rate.n, rate.value, rate.low, rate.high) if rate else (None,) * 5


def json_value(value: Any) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False, sort_keys=True)
