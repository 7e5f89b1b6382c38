"""Boards, the data sets behind them and the attacks that they require, as rows of the store."""

from __future__ import annotations

from dataclasses import replace

import torch

from advbench.data import Data, Examples
from advbench.draws import Draws
from advbench.errors import AdvbenchError
from advbench.goal import expand
from advbench.plugin import Dataset
from advbench.plugins.compatibility import why_never
from advbench.plugins.registry import Registry
from advbench.protocol import PROTOCOL
from advbench.rates.aim import entrant
from advbench.run.keys import board_key, board_says, dataset_says
from advbench.store import Store
from advbench.store.rows import BoardRow, DatasetRow
from advbench.suite.board import Board
from advbench.suite.suite import Suite


def judged_examples(data: Data, count: int | None, dataset: Dataset, drawn: int | None = None) -> Examples:
    """The first `count` examples of a data set in the order of judging, or all of them; or so many drawn by a seed."""
    if count is not None and count > len(data.judge):
        raise AdvbenchError(f"{dataset.label} has {len(data.judge)} examples to judge; the suite asks for {count}")
    if drawn is not None and count is not None:
        return draw(data.judge, count, drawn)
    return data.judge[: count or len(data.judge)]


def draw(judge: Examples, count: int, seed: int) -> Examples:
    """So many examples without replacement, in the order of the data set: those whose hash with the seed is lowest.

    Nothing else enters, so that fewer drawn by a seed are among more drawn by it, on every machine. They keep their
    order since a randomised target is asked about neighbours together.
    """
    draws = Draws(seed, "examples", judge.ids)
    high, low = draws.integers(2**31, 2).unbind(1)
    by_id = judge.ids.argsort()  # ids break ties, whatever the order of the data set
    order = by_id[((high << 31) + low)[by_id].argsort(stable=True)]
    return judge[order[:count].sort().values]


def record_examples(store: Store, data: Data, examples: Examples, drawn: int | None) -> None:
    """Store the ids of a set of judged examples, and how it was chosen: of the first ones nothing is said."""
    with store.transaction():
        store.add_examples(examples.fingerprint, examples.ids.tolist())
        if drawn is not None and not torch.equal(examples.ids, data.judge.ids[: len(examples)]):
            store.add_draw(examples.fingerprint, drawn)


def record_dataset(store: Store, registry: Registry, dataset: Dataset, data: Data) -> None:
    store.add_dataset(
        DatasetRow(
            **dataset_says(dataset, data),
            source=data.source,
            partial=data.partial,
            train_fingerprint=data.train.fingerprint,
            calibrate_fingerprint=data.calibrate.fingerprint,
        )
    )


def record_boards(store: Store, registry: Registry, suite: Suite, datasets: dict[Dataset, Data]) -> tuple[str, ...]:
    """Store the boards of a suite with their examples; their keys, in the suite's order."""
    keys = []
    for board in suite.boards:
        data = datasets[board.dataset]
        examples = judged_examples(data, board.examples, board.dataset, board.drawn)
        record_examples(store, data, examples, board.drawn)
        row = board_row(board, suite, registry, data, examples)
        store.add_board(row)
        keys.append(row.key)
    return tuple(keys)


def board_row(board: Board, suite: Suite, registry: Registry, data: Data, examples: Examples) -> BoardRow:
    """A board as the store holds it, under its key."""
    label = board.dataset.label
    row = BoardRow(
        key="",
        **board_says(label, suite.seed, board.threat, registry.shipper(board.threat)),
        dataset=label,
        seed=suite.seed,
        data_fingerprint=data.judge.fingerprint,
        examples=examples.fingerprint,
        count=len(examples),
        required=required_entrants(board, suite),
        protocol=PROTOCOL,
    )
    return replace(row, key=board_key(row))


def required_entrants(board: Board, suite: Suite) -> list[str]:
    """The required attacks with each goal of the board, as the store names them, less what can't run here.

    By name: a set has no order, and the board's key must not depend on the one in which attacks were listed.
    """
    entrants = []
    for attack in board.attacks:
        if attack.label not in board.required:
            continue
        for goal in board.goals:
            if why_never(attack, board.threat, goal):
                continue
            for each in expand(goal, board.dataset.classes):
                fit = suite.fit if attack.scope == "set" else None
                entrants.append(
                    entrant(
                        attack.label,
                        each,
                        stop=suite.stop,
                        budget=suite.budget,
                        fit=fit,
                        precision=suite.precision,
                    )
                )
    return sorted(entrants)
