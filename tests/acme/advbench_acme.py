"""An attack, a model, a defense, a data set, a ball, a study and a command that advbench does not ship."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import typer
from torch import Tensor, nn
from torch.nn import functional

from advbench import (
    Absent,
    Access,
    AdvbenchError,
    Analysis,
    Attack,
    Bound,
    Data,
    DataFolders,
    Dataset,
    Defense,
    Draws,
    Examples,
    Findings,
    Geometry,
    Inputs,
    Judged,
    Level,
    Material,
    Model,
    Number,
    Problem,
    Rates,
    Recipe,
    Section,
    Store,
    Study,
    Table,
    Threat,
    above,
    hookimpl,
    in_lanes,
    mean,
    rate_name,
)


@dataclass(frozen=True)
class Stripes(Attack):
    """Random vertical stripes, as the Square Attack begins (Andriushchenko et al., 2020, arXiv:1912.00049)."""

    name = "acme-stripes"
    threats = frozenset({"linf"})
    needs = Access.LABELS

    tries: int = 20

    def perturb(self, problem: Problem) -> Tensor:
        channels, height, width = problem.images.shape[1:]
        p = problem.start()
        for _ in range(self.tries):
            stripes = problem.draws.sign(channels, 1, width).expand(-1, -1, height, -1)
            p = problem.project(problem.eps * stripes)
            problem.labels(p)  # the problem keeps the first that reaches the goal
            if problem.done:
                break
        return p


@hookimpl
def advbench_attacks() -> list[Attack]:
    return [Stripes(), Stripes(tries=100)]


@dataclass(frozen=True)
class Twice(Attack):
    """Another attack, two times over: what it draws at random is drawn anew."""

    name = "acme-twice"
    geometry = Geometry.START | Geometry.ASCENT
    needs = Access.GRADIENTS
    builds_on = ("attack",)

    attack: str = "pgd(steps=20)"

    def perturb(self, problem: Problem) -> Tensor:
        first = self.others["attack"].perturb(problem)
        return first if problem.done else self.others["attack"].perturb(problem)


def bim(net: nn.Module, image: Tensor, label: Tensor, seed: int, eps: float, steps: int = 10) -> Tensor:
    """As any library may have it: one image (1, C, H, W), its label (1,), and nothing of advbench."""
    found = image.clone()
    for _ in range(steps):
        found.requires_grad_()
        loss = functional.cross_entropy(net(found), label)
        (slope,) = torch.autograd.grad(loss, found)
        found = (found.detach() + eps / 4 * slope.sign()).clamp(image - eps, image + eps).clamp(0, 1)
    return found


@dataclass(frozen=True)
class Borrowed(Attack):
    """BIM that knows nothing of problems."""

    name = "acme-borrowed"
    threats = frozenset({"linf"})
    needs = Access.GRADIENTS
    targeted = False

    def perturb(self, problem: Problem) -> Tensor:
        return in_lanes(problem, lambda *given: bim(*given, eps=problem.eps))


@dataclass(frozen=True)
class Linear(Model):
    """Multinomial logistic regression."""

    name = "acme-linear"

    def build(self, dataset: Dataset) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(dataset.shape), dataset.classes))

    def recipe(self, dataset: Dataset) -> Recipe:
        return Recipe(epochs=10, learning_rate=1e-2, floor=0.8)


@hookimpl
def advbench_models() -> list[Model]:
    return [Linear()]


@dataclass(frozen=True)
class Rounding(Defense):
    """Rounds pixels to a few levels (feature squeezing: Xu et al., 2018, arXiv:1704.01155)."""

    name = "acme-rounding"
    keeps = Access.LOGITS  # the gradient of a rounded image is zero

    levels: int = 8

    def wrap(self, net: nn.Module, calibrate: Examples) -> nn.Module:
        return nn.Sequential(Rounded(self.levels), net)


class Rounded(nn.Module):
    def __init__(self, levels: int) -> None:
        super().__init__()
        self.steps = levels - 1

    def forward(self, images: Tensor) -> Tensor:
        return (images * self.steps).round() / self.steps


@hookimpl
def advbench_defenses() -> list[Defense]:
    return [Rounding()]


@dataclass(frozen=True)
class Corners(Dataset):
    """Which quarter of a noisy image is the bright one."""

    name = "acme-corners"
    shape = (1, 8, 8)
    class_names = ("north-west", "north-east", "south-west", "south-east")

    def find(self, folders: DataFolders) -> str:
        return "made on the spot"

    def load(self, folders: DataFolders) -> Data:
        ids = torch.arange(600)
        labels = ids % 4
        images = Draws(0, self.name, ids).uniform(1, 8, 8, high=0.6)
        halves = images.view(-1, 2, 4, 2, 4)  # rows north and south, columns west and east
        halves[ids, labels // 2, :, labels % 2] += 0.4
        every = Examples(images, labels, ids)
        return Data(train=every[:400], calibrate=every[400:500], judge=every[500:], source=self.find(folders))


@hookimpl
def advbench_datasets() -> list[Dataset]:
    return [Corners()]


@dataclass(frozen=True)
class Fade(Threat):
    """The whole image fades towards white or black, by at most a share eps."""

    name = "acme-fade"
    offers = Geometry.START | Geometry.ASCENT
    convex = True
    tolerance = 1e-6  # one number of order 1, stored as it is: only its own rounding is to be forgiven

    eps: float = 0.5

    def farthest(self, shape: tuple[int, ...]) -> float:
        return 1.0  # all white, or all black

    def identity(self, x: Tensor) -> Tensor:
        return x.new_zeros(len(x), 1)

    def start(self, x: Tensor, draws: Draws) -> Tensor:
        return self.project(x, draws.uniform(1, low=-self.eps, high=self.eps, dtype=x.dtype))

    def apply(self, x: Tensor, p: Tensor) -> Tensor:
        share = p.view(-1, 1, 1, 1)
        return x + share.clamp_min(0) * (1 - x) + share.clamp_max(0) * x

    def project(self, x: Tensor, p: Tensor) -> Tensor:
        return p.clamp(-min(self.eps, 1.0), min(self.eps, 1.0))

    def steepest(self, x: Tensor, gradient: Tensor) -> Tensor:
        return gradient.sign().nan_to_num(0)

    def size(self, x: Tensor, p: Tensor) -> Tensor:
        return p.abs().amax(1)


@hookimpl
def advbench_threats() -> list[Threat]:
    return [Fade()]


PAPER = """
paper: {title: Explaining and harnessing adversarial examples, year: 2015, key: acme-goodfellow2015}
tables:
- id: Section 4
  caption: a softmax classifier on MNIST under FGSM of 0.25
  rows:
  - {what: error rate, unit: percent, value: 99.9}
  - {what: mean confidence, unit: percent, value: 79.3}
