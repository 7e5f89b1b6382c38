"""What a reader is shown of a cell is what was judged, and the first of it."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import torch

from advbench.plugins.values import core_threat
from advbench.run.exhibits import COUNT, ROOM, shown_of
from advbench.run.stored import packed_part
from advbench.store import Store
from advbench.testing.stage import StageNet, target_of


def pixels(blob: bytes, shape: tuple[int, ...]) -> torch.Tensor:
    return torch.from_numpy(np.frombuffer(zlib.decompress(blob), np.uint8).reshape(shape).copy())


def test_a_cell_shows_its_first_examples_as_they_were_judged(results: Any) -> None:
    with Store.open(results.db, readonly=True) as store:
        cells = [cell for cell in store.cells() if cell.goal == "untargeted"]
        assert cells
        for cell in cells:
            rows = store.exhibits(cell.key)
            ids = store.examples(cell.examples)
            assert [row.example for row in rows] == sorted(ids[:COUNT])
            shards = store.shards(cell.key).values()
            stored = [store.artifacts.get(shard.artifact) for shard in shards]
            moved = torch.cat([packed_part(part, torch.device("cpu"))["p"] for part in stored])
            order = [int(example) for part in stored for example in part["example"]]
            for row in rows:
                shape = tuple(moved.shape[1:])
                original, perturbed = (pixels(blob, shape) for blob in (row.original, row.perturbed))
                due = original / 255 + moved[order.index(row.example)]
                assert (perturbed / 255 - due).abs().max() < 1.1 / 255


def test_large_images_are_fewer_and_one_at_least() -> None:
    assert len(shown_of(range(100), (1, 28, 28))) == COUNT
    assert len(shown_of(range(100), (3, 200, 200))) == ROOM // (3 * 3 * 200 * 200)
    assert shown_of([7, 3], (3, 4000, 4000)) == {7}


def test_what_a_turn_and_a_corruption_do_is_told_in_words() -> None:
    x = torch.rand(2, 1, 8, 8)
    turn = core_threat("rotate-shift(degrees=30, pixels=2)")
    assert turn.words(x, torch.tensor([[0.5, -1.0, 0.25], [-1, 0, -0.25]])) == [
        "turned by 15.0° counter-clockwise, shifted 2.00 px left and 0.50 px down",
        "turned by 30.0° clockwise, shifted 0.00 px right and 0.50 px up",
    ]
    (word,) = core_threat("corruption").words(x[:1], torch.tensor([[0.0, 0.5, 3.0]]))
    assert word.endswith(", severity 0.50")


def test_where_mass_went_points_the_way() -> None:
    ball = core_threat("wasserstein(eps=1, kernel=3)")
    x = torch.zeros(1, 1, 4, 4)
    x[0, 0, 1, 2] = 0.8
    plan = ball.identity(x)
    plan[0, 4, 0, 1, 2], plan[0, 3, 0, 1, 2] = 0.5, 0.3  # three tenths go one pixel to the left
    moved = ball.moved(x, plan)
    assert moved is not None
    assert torch.allclose(moved[0, :, 1, 2], torch.tensor([0.0, -0.3]))
    assert moved.abs().sum() == moved[0, 1, 1, 2].abs()
    there = ball.apply(x, plan)
    assert torch.allclose(there[0, 0, 1, 1], torch.tensor(0.3))


def test_only_a_network_that_redraws_is_shown_redrawing(results: Any) -> None:
    with Store.open(results.db, readonly=True) as store:
        assert all(row["redrawn"] is None for row in store.rows("SELECT redrawn FROM exhibits"))
    net = StageNet((1, 8, 8), 3)
    x = torch.rand(3, 1, 8, 8)
    redrawn = target_of(net, (1, 8, 8), 3).redrawn(x)
    assert redrawn is not None
    assert torch.allclose(redrawn, net.reconstruct(x, net(x).argmax(1)))
