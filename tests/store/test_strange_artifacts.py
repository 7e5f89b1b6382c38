"""Perturbations with a right hash that are none: one line each, and nothing is made of what they claim."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import Advbench, Results
from safetensors.torch import load_file, save
from tampering import edit
from torch import Tensor

from advbench.store import Store
from advbench.threats import Wasserstein

Tensors = dict[str, Tensor]

SPOILED: dict[str, Callable[[Tensors], Tensors]] = {
    "p of integers": lambda t: {**t, "p.p": t["p.p"].long()},
    "p in float64": lambda t: {**t, "p.p": t["p.p"].double()},
    "p of one image": lambda t: {**t, "p.p": t["p.p"][:1]},
    "p without images": lambda t: {**t, "p.p": t["p.p"][:0]},
    "p transposed": lambda t: {**t, "p.p": t["p.p"].flatten(1)},
    "no p": lambda t: {name: part for name, part in t.items() if name != "p.p"},
    "no examples": lambda t: {name: part for name, part in t.items() if name != "example"},
    "no goals": lambda t: {name: part for name, part in t.items() if name != "goal_label"},
    "examples as reals": lambda t: {**t, "example": t["example"].float()},
    "examples NaN": lambda t: {**t, "example": t["example"].float() * torch.nan},
    "examples in a square": lambda t: {**t, "example": t["example"].view(-1, 1)},
    "examples elsewhere": lambda t: {**t, "example": t["example"] + 10**6},
    "an example twice": lambda t: {**t, "example": t["example"][:1].expand(len(t["example"])).contiguous()},
    "a million examples": lambda t: {**t, "example": t["example"].repeat(100_000)},
    "goals as reals": lambda t: {**t, "goal_label": t["goal_label"].float()},
    "goals of others": lambda t: {**t, "goal_label": t["goal_label"] + 1},
    "goal for one": lambda t: {**t, "goal_label": t["goal_label"][:1]},
    "nothing": lambda t: {},
    "NaN": lambda t: {**t, "p.p": t["p.p"] * torch.nan},
}


def spoil(db: Path, change: Callable[[Tensors], Tensors] | bytes) -> str:
    """The first artifact of the first cell becomes another, and every row names its hash; the cell's key."""
    with Store.open(db, readonly=True) as store:
        sha = store.rows("SELECT artifact FROM shards WHERE cell = 1 AND shard = 0")[0]["artifact"]
        key = store.rows("SELECT key FROM cells WHERE id = 1")[0]["key"]
        place = store.artifacts.path(sha)
    data = change if isinstance(change, bytes) else save(change(load_file(place)))
    other = hashlib.sha256(data).hexdigest()
    file = place.parents[1] / other[:2] / f"{other}.safetensors"
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(data)
    edit(
        db,
        f"UPDATE shards SET artifact = '{other}' WHERE artifact = '{sha}'",
        f"UPDATE artifacts SET sha256 = '{other}', bytes = {len(data)} WHERE sha256 = '{sha}'",
    )
    return str(key)


@pytest.mark.parametrize("what", [*SPOILED, "no safetensors", "half a header"])
def test_an_artifact_that_is_none_is_told_and_judges_nobody(
    advbench: Advbench, few: Results, tmp_path: Path, what: str
) -> None:
    db = few.copy(tmp_path)
    raw = {"no safetensors": b"hello", "half a header": b"\xff" * 7 + b"\x7f{"}
    key = spoil(db, raw.get(what) or SPOILED[what])
    verified = advbench("verify", key, "--no-mark", "--db", db)
    assert (verified.code, verified.err) == (1, "")
    assert "differs" in verified.out
    exported = advbench("export", key, tmp_path / "out.npz", "--db", db)
    assert exported.code == 0 if what in ("NaN", "goals of others") else exported.complaint
    merged = advbench("merge", tmp_path / "into.sqlite", db)
    assert merged.code == 1
    assert "rejected" in merged.out
    if what in ("p of one image", "examples elsewhere", "no safetensors"):
        again = advbench("run", few.suite, "--db", db, "--model", "toy", "--model", "toy(seed=2)")
        assert "Traceback" not in again.out + again.err
        assert again.code == 1
        assert "its stored perturbations" in again.out + again.err


@pytest.mark.parametrize(
    ("count", "index", "value"),
    [
        ([2_000_000_000, 0], [0], [0.5]),
        ([-1, 2], [0], [0.5]),
        ([1, 1], [0, 99_999], [0.5, 0.5]),
        ([1, 1], [0, -1], [0.5, 0.5]),
        ([2, 0], [3, 3], [0.5, 0.5]),
        ([1], [0], [0.5]),
        ([1, 1], [0], [0.5, 0.5]),
        ([[1, 1]], [0, 0], [0.5, 0.5]),
    ],
)
def test_a_plan_that_claims_more_than_an_image_can_hold_is_refused(
    count: list[int], index: list[int], value: list[float]
) -> None:
    ball = Wasserstein(eps=0.1)
    stored = {
        "count": torch.tensor(count, dtype=torch.int32),
        "index": torch.tensor(index, dtype=torch.int32),
        "value": torch.tensor(value),
    }
    with pytest.raises(ValueError, match=r"do not belong together|not in the plan"):
        ball.unpack(torch.ones(2, 1, 4, 4), stored)
