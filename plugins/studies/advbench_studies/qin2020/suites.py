"""What is run: a suite for each kind of experiment, data set and network, so that none waits for another's weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from advbench import Corruption, Level, Linf, Rates, rate_name
from advbench_studies.qin2020.sizes import (
    ALL,
    CORRUPTIONS,
    DETECTOR,
    EPS,
    EVERYWHERE,
    FASHION,
    LONG_STEP,
    MNIST,
    PAIRS_EPS,
    SIZES,
    STEP,
    Sizes,
)

SUBSTITUTE = f"reseed+{DETECTOR}"
_USUAL = {"beta": 0.5, "steps": 200}
"""What reconstructive attacks have where nothing is said; a label leaves it out."""
PAIRS_BETA = 0.5
BALANCE_STEPS = 40


def reconstructive(name: str, **parameters: float) -> str:
    """The label of a reconstructive attack, which leaves out what is usual."""
    said = [f"{key}={value}" for key, value in parameters.items() if _USUAL.get(key) != value]
    return f"{name}({', '.join(said)})" if said else name


def standard(attack: str, dataset: str, sizes: Sizes) -> str:
    """The label of one of the attacks that do not know of the detector, by the paper's name."""
    rounds, steps = sizes.cw[0]
    return {
        "FGSM": f"fgsm(step={LONG_STEP})",
        "BIM": f"bim(steps={sizes.steps[dataset]}, step={STEP})",
        "PGD": f"pgd(steps={sizes.steps[dataset]}, step={STEP})",
        "CW": f"cw(rounds={rounds}, steps={steps})",
    }[attack]


def fgsm_readings(dataset: str) -> dict[str, str]:
    """FGSM as the appendix may be read: in words, and the label."""
    many = round(EPS[dataset] / LONG_STEP)
    return {
        f"one step of {LONG_STEP}": f"fgsm(step={LONG_STEP})",
        f"one step of {EPS[dataset]}": "fgsm",
        f"{many} steps of {LONG_STEP}": f"bim(steps={many}, step={LONG_STEP})",
    }


def aware(sizes: Sizes) -> str:
    """The strongest attack on a detector that there is here."""
    return "aware" if sizes.aware_steps == 100 else f'aware(attack="pgd(steps={sizes.aware_steps})")'


def family(attack: str, dataset: str, sizes: Sizes) -> str:
    """The label of a reconstructive attack less its β."""
    steps = sizes.steps[dataset]
    many = f"(steps={steps})" if steps != _USUAL["steps"] else ""
    return {"R-FGSM": "r-fgsm", "R-BIM": f"r-bim{many}", "R-PGD": f"r-pgd{many}"}[attack]


def target(network: str, defense: str = DETECTOR) -> str:
    return f"{network}+{defense}"


def ball(dataset: str) -> str:
    return Linf(eps=EPS[dataset]).label


def named(kind: str, dataset: str, network: str) -> str:
    """The name of a suite."""
    return f"{kind}-{dataset}-{network}"


def kind_of(attack: str) -> str:
    """Which suite holds a reconstructive attack, by the paper's name of it."""
    return "r-pgd" if attack == "R-PGD" else "reconstructive"


def rates(kind: str, dataset: str, network: str) -> Rates:
    return Rates(suite=named(kind, dataset, network))


def standard_name(metric: str, attack: str, goal: str, dataset: str, network: str, sizes: Sizes) -> str:
    """The name of a finding about an attack that does not know of the detector, by the paper's name of it."""
    return rate_name(
        metric,
        dataset=dataset,
        target=target(network),
        attack=standard(attack, dataset, sizes),
        goal=goal,
        threat="l2" if attack == "CW" else ball(dataset),
    )


def corrupted_name(metric: str, corruption: str, network: str) -> str:
    return rate_name(
        metric,
        dataset=MNIST,
        target=target(network),
        attack=f"corruptions(kind={CORRUPTIONS[corruption]})",
        threat=Corruption().label,
    )


def suites(level: Level) -> tuple[Mapping[str, Any], ...]:
    """Every suite of the study; those that can be run with weights that ship come first."""
    sizes = SIZES[level]
    found: list[Mapping[str, Any]] = []
    for network in ALL:
        found += _attacked(MNIST, network, sizes)
    found += [_corrupted(network, sizes) for network in sizes.corrupted_networks]
    found.append(_transfer(sizes))
    for network in sizes.fashion:
        found += _attacked(FASHION, network, sizes)
        found.append(_pairs(network, sizes))
    for network in sizes.substitutes:
        found += _substituted(network, sizes)
    found += [_balanced(model, sizes) for model in sizes.balances]
    found += [_original(model, sizes) for model in sizes.originals]
    return tuple(found)


def _suite(kind: str, dataset: str, network: str, **said: Any) -> dict[str, Any]:
    """A suite with the paper's detector, whose threshold lets 5 % of clean images be flagged."""
    return {
        "name": named(kind, dataset, network),
        "data": [dataset],
        "models": [network],
        "defenses": [DETECTOR],
        "goals": ["random", "untargeted"],
        "stop": "end",
        "seed": 0,
        **said,
    }


