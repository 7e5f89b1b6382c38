"""What an attack may not touch: the target, the ball, the goal and torch's own state, held before and after it ran.

An attack runs in the same process as everything else, and nothing in one process is safe from malice. What is seen here
are accidents: a network left in training mode, a weight set to zero, a default dtype left changed, passes that nobody
counted. One cell's damage ends with that cell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor, nn

from advbench.condition import Condition
from advbench.errors import DamagedTargetError, PluginError, describe
from advbench.plugin import Attack
from advbench.target import Target
from advbench.torch_state import TorchState


class Guard:
    """Stands between an attack and one target, for all shards of a cell; gives a `Problem` what it may ask."""

    def __init__(self, attack: Attack, target: Target) -> None:
        self.attack, self._target = attack, target
        self.answers = GuardedAnswers(target)
        self._nets = target.networks
        self._condition = Condition.of(self._nets)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Raises what the attack raised; or, where it changed something, an error with the name of that."""
        state, own = TorchState.now(), _fields(self.attack)
        failure: Exception | None = None
        try:
            with self._counting():
                yield
        except Exception as error:
            failure = error
        finally:
            left = state.restore()
        if _fields(self.attack) != own:
            left.append("its own parameters are others")
            for name, value in own.items():
                object.__setattr__(self.attack, name, value)
        if damage := self._damage():
            raise DamagedTargetError(self._told("changed its target", damage + left, failure)) from failure
        if left:
            raise PluginError(self._told("left something changed", left, failure)) from failure
        if failure is not None:
            raise failure

    def check_passes(self, counted: int) -> None:
        """Refuse an attack whose passes are not all among those that its problem counted."""
        around = self.answers.around + self.answers.asked - counted
        if around > 0:
            raise PluginError(
                f"{self.attack.label}: `perturb` made {around} passes around its problem, which counts them and keeps "
                "what they find; ask `problem.labels`, `logits`, `gradient`"
            )

    def _damage(self) -> list[str]:
        """What has changed in the networks, less what changes whenever they are asked."""
        now = Condition.of(self._nets)
        if now == self._condition:
            return []
        changed = self._condition.changes(now)
        if not changed:
            return []
        own = _changed_by_a_pass(self._target, self._nets, now)
        self._condition = Condition.of(self._nets)
        return [change for change in changed if change not in own]

    def _told(self, what: str, changes: list[str], failure: Exception | None) -> str:
        more = f"; and {len(changes) - 3} more" if len(changes) > 3 else ""
        ended = f" (and ended with: {describe(failure)})" if failure else ""
        return f"{self.attack.label}: `perturb` {what}: {'; '.join(changes[:3])}{more}{ended}"

    @contextmanager
    def _counting(self) -> Iterator[None]:
        """Every `forward` of the target's networks is counted unless the problem has asked for it."""
        undo = [_wrap(net, self.answers.count) for net in self._nets]
        try:
            yield
        finally:
            for put_back in undo:
                put_back()


class GuardedAnswers:
    """A target's answers, for a `Problem`: what it asks here may run the networks, whatever else runs them is noted."""

    def __init__(self, target: Target) -> None:
        self._answering = target
        self.asked = 0
        """How often it was asked."""
        self.around = 0
        """How often a network ran without being asked here."""
        self._inside = False

    @property
    def classes(self) -> int:
        return self._answering.classes

    @property
    def threshold(self) -> float | None:
        return self._answering.threshold

    @property
    def scale(self) -> float:
        return self._answering.scale

    @property
    def draws(self) -> int:
        return self._answering.draws

    def abstains(self, logits: Tensor) -> Tensor | None:
        return self._answering.abstains(logits)

    def logits(self, images: Tensor) -> Tensor:
        return self._asking(self._answering.logits, images)

    def suspicion(self, images: Tensor) -> Tensor:
        return self._asking(self._answering.suspicion, images)

    @contextmanager
    def allowing(self) -> Iterator[None]:
        """In the block networks may run: somebody who has a right to it asks them."""
        before, self._inside = self._inside, True
        try:
            yield
        finally:
            self._inside = before

    def _asking(self, question: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        self.asked += 1
        with self.allowing():
            return question(images)

    def count(self) -> None:
        if not self._inside and not _in_backward():
            self.around += 1


class _Noted:
    """A network's `forward` that says when it runs."""

    def __init__(self, forward: Callable[..., Any], note: Callable[[], None]) -> None:
        self.forward, self.note = forward, note

    def __call__(self, *args: Any, **options: Any) -> Any:
        self.note()
        return self.forward(*args, **options)


def _wrap(net: nn.Module, note: Callable[[], None]) -> Callable[[], None]:
    """Have the network note every pass; what is returned ends that."""
    if isinstance(net, torch.jit.ScriptModule):  # compiled: its `forward` can't be exchanged
        return net.register_forward_pre_hook(lambda *_: note()).remove
    own = vars(net).get("forward")
    noted = _Noted(net.forward, note)
    net.forward = noted

    def put_back() -> None:
        if vars(net).get("forward") is not noted:
            return  # somebody else has put another one there, which will be seen
        if own is None:
            del net.forward
        else:
            net.forward = own

    return put_back


def _fields(attack: Attack) -> dict[str, Any]:
    return {field.name: getattr(attack, field.name) for field in fields(attack)}


def _in_backward() -> bool:
    """Whether autograd is running: a network with checkpoints is asked again on the way back, and that is no pass."""
    return bool(torch._C._current_graph_task_id() != -1)


def _changed_by_a_pass(target: Target, nets: tuple[nn.Module, ...], now: Condition) -> list[str]:
    """What a network changes of itself when it is asked (a counter, say), which is no attack's doing."""
    shape = target.dataset.shape
    first = next((value for net in nets for value in (*net.parameters(), *net.buffers())), torch.zeros(()))
    with torch.no_grad():
        target.logits(torch.zeros(1, *shape, device=first.device))
    return now.changes(Condition.of(nets))
