"""Where an attack stops decides what its examples are good for, not how many networks they fool."""

from __future__ import annotations

from typing import Any

import pytest

from advbench.store import Store

SUITE = """\
data: mnist-5k
examples: 60
stop: {stop}
models: [small-cnn, cnn-cr]
defenses: [none, reconstruction]
attacks: [pgd(steps=12)]
threats: [linf(eps=0.15)]
"""


@pytest.fixture(scope="module")
def ended(advbench: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, dict[str, Any]]]:
    """By stop mode and view, what was measured."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for stop in ("first", "end"):
        folder = tmp_path_factory.mktemp(stop)
        (folder / "suite.yaml").write_text(SUITE.format(stop=stop))
        done = advbench("run", folder / "suite.yaml", "--db", folder / "r.sqlite", "--offline")
        assert done.code == 0, done.out + done.err
        with Store.open(folder / "r.sqlite") as store:
            fooling, transfer, undetected = (store.rates(view) for view in ("fooling", "transfer", "undetected"))
        found[stop] = {
            "fooling": {row["source_label"]: row["rate"] for row in fooling},
            "transfer": {f"{row['source_label']} to {row['target_label']}": row["rate"] for row in transfer},
            "undetected": {row["target_label"]: row["undetected"] for row in undetected if row["own"]},
        }
    return found


def test_stopping_at_the_first_success_fools_exactly_as_many(ended: dict[str, Any]) -> None:
    assert ended["first"]["fooling"] == ended["end"]["fooling"]
    assert any(0 < rate < 1 for rate in ended["end"]["fooling"].values())


def test_going_on_to_the_end_transfers_more(ended: dict[str, Any]) -> None:
    first, end = ended["first"]["transfer"], ended["end"]["transfer"]
    other = [pair for pair in end if {"small-cnn", "cnn-cr"} <= set(pair.replace("+", " ").split())]
    assert other
    assert sum(end[pair] for pair in other) > sum(first[pair] for pair in other)


def test_going_on_to_the_end_is_detected_differently(ended: dict[str, Any]) -> None:
    first, end = ended["first"]["undetected"], ended["end"]["undetected"]
    assert set(first) == set(end) == {"cnn-cr+reconstruction"}
    assert first != end