def _attacked(dataset: str, network: str, sizes: Sizes) -> Iterator[dict[str, Any]]:
    """Tables 1 and 5, then 3 and 6."""
    plain = [*fgsm_readings(dataset).values(), standard("BIM", dataset, sizes), standard("PGD", dataset, sizes)]
    l2 = [f"cw(rounds={rounds}, steps={steps})" if (rounds, steps) != (5, 200) else "cw" for rounds, steps in sizes.cw]
    yield _suite(
        "standard",
        dataset,
        network,
        examples=sizes.standard,
        threats=[
            {"linf": {"eps": EPS[dataset], "attacks": [*plain, aware(sizes)]}},
            {"l2": {"eps": EVERYWHERE, "attacks": l2}},
        ],
    )
    linf = {"examples": sizes.reconstructive, "threats": [{"linf": {"eps": EPS[dataset]}}]}
    steps, long = sizes.steps[dataset], sizes.betas if sizes.long_r_fgsm else ()
    yield _suite(  # nothing reads their curves, so an image may leave at its first undetected success
        "reconstructive",
        dataset,
        network,
        attacks=[
            *(reconstructive("r-fgsm", beta=beta) for beta in sizes.betas),
            *(reconstructive("r-fgsm", beta=beta, step=EPS[dataset]) for beta in long),
            *(reconstructive("r-bim", beta=beta, steps=steps) for beta in sizes.short_betas),
        ],
        **{**linf, "stop": "first"},
    )
    yield _suite(
        "r-pgd",
        dataset,
        network,
        attacks=[
            *(reconstructive("r-pgd", beta=beta, steps=steps) for beta in sizes.betas),
            aware(sizes),
        ],
        **linf,
    )
    yield _suite(
        "one-stage",
        dataset,
        network,
        attacks=[reconstructive("r-pgd", beta=beta, stages=1, steps=steps) for beta in sizes.one_stage],
        **{**linf, "stop": "first", "goals": ["random"]},
    )


def _corrupted(network: str, sizes: Sizes) -> dict[str, Any]:
    """Table 2."""
    return _suite(
        "corrupted",
        MNIST,
        network,
        examples=sizes.corrupted,
        goals=["untargeted"],
        attacks=[f"corruptions(kind={kind})" for kind in CORRUPTIONS.values()],
        threats=[Corruption().label],
    )


def _transfer(sizes: Sizes) -> dict[str, Any]:
    """PGD of tables 1 and 5 again, judged on the other networks."""
    return _suite(
        "transfer",
        MNIST,
        "all",
        models=list(sizes.transfer),
        examples=sizes.standard,
        attacks=[standard("PGD", MNIST, sizes)],
        threats=[{"linf": {"eps": EPS[MNIST]}}],
    )


def _pairs(network: str, sizes: Sizes) -> dict[str, Any]:
    """Figures 4, 5 and 11."""
    return _suite(
        "pairs",
        FASHION,
        network,
        examples=sizes.pairs,
        goals=["each"],
        stop="first",
        attacks=[reconstructive("r-pgd", beta=PAIRS_BETA, steps=sizes.steps[FASHION])],
        threats=[{"linf": {"eps": PAIRS_EPS}}],
    )


def _substituted(network: str, sizes: Sizes) -> Iterator[dict[str, Any]]:
    """Table 7: crafted on a network of another seed and judged on the first; what is crafted on that one is kept."""
    shared = {"defenses": [DETECTOR, SUBSTITUTE], "threats": [{"linf": {"eps": EPS[MNIST]}}]}
    yield _suite(
        "substitute",
        MNIST,
        network,
        examples=sizes.standard,
        attacks=[standard("PGD", MNIST, sizes)],
        **shared,
    )
    steps = sizes.steps[MNIST]
    yield _suite(
        "substitute-r-pgd",
        MNIST,
        network,
        examples=sizes.reconstructive,
        attacks=[reconstructive("r-pgd", beta=beta, steps=steps) for beta in sizes.short_betas],
        **shared,
    )


def _balanced(model: str, sizes: Sizes) -> dict[str, Any]:
    """The weight of the reconstruction loss, which the paper does not say."""
    steps = BALANCE_STEPS if sizes.balance_examples > BALANCE_STEPS else 6
    return _suite(
        "balance",
        "mnist-5k",
        model,
        examples=sizes.balance_examples,
        goals=["untargeted"],
        attacks=[f"pgd(steps={steps})", f"aware(attack=pgd(steps={steps}))"],
        threats=[{"linf": {"eps": EPS[MNIST]}}],
    )


def _original(model: str, sizes: Sizes) -> dict[str, Any]:
    """Capsules of the size that Sabour et al. (2017) gave them."""
    return _suite(
        "original",
        MNIST,
        model,
        examples=sizes.standard,
        attacks=[standard("PGD", MNIST, sizes), aware(sizes)],
        threats=[{"linf": {"eps": EPS[MNIST]}}],
    )
