"""One stranger's mistake ends their own turn; what concerns everybody ends everything."""

from __future__ import annotations

import gc
import weakref

import pytest

from advbench.errors import AdvbenchError, DamagedTargetError, PluginError, TimeUpError
from advbench.interrupts import Interrupted
from advbench.plugins.foreign import spare_others


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (PluginError("broke the contract"), "broke the contract"),
        (TimeUpError("took too long"), "took too long"),
        (ZeroDivisionError("by nothing"), "ZeroDivisionError: by nothing"),
        (SystemExit(3), "acme tried to end the program (SystemExit: 3)"),
        (PluginError(""), ""),
    ],
    ids=lambda one: type(one).__name__,
)
def test_what_a_stranger_does_wrong_is_kept_for_whoever_tells_it(error: BaseException, reason: str) -> None:
    with spare_others("acme") as failure:
        raise error
    assert (failure.happened, failure.reason) == (True, reason)


@pytest.mark.parametrize(
    "error", [AdvbenchError("the disk is full"), Interrupted(), KeyboardInterrupt()], ids=lambda one: type(one).__name__
)
def test_what_concerns_everybody_is_let_through(error: BaseException) -> None:
    with pytest.raises(type(error)), spare_others("acme"):
        raise error


def test_nothing_has_happened_where_nothing_fails() -> None:
    with spare_others("acme") as failure:
        pass
    assert not failure.happened
    assert not failure.of(PluginError)


def test_a_failure_knows_its_kind_and_whoever_asks_may_name_the_mistakes() -> None:
    with spare_others("acme") as failure:
        raise DamagedTargetError("a weight is another one")
    assert failure.of(DamagedTargetError)
    assert failure.of(PluginError)
    assert not failure.of(TimeUpError)
    with pytest.raises(PluginError), spare_others("acme", (TimeUpError,)):
        raise PluginError("none of those that are a mistake here")


def test_what_a_block_has_made_does_not_outlive_its_failure() -> None:
    """An error holds the frames that it came through, and with them the tensors of a cell."""

    class Large:
        pass

    def block() -> weakref.ref[Large]:
        large = Large()
        kept.append(weakref.ref(large))
        raise ValueError("in the middle of it")

    kept: list[weakref.ref[Large]] = []
    gc.disable()
    try:
        with spare_others("acme") as failure:
            block()
        assert failure.happened
        assert kept[0]() is None
    finally:
        gc.enable()
