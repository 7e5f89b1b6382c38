"""A query's rows become records that a type checker can see, or the query and the record are told to differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from advbench.errors import AdvbenchError
from advbench.store import Store


@dataclass(frozen=True)
class Found:
    name: str
    required: Sequence[str]
    current: bool
    stands: bool | None
    eps: float | None


def test_fields_are_filled_by_the_name_of_their_column() -> None:
    question = "SELECT ? AS eps, ? AS required, 1 AS current, NULL AS stands, 'a board' AS name"
    with Store.memory() as store:
        assert store.read(Found, question, None, '["pgd"]') == [Found("a board", ["pgd"], True, None, None)]
        (found,) = store.read(Found, question, 0.5, None)
        assert found.current is True
        assert store.read(Found, f"SELECT * FROM ({question}) WHERE name = 'no board'", None, "[]") == []


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ("1 AS eps, '[]' AS required, 1 AS current, 1 AS stands", "no column for the field name"),
        (
            "'a' AS name, 1 AS eps, '[]' AS required, 1 AS current, 1 AS stands, 2 AS more",
            "no field for the column more",
        ),
        ("'a' AS name, 1 AS eps, 2 AS eps, '[]' AS required, 1 AS current, 1 AS stands", "two columns called eps"),
    ],
)
def test_a_question_that_asks_for_something_else_is_refused_by_name(columns: str, words: str) -> None:
    with Store.memory() as store, pytest.raises(TypeError, match=f"Found and its question differ: {words}"):
        store.read(Found, f"SELECT {columns} WHERE 0")


def test_json_that_is_none_names_its_column() -> None:
    with Store.memory() as store, pytest.raises(AdvbenchError, match="the column required should hold JSON"):
        store.read(Found, "SELECT 'a' AS name, 'nonsense' AS required, 1 AS current, 1 AS stands, 1.0 AS eps")
