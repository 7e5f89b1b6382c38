"""What an attack may not touch: the target, the ball, the goal and torch's own state, held before and after it ran.

An attack runs in the same process as everything else, and nothing in one process is safe from malice. What is seen here
are accidents: a network left in training mode, a weight set to zero, a default dtype left changed, passes that nobody
counted. One cell's damage ends with that cell.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

from advbench.crafting.condition import Condition
from advbench.crafting.torch_state import TorchState
from advbench.draws import Draws
from advbench.errors import DamagedTargetError, PluginError, one_line
from advbench.plugin import Attack
from advbench.target.answer import seeded
from advbench.target.target import Target


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
        state = TorchState.now()
        own = Fields.of([self.attack, *self.attack.others.values()])
        others = Fields.of([self._target, self._target.model, *self._target.defenses])
        failure: Exception | None = None
        try:
            with self._counting():
                yield
        except Exception as error:
            failure = error
        finally:
            left = state.restore()
        left += [f"its own `{name}` is another one" for name in own.restore()]
        damage = [f"`{name}` is another one" for name in others.restore()] + self._damage()
        if damage:
            raise DamagedTargetError(self._message("changed its target", damage + left, failure)) from failure
        if left:
            raise PluginError(self._message("left something changed", left, failure)) from failure
        if failure is not None:
            raise failure

    def check_passes(self, counted: int) -> None:
        """Refuse an attack whose passes are not those that its problem counted."""
        around = self.answers.around + abs(self.answers.asked - counted)
        if around:
            raise PluginError(
                f"{self.attack.label}: `perturb` made {around} passes around its problem, which counts them and keeps "
                "what they find; ask `problem.labels`, `logits`, `gradient`"
            )

    def _damage(self) -> list[str]:
        """What has changed in the networks, less what they change by themselves whenever they are asked."""
        now = Condition.of(self._nets)
        changed = [] if now == self._condition else self._condition.changes(now)
        if not changed:
            return []
        own = _own_changes(self._nets, self._condition, self._target) if all(one.held for one in changed) else set()
        self._condition = now
        return [str(change) for change in changed if change.name not in own]

    def _message(self, what: str, changes: list[str], failure: Exception | None) -> str:
        more = f"; and {len(changes) - 3} more" if len(changes) > 3 else ""
        ended = f" (and ended with: {one_line(failure)})" if failure else ""
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


@dataclass(frozen=True)
class Fields:
    """The fields of some dataclasses at one moment, so that they can be put back."""

    kept: tuple[tuple[Any, dict[str, Any]], ...]

    @classmethod
    def of(cls, owners: Sequence[Any]) -> Fields:
        kept = [(owner, {field.name: getattr(owner, field.name) for field in fields(owner)}) for owner in owners]
        return cls(tuple(kept))

    def restore(self) -> list[str]:
        """Put back what is another value than it was, and say which fields these are."""
        changed = []
        for owner, values in self.kept:
            for name, value in values.items():
                now = getattr(owner, name, None)
                if now is not value and not (isinstance(value, _PLAIN) and now == value):
                    object.__setattr__(owner, name, value)
                    changed.append(name)
        return changed


_PLAIN = (bool, int, float, str, tuple, type(None))


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


def _in_backward() -> bool:
    """Whether autograd is running: a network with checkpoints is asked again on the way back, and that is no pass."""
    return bool(torch._C._current_graph_task_id() != -1)


def copied(nets: Sequence[nn.Module]) -> list[nn.Module]:
    """Networks of their own, also of those that keep a tensor in the middle of a graph, which torch does not copy."""
    kept = [value for net in nets for module in net.modules() for value in vars(module).values()]
    inner = {id(value): value.detach().clone() for value in kept if isinstance(value, Tensor) and not value.is_leaf}
    return copy.deepcopy(list(nets), inner)


def _own_changes(nets: Sequence[nn.Module], before: Condition, target: Target) -> set[str]:
    """Names of what the networks change of themselves when they are asked: a counter, noise that is kept, a maximum.

    Tried on a copy, in the modes that they had, with images of all kinds, with a graph and without.
    """
    try:
        copies = copied(nets)
        for net in copies:
            net.eval()
        first = Condition.of(copies)
        shape = target.dataset.shape
        device = next((value.device for net in nets for value in (*net.parameters(), *net.buffers())), None)
        ids = torch.arange(4, device=device)
        x = Draws(0, "guard", ids).uniform(*shape) * torch.tensor([1.0, 0.0, 100.0, -100.0], device=device).view(
            -1, *[1] * len(shape)
        )
        names: set[str] = set()
        for graph in (False, True, False):
            with torch.set_grad_enabled(graph), seeded(f"guard/{graph}", x.device):
                for net in copies:
                    net(x.clone().requires_grad_(graph))
            names |= {change.name for change in first.changes(Condition.of(copies)) if change.held}
    except Exception:  # what can't be tried is nobody's excuse
        return set()
    return names
