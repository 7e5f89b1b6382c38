"""Facts that contradict each other raise a flag, and facts that agree raise none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from advbench.rates import evidence
from advbench.rates.notes import Note, computed, notes
from advbench.store import Store

COUNT = 100


@pytest.fixture
def store() -> Iterator[Store]:
    with Store.memory() as store:
        yield store


def begin(
    store: Store, *, eps: float = 0.3, family: str = "linf", required: Iterable[str] = ("pgd",), **target: Any
) -> None:
    """A target that is right on every clean image of ten classes."""
    alarms = target.pop("alarms", 0)
    store.begin_run({"id": "run"})
    store.add_dataset(
        {"fingerprint": "data", "label": "digits", "classes": list("0123456789"), "shape": [1, 4, 4], "count": COUNT}
    )
    store.add_examples("set", range(COUNT))
    store.add_board(
        {"key": "board", "name": f"digits/{family}/{eps}", "dataset": "digits", "data_fingerprint": "data"}
        | {"threat": family, "family": family, "eps": eps, "examples": "set", "count": COUNT}
        | {"required": sorted(required), "protocol": 2}
    )
    store.add_target(
        {"key": "t", "label": "t", "model": "t", "defenses": "none", "dataset": "digits", "data_fingerprint": "data"}
        | target
    )
    store.add_clean(
        "t",
        [{"example": e, "label": e % 10, "predicted": e % 10, "suspicion": float(e < alarms)} for e in range(COUNT)],
    )


def attack(
    store: Store,
    name: str,
    fooled: Iterable[int],
    *,
    needs: str | None = "gradients",
    params: dict[str, Any] | None = None,
    **cell: Any,
) -> None:
    hits = set(fooled)
    key = f"{name}{cell.get('goal', '')}"
    row = {"key": key, "dataset": "digits", "data_fingerprint": "data", "examples": "set", "count": COUNT}
    row |= {"threat": "linf", "family": "linf", "eps": 0.3, "attack": name, "attack_params": params or {}}
    store.add_cell(row | {"goal": "untargeted", "source": "t", "protocol": 2, "needs": needs} | cell)
    outcomes = [
        {"example": e, "reached": int(e in hits), "predicted": (e + (e in hits)) % 10, "size": 0.1}
        for e in range(COUNT)
    ]
    store.add_shard(key, {"shard": 0, "first": 0, "count": COUNT, "run": "run"}, {"t": outcomes})
    store.add_event(key, "run", "done")


def kinds(store: Store) -> list[str]:
    """Of all notes but those on weak evidence, which these few attacks are nearly always."""
    with store.tallied():
        found = computed(store)
    assert all(isinstance(note, Note) and note.target == "t" and note.board == "board" for note in found)
    return [note.kind for note in found if note.kind != "weak evidence"]


def weak(store: Store) -> list[str]:
    with store.tallied():
        return [note.reason for note in computed(store) if note.kind == "weak evidence"]


def test_a_black_box_attack_that_beats_gradients_raises_a_flag(store: Store) -> None:
    begin(store, required=["pgd", "square", "boundary"])
    attack(store, "pgd", range(10))
    attack(store, "square", range(40), needs="logits")
    attack(store, "boundary", range(30), needs="labels")
    with store.tallied():
        (note,) = [note for note in computed(store) if note.kind != "weak evidence"]
    assert note.kind == "black-box stronger than white-box"
    assert "square fools 40 of 100" in note.reason
    assert "pgd fools 10 of 100" in note.reason


@pytest.mark.parametrize(
    ("white", "black", "needs"),
    [
        (range(40), range(10), "logits"),  # the usual order
        (range(10), range(12), "logits"),  # no more than chance
        (range(10), range(40), None),  # a database of old says nothing
        (range(10), range(40), "gradients and suspicion"),
    ],
)
def test_attacks_in_the_usual_order_raise_none(
    store: Store, white: Iterable[int], black: Iterable[int], needs: str | None
) -> None:
    begin(store, required=["pgd", "square"])
    attack(store, "pgd", white)
    attack(store, "square", black, needs=needs)
    assert kinds(store) == []


def test_a_targeted_attack_is_no_match_for_an_untargeted_one(store: Store) -> None:
    begin(store)
    attack(store, "pgd", range(10), goal="class=3")
    attack(store, "square", range(40), needs="logits")
    assert kinds(store) == []


def test_what_lies_outside_the_ball_fools_nobody(store: Store) -> None:
    begin(store, eps=0.05)
    attack(store, "pgd", range(10), eps=0.05)
    attack(store, "boundary", range(90), needs="labels", eps=None, minimizes=1)  # at size 0.1
    assert kinds(store) == []


def test_more_steps_that_fool_less_raise_a_flag(store: Store) -> None:
    begin(store)
    attack(store, "pgd", range(40), params={"steps": 10, "travel": 2.5})
    attack(store, "pgd(steps=100)", range(10), params={"steps": 100, "travel": 2.5})
    assert kinds(store) == ["more steps not stronger"]


@pytest.mark.parametrize(
    ("few", "many", "more"),
    [
        (range(40), range(40), {"steps": 100, "travel": 2.5}),  # converged
        (range(40), range(38), {"steps": 100, "travel": 2.5}),  # chance
        (range(40), range(10), {"steps": 100, "travel": 0.1}),  # another step length as well
        (range(10), range(40), {"steps": 100, "travel": 2.5}),  # as it should be
    ],
)
def test_more_steps_that_help_or_change_nothing_raise_none(
    store: Store, few: Iterable[int], many: Iterable[int], more: dict[str, Any]
) -> None:
    begin(store, required=["pgd", "pgd(steps=100)"])
    attack(store, "pgd", few, params={"steps": 10, "travel": 2.5})
    attack(store, "pgd(steps=100)", many, params=more)
    assert kinds(store) == []


@pytest.mark.parametrize(
    ("family", "eps", "fooled", "due"),
    [
        ("linf", 0.5, 60, True),
        ("linf", 0.5, 92, False),  # one class of ten may stay right
        ("linf", 0.4, 60, False),
        ("l2", 2.0, 60, True),  # 16 pixels: half of each is a length of 2
        ("l2", 1.9, 60, False),
        ("rotate-shift", 90.0, 60, False),
    ],
)
def test_right_answers_where_every_image_may_become_grey_raise_a_flag(
    store: Store, family: str, eps: float, fooled: int, due: bool
) -> None:
    begin(store, eps=eps, family=family)
    attack(store, "pgd", range(fooled), eps=eps, family=family, threat=family)
    assert kinds(store) == (["huge radius not near 0 %"] if due else [])


def test_examples_that_no_minimal_norm_attack_can_change_raise_a_flag(store: Store) -> None:
    begin(store)
    attack(store, "cw", range(70), eps=None, minimizes=1)
    assert kinds(store) == ["unbroken at any radius"]
    attack(store, "ddn", range(60, 99), eps=None, minimizes=1)  # together they change all but one
    assert kinds(store) == []


@pytest.mark.parametrize(
    ("alarms", "asked", "due"), [(100, 0.05, True), (14, 0.05, True), (8, 0.05, False), (14, 0.1, False)]
)
def test_false_alarms_far_above_what_was_asked_raise_a_flag(store: Store, alarms: int, asked: float, due: bool) -> None:
    begin(store, alarms=alarms, threshold=0.5, false_positive_rate=asked)
    assert kinds(store) == (["false alarms"] if due else [])


def apart(store: Store, key: str, fooled: Iterable[int], examples: Iterable[int], **cell: Any) -> None:
    """A cell on another set of examples, as a merge brings it: without a board."""
    ids, hits = list(examples), set(fooled)
    known = store.clean("t").keys()
    store.add_examples("other", ids)
    store.add_clean("t", [{"example": e, "label": e % 10, "predicted": e % 10} for e in ids if e not in known])
    row = {"key": key, "dataset": "digits", "data_fingerprint": "data", "examples": "other", "count": len(ids)}
    row |= {"threat": "linf", "family": "linf", "eps": 0.3, "attack": key, "goal": "untargeted", "source": "t"}
    store.add_cell(row | {"protocol": 2} | cell)
    outcomes = [
        {"example": e, "reached": int(e in hits), "predicted": (e + (e in hits)) % 10, "size": 0.1} for e in ids
    ]
    store.add_shard(key, {"shard": 0, "first": 0, "count": len(ids), "run": "run"}, {"t": outcomes})
    store.add_event(key, "run", "done")


@pytest.mark.parametrize(
    ("examples", "fooled", "told"),
    [
        (
            range(50),
            range(39),
            "50 of these examples, leaves 11 of 50 right where the attacks that count here leave 40",
        ),
        (range(200, 250), range(200, 239), "leaves 11 of 50 right where the attacks that count here leave 90 of 100"),
        (range(80, 130), range(80, 119), "of which 20 are judged here, too"),
    ],
)
def test_a_merged_attack_that_leaves_less_on_other_examples_contradicts_the_board(
    store: Store, examples: Iterable[int], fooled: Iterable[int], told: str
) -> None:
    begin(store)
    attack(store, "pgd", range(10), beyond_gradients=1)
    apart(store, "autoattack", fooled, examples)
    with store.tallied():
        (note,) = computed(store)
        (one,) = evidence.gather(store)
    assert (note.kind, note.cell) == ("contradicted elsewhere", "autoattack")
    assert told in f"{note.reason}; {one.where}"
    assert "p < 0.0001" in note.reason
    assert (one.right, one.n) == (11, 50)
    assert store.rates("unplaced")[0]["still_right"] == 11


@pytest.mark.parametrize(
    ("fooled", "cell"),
    [
        (range(6), {}),  # no more than chance
        ([], {}),
        (range(50), {"protocol": 1}),  # protocols never meet
        (range(50), {"eps": 0.4}),  # another ball
        (range(50), {"family": "l2"}),
        (range(50), {"eps": None, "minimizes": 1, "goal": "untargeted", "status": "failed"}),
    ],
)
def test_what_agrees_or_asks_something_else_contradicts_nothing(
    store: Store, fooled: Iterable[int], cell: dict[str, Any]
) -> None:
    begin(store)
    attack(store, "pgd", range(5))
    status = cell.pop("status", "done")
    apart(store, "autoattack", fooled, range(50), **cell)
    if status == "failed":
        store.add_event("autoattack", "run", "failed", "out of time")
    assert kinds(store) == []


def test_an_attack_at_a_class_is_held_against_boards_that_ask_for_it_or_leave_it_open(store: Store) -> None:
    begin(store, required=["pgd → class=3"])
    attack(store, "pgd", range(0, 100, 20), goal="class=3")
    apart(store, "autoattack", range(50), range(50))
    assert kinds(store) == []  # who may leave to anywhere fools more often, and contradicts nothing
    apart(store, "cw", range(50), range(50), goal="class=3")
    assert kinds(store) == ["contradicted elsewhere"]


def test_an_attack_that_the_board_does_not_require_and_that_leaves_less_raises_a_flag(store: Store) -> None:
    begin(store)
    attack(store, "pgd", range(10), beyond_gradients=1)
    attack(store, "apgd", range(12))
    assert kinds(store) == []
    attack(store, "autoattack", range(70))
    with store.tallied():
        (note,) = computed(store)
    assert note.kind == "stronger attack not required"
    assert note.reason == "autoattack leaves 30 of 100 right where the attacks that count here leave 90 (p < 0.0001)"


def test_an_unranked_target_has_evidence_and_no_contradiction(store: Store) -> None:
    begin(store)
    apart(store, "autoattack", range(39), range(50))
    assert kinds(store) == []
    with store.tallied():
        (one,) = evidence.gather(store)
    assert (one.entrant, one.shared, one.test) == ("autoattack", 50, None)


@pytest.mark.parametrize(
    ("declared", "needs", "due"),
    [
        (0, "gradients", True),
        (1, "gradients", False),  # as autoattack, whose last part asks for none
        (0, "labels", True),  # as noise
        (1, "labels", False),  # as grid
        (None, "gradients", True),  # cells of old say what they asked for
        (None, "labels", True),
        (None, "logits", False),
        (None, "labels, held-out images", False),
        (None, "nothing", True),
        (None, None, True),
    ],
)
def test_a_robust_accuracy_that_only_gradients_stand_behind_is_called_weak(
    store: Store, declared: int | None, needs: str | None, due: bool
) -> None:
    begin(store, required=["pgd", "other"])
    attack(store, "pgd", range(10), beyond_gradients=0)
    attack(store, "other", range(5), needs=needs, beyond_gradients=declared)
    reason = (
        "only other and pgd stand behind the robust accuracy, "
        "and no attack that finds what gradients at the image don't lead to"
    )
    assert weak(store) == ([reason] if due else [])


def test_what_is_not_required_stands_behind_nothing(store: Store) -> None:
    begin(store)
    attack(store, "pgd", range(10), beyond_gradients=0)
    attack(store, "square", range(20), needs="logits", beyond_gradients=1)
    (reason,) = weak(store)
    assert reason.startswith("only pgd stands behind")


def test_evidence_is_weak_only_for_what_is_left_and_not_proved(store: Store) -> None:
    begin(store)
    attack(store, "pgd", range(COUNT), beyond_gradients=0)
    assert weak(store) == []  # nothing is left
    with Store.memory() as other:
        begin(other)
        attack(other, "pgd", range(40), beyond_gradients=0)
        proved = [
            {"example": e, "family": "linf", "predicted": e % 10, "radius": 0.3 * (e >= 40)} for e in range(COUNT)
        ]
        assert weak(other)
        other.add_certificates("t", proved)
        assert weak(other) == []


def test_many_attacks_are_counted_and_not_all_named(store: Store) -> None:
    begin(store, required=[f"a{k}" for k in range(9)])
    for k in range(9):
        attack(store, f"a{k}", range(10), beyond_gradients=0)
    (reason,) = weak(store)
    assert reason.startswith("only a0, a1, a2, a3 and 5 more stand behind")


def test_what_the_harness_stored_comes_first(store: Store) -> None:
    begin(store)
    attack(store, "pgd", range(10), beyond_gradients=0)
    store.add_note("t", "not finite", "it answers NaN")
    with store.tallied():
        assert [(note.board, note.kind) for note in notes(store)] == [
            ("board", "not finite"),
            ("board", "weak evidence"),
        ]
