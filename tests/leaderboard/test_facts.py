"""What pages are made from: labels that tell targets apart, and questions that are asked once."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import gallery_facts
import pytest
from site_facts import COUNT, fill

from advbench.protocol import FIRST, PROTOCOL
from advbench.store import Store
from advbench_leaderboard.facts.entrants import targets
from advbench_leaderboard.render import render
from advbench_leaderboard.site import Site


def judge(path: Path, key: str, protocol: int, label: str = "same") -> None:
    """One more network by that label, on a board of that protocol."""
    place = {"data_fingerprint": "data", "examples": "set", "count": COUNT, "threat": "linf", "family": "linf"}
    place |= {"eps": 0.3, "protocol": protocol, "dataset": "digits"}
    with Store.open(path) as store, store.transaction():
        store.add_board({**place, "key": f"board {protocol}", "name": "digits/linf/0.3", "required": ["noise"]})
        store.add_target(
            {"key": key, "label": label, "model": label, "defenses": "none", "dataset": "digits"}
            | {"data_fingerprint": "data", "weights_sha256": key}
        )
        store.add_clean(key, [{"example": e, "label": 0, "predicted": 0, "confidence": 1.0} for e in range(COUNT)])
        cell = {**place, "key": f"{key} noise", "attack": "noise", "goal": "untargeted", "stop": "first", "source": key}
        store.add_cell(cell)
        rows = [{"example": e, "reached": 0, "predicted": 0, "size": 0.3} for e in range(COUNT)]
        store.add_shard(cell["key"], {"shard": 0, "first": 0, "count": COUNT, "run": "run"}, {key: rows})
        store.add_event(cell["key"], "run", "done")


def labels(path: Path) -> dict[str, str]:
    with Store.open(path, readonly=True) as store:
        return {key: target.label for key, target in targets(store).items() if target.model == "same"}


def test_the_newest_protocols_target_keeps_its_label_and_the_older_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "results.sqlite"
    fill(path)
    judge(path, "old-one", FIRST)
    assert labels(path) == {"old-one": "same"}
    judge(path, "old-two", FIRST)
    assert labels(path) == {"old-one": "same #old-one", "old-two": "same #old-two"}
    judge(path, "new-one", PROTOCOL)
    assert labels(path) == {"old-one": "same #old-one", "old-two": "same #old-two", "new-one": "same"}
    judge(path, "new-two", PROTOCOL)  # nothing says which of the two is meant
    assert set(labels(path).values()) == {"same #old-one", "same #old-two", "same #new-one", "same #new-two"}


def test_a_site_asks_of_its_outcomes_nothing_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gallery_facts.fill(tmp_path / "results.sqlite")
    statements: list[str] = []
    gathered = Site.__init__

    def traced(site: Site, **fields: object) -> None:
        gathered(site, **fields)  # type: ignore[arg-type]
        site.store.connection.set_trace_callback(statements.append)

    monkeypatch.setattr(Site, "__init__", traced)
    render(tmp_path / "results.sqlite", tmp_path / "site")
    questions = Counter(text for text in statements if "outcomes" in text)
    assert sum(questions.values()) > 10
    assert [text for text, times in questions.items() if times > 1] == []