claims:
- id: goodfellow-1
  claim: simple linear models have adversarial examples, too
  evidence: section 4
  test: the error rate under FGSM lies above nine in ten
"""
RATES = Rates(suite="softmax")


def fooled(attack: str) -> str:
    """The name of a finding of `RATES`."""
    return rate_name("success", dataset="mnist-5k", target="acme-linear", attack=attack, threat="linf(eps=0.25)")


@dataclass(frozen=True)
class Confidence(Analysis):
    """How sure the network is of what FGSM made of the images."""

    name = "confidence"

    @property
    def inputs(self) -> Inputs:
        return Inputs(suites=("softmax",))

    def find(self, material: Material) -> Findings:
        outcomes = material.cell("softmax", attack="fgsm").outcomes()
        wrong = [100 * row.confidence for row in outcomes if row.reached and row.confidence is not None]
        return Findings((mean("where it is wrong", wrong, "percent"),))


@dataclass(frozen=True)
class Goodfellow2015(Study):
    """Explaining and harnessing adversarial examples (Goodfellow et al., 2015): the softmax classifier of section 4."""

    name = "acme-goodfellow2015"
    reference = "https://arxiv.org/abs/1412.6572"

    @property
    def published(self) -> str:
        return PAPER  # the file NAME.yaml beside the module, where this is not overridden

    def abstract(self) -> str:
        return "One step along the sign of the gradient fools even a linear classifier."

    def suites(self, level: Level) -> tuple[Mapping[str, Any], ...]:
        examples = {"smoke": 32, "hour": 1000, "paper": 1000}[level]
        return (
            {
                "name": "softmax",
                "data": "mnist-5k",
                "models": ["acme-linear"],
                "attacks": ["fgsm", "pgd"],
                "threats": ["linf(eps=0.25)"],
                "examples": examples,
            },
        )

    def analyses(self, level: Level) -> tuple[Analysis, ...]:
        return (RATES, Confidence())

    def binding(self, number: Number, level: Level) -> Bound | Absent:
        if number.columns["what"] == "error rate":
            return Bound(RATES, fooled("fgsm"))
        return Bound(Confidence(), "where it is wrong")

    def judges(self, level: Level) -> Mapping[str, Judged]:
        return {
            "goodfellow-1": Judged(
                lambda book: above(book(RATES, fooled("fgsm")), 90),
                lambda book: above(book(RATES, fooled("pgd")), 90),
            )
        }

    def sections(self, level: Level) -> tuple[Section, ...]:
        return (Section("A linear classifier", "Trained here by its recipe.", (Table("Section 4"),)),)


@hookimpl
def advbench_studies() -> list[Study]:
    return [Goodfellow2015()]


SUITE = """\
name: acme
data: acme-corners
models: [acme-linear]
defenses: [none, acme-rounding]
attacks: [noise, pgd, acme-stripes]
threats: ["linf(eps=0.2)", acme-fade]
"""


def suite() -> None:
    """Print a suite that tries what acme ships."""
    typer.echo(SUITE, nl=False)


def lowest(db: Path = Path("results.sqlite")) -> None:
    """Print the target of the lowest robust accuracy on every board."""
    question = """
        SELECT board_name, target_label, min(accuracy) AS accuracy FROM robust_accuracy
        WHERE accuracy IS NOT NULL GROUP BY board ORDER BY board_name
    """
    with Store.open(db, readonly=True) as store:
        found = store.rows(question)
    if not found:
        raise AdvbenchError(f"{db}: no target was attacked by all of a board's attacks; `advbench run` does that")
    for row in found:
        typer.echo(f"{row['board_name']}  {row['target_label']}  {row['accuracy']:.1%}")
