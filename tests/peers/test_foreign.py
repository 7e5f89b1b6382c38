"""Attacks of other libraries as entrants, with the libraries themselves."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
from dataclasses import replace
from typing import Any

import pytest
import torch

from advbench import AdvbenchError, PluginError
from advbench.plugins.discovery import discover
from advbench.problem.problem import Problem
from advbench.testing import checks
from advbench.testing.check import Check
from advbench.testing.scene import scene, steadfast
from advbench.threats import L2, Linf, Threat
from advbench_foreign import Foolbox, Torchattacks
from advbench_foreign.foolbox import asked
from advbench_foreign.foreign import Foreign

BOTH: tuple[Foreign, ...] = (Foolbox(), Torchattacks())
pytestmark = pytest.mark.filterwarnings("ignore")  # theirs


def here(attack: Foreign) -> Foreign:
    if not importlib.util.find_spec(attack.library):
        pytest.skip(f'{attack.library} is not installed: pip install "advbench[{attack.library}]"')
    return attack


def entered(text: str) -> Foreign:
    """The entrant that is written so, where its library is installed."""
    here({one.library: one for one in BOTH}[text.partition("(")[0]])
    attack = discover().attack(text)
    assert isinstance(attack, Foreign)
    return attack


def ball(attack: Foreign) -> Threat:
    threat: Threat = Linf(0.1) if "linf" in attack.threats else L2(0.8)
    return threat.at(float("inf")) if attack.minimizes else threat


@pytest.mark.parametrize("attack", BOTH, ids=lambda one: one.library)
def test_every_attack_of_the_library_is_known_or_refused_with_a_reason(attack: Foreign) -> None:
    attacks = here(attack)._module()
    base = importlib.import_module(attack.library).attacks.base.Attack if attack.library == "foolbox" else None
    base = base or importlib.import_module("torchattacks.attack").Attack
    found = {
        name
        for name, kind in vars(attacks).items()
        if inspect.isclass(kind) and issubclass(kind, base) and kind is not base and not inspect.isabstract(kind)
    }
    aliases = {"FGM", "FGSM", "PGD", "MIFGSM", "AdamPGD"} if attack.library == "foolbox" else set()
    assert attack.table.keys() | attack.refused.keys() | aliases == found
    assert not attack.table.keys() & attack.refused.keys()


def contract() -> list[Any]:
    every = [replace(one, **one.trial) for one in BOTH]
    return [pytest.param(one, check, id=str(check)) for one in every for check in checks(one)]


@pytest.mark.slow
@pytest.mark.parametrize(("attack", "check"), contract())
def test_what_is_entered_keeps_the_contract(attack: Foreign, check: Check) -> None:
    here(attack)
    check()


CHEAP = {
    "foolbox": (
        *("LinfFastGradientAttack", "L2PGD, steps=4", "LinfMomentumIterativeFastGradientMethod, steps=4"),
        *("LinfDeepFoolAttack, steps=4", "L2DeepFoolAttack, steps=4", "DDNAttack, steps=4", "LInfFMNAttack, steps=4"),
        *("L2FMNAttack, steps=4", "NewtonFoolAttack, steps=2", "L2CarliniWagnerAttack, binary_search_steps=2, steps=3"),
        *("BoundaryAttack, steps=20", "HopSkipJumpAttack, steps=1", "SaltAndPepperNoiseAttack, steps=5"),
        *("L2RepeatedAdditiveGaussianNoiseAttack, repeats=3", "L2ContrastReductionAttack", "InversionAttack"),
        *("GaussianBlurAttack, steps=5", "LinearSearchBlendedUniformNoiseAttack, directions=3, steps=5"),
        "VirtualAdversarialAttack, steps=2",
    ),
    "torchattacks": (
        *("FGSM", "BIM, steps=3", "RFGSM, steps=3", "EOTPGD, steps=2", "FFGSM", "TPGD, steps=2", "MIFGSM, steps=3"),
        *("UPGD, steps=2", "APGD, steps=4", "APGDT, steps=3", "DIFGSM, steps=2", "TIFGSM, steps=2", "Jitter, steps=2"),
        *("NIFGSM, steps=2", "PGDRS, steps=2", "SINIFGSM, steps=2", "VMIFGSM, steps=2", "VNIFGSM, steps=2"),
        *("SPSA, nb_sample=8", "PIFGSM, num_iter_set=2", "PIFGSMPP, num_iter_set=2", "FAB, steps=2"),
        *("Square, n_queries=10", "CW, steps=4", "PGDL2, steps=3", "PGDRSL2, steps=2", "DeepFool, steps=3"),
    ),
}
WALK = [
    pytest.param(f"{library}(attack={attack})", id=f"{library} {attack}")
    for library, attacks in CHEAP.items()
    for attack in attacks
]


@pytest.mark.slow
@pytest.mark.parametrize("text", WALK)
def test_each_runs_repeats_and_depends_on_no_company(text: str) -> None:
    attack = entered(text)
    stage = scene(ball(attack), count=3, shape=(3, 8, 8))  # some of torchattacks' know no grey images
    problem = stage.problem(attack, Problem)
    p = problem.finish(attack.perturb(problem))
    assert problem.forwards.min() > 0
    assert torch.equal(p, torch.cat([stage[:1].perturbed(attack), stage[1:].perturbed(attack)]))
    # decided by the referee, who was told of nothing outside the ball by any of these
    assert not [verdict for verdict in stage.verdicts(p) if verdict.violation]


@pytest.mark.slow
@pytest.mark.parametrize("text", ["foolbox(attack=L2DeepFoolAttack)", "foolbox(attack=LinfPGD, random_start=false)"])
def test_what_it_finds_is_what_the_library_finds_by_itself(text: str) -> None:
    attack = entered(text)
    stage = scene(ball(attack))
    problem = stage.problem(attack, Problem)
    p = attack.perturb(problem)
    eps = None if attack.minimizes else stage.threat.eps
    made = attack._kind()(**attack._arguments())
    theirs = asked(made, stage.target.net, stage.images, stage.labels, eps).images
    torch.testing.assert_close(stage.images + p, theirs, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("foolbox(attack=LinfPGD, stpes=20)", "LinfPGD has no argument 'stpes' (it takes rel_stepsize, abs_stepsize"),
        ("foolbox(attack=LinfPGD, stpes=20)", "did you mean 'steps'?"),
        ("foolbox(attack=LinfPGD, kepe=path)", "did you mean 'keep'?"),
        ("foolbox(attack=LinfPGD, steps=many)", "steps is a whole number, not 'many'"),
        ("foolbox(attack=LinfPGD, random_start=1)", "random_start is true or false, not 1"),
        ("foolbox(attack=L2DeepFoolAttack, loss=dlr)", "loss is logits or crossentropy, not 'dlr'"),
        ("foolbox(attack=VirtualAdversarialAttack)", "VirtualAdversarialAttack needs steps: write steps=…"),
        ("foolbox(attack=HopSkipJumpAttack, constraint=l2)", "constraint is not given, it is that of the ball"),
        ("foolbox(attack=L2AdditiveGaussianNoiseAttack, steps=3)", "it takes none"),
        ("torchattacks(attack=PGD, eps=0.3)", "eps is not given, it is the radius of the ball"),
        ("torchattacks(attack=PGD, steps=2.5, alpha=x)", "alpha is a number, not 'x'"),
        ("torchattacks(attack=Square, seed=3)", "seed is not given, it is drawn for every example"),
    ],
)
def test_arguments_are_held_against_the_library_s_own(text: str, words: str) -> None:
    with pytest.raises(AdvbenchError) as error:
        entered(text)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_what_the_library_raises_is_said_to_be_the_library_s() -> None:
    attack = entered("torchattacks(attack=PGD, steps=2.5)")
    stage = scene(Linf(0.1), count=2)
    with pytest.raises(
        PluginError, match=r"^torchattacks\(attack=PGD, steps=2.5\): torchattacks 3\S+ failed: TypeError: "
    ):
        attack.perturb(stage.problem(attack))


@pytest.mark.parametrize("name", ["BoundaryAttack, steps=10", "HopSkipJumpAttack, steps=1"])
def test_who_finds_nowhere_to_start_has_found_nothing(name: str) -> None:
    attack = entered(f"foolbox(attack={name})")
    stage = steadfast(ball(attack), targeted=False)[:2]
    problem = stage.problem(attack, Problem)
    assert torch.equal(attack.perturb(problem), torch.zeros_like(stage.images))
    assert problem.forwards.min() > 10  # those that were tried


def test_a_budget_ends_it_and_the_best_so_far_is_judged() -> None:
    attack = entered("foolbox(attack=LinfPGD, steps=40)")
    stage = scene(Linf(0.1))
    problem = stage.problem(attack, Problem, budget=15)
    p = problem.finish(attack.perturb(problem))
    assert problem.forwards.max() <= 15
    assert sum(verdict.fooled for verdict in stage.verdicts(p)) == 6


def test_the_best_of_its_path_costs_fewer_passes_and_fools_as_many() -> None:
    passes = {}
    for keep in ("returned", "path"):
        attack = entered(f"torchattacks(attack=PGD, keep={keep})")
        stage = scene(Linf(0.1))
        problem = stage.problem(attack, Problem)
        p = problem.finish(attack.perturb(problem))
        assert all(verdict.fooled for verdict in stage.verdicts(p))
        passes[keep] = int(problem.forwards.sum())
    assert passes["path"] < passes["returned"] == 60


def test_a_run_stores_the_library_s_version_with_the_cell(advbench: Any, tmp_path: Any) -> None:
    from advbench.store import Store

    attack = entered("foolbox(attack=LinfPGD, steps=3)")
    db = tmp_path / "r.sqlite"
    done = advbench(
        *("run", "quick", "--model", "toy", "--dataset", "toy-blots", "--attack", attack.label),
        *("--threat", "linf(eps=0.2)", "--examples", 6, "--db", db),
    )
    assert done.code == 0, done.out + done.err
    with Store.open(db, readonly=True) as store:
        (row,) = store.rows("SELECT key, attack, content FROM cells")
    assert row["attack"] == attack.label
    assert row["content"] == attack.content()
    assert advbench("verify", "--db", db).code == 0
    assert advbench("reproduce", row["key"][:12], "--db", db).code == 0
