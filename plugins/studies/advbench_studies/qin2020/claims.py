"""The sixteen claims, judged over findings with intervals.

Words of the paper that name no number are given one here: an undetected rate is low or small below 10 %; `lowest` and
`similar` allow 5 points, and accuracies that are similar differ by less than 2; `many` is more than a quarter;
`almost always` and `less often` are more than half of the cells that there are here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise, product
from typing import Literal

from advbench import (
    AdvbenchError,
    Analysis,
    Book,
    ClaimVerdict,
    Finding,
    Judge,
    Judged,
    Level,
    above,
    below,
    every,
    less,
    most,
    near,
    rate_name,
)
from advbench_studies.qin2020.betas import best_name
from advbench_studies.qin2020.bindings import (
    CIFAR,
    SVHN,
    any_of,
    betas_of,
    black_box_best,
    black_box_name,
    clean_of,
    curves_on_fashion,
    curves_on_mnist,
    distances_of,
)
from advbench_studies.qin2020.clean import clean_name
from advbench_studies.qin2020.likeness import Likeness, likeness_name
from advbench_studies.qin2020.pairs import Pairs, pairs_name
from advbench_studies.qin2020.sizes import ALL, CORRUPTIONS, FASHION, GOALS, MNIST, SIZES, TITLES, Sizes
from advbench_studies.qin2020.suites import (
    aware,
    ball,
    corrupted_name,
    family,
    kind_of,
    rates,
    standard_name,
    target,
)

LOW, POINTS, ACCURACY, MANY = 10.0, 5.0, 2.0, 25.0
ATTACKS = ("FGSM", "BIM", "PGD", "CW")
AWARE_WHY = "no attack is named: it is about clean images"


def found(book: Book, analysis: Analysis, name: str) -> Finding | None:
    """A finding, or None where it is not there: networks that are not trained take part in nothing."""
    try:
        return book(analysis, name)
    except AdvbenchError:
        return None


def no_more(one: Finding, other: Finding, margin: float = POINTS) -> ClaimVerdict:
    """Whether one number is at most the other, give or take a margin."""
    words = f"{one.name} {_said(one)} is no more than {other.name} {_said(other)} + {margin:g}"
    if one.value is None or other.value is None:
        return ClaimVerdict("undecided", words)
    low, high = _ends(one)
    other_low, other_high = _ends(other)
    if high - other_low < margin:
        return ClaimVerdict("holds", words)
    return ClaimVerdict("fails" if low - other_high >= margin else "undecided", words)


def _ends(one: Finding) -> tuple[float, float]:
    assert one.value is not None
    return one.value if one.low is None else one.low, one.value if one.high is None else one.high


def _said(one: Finding) -> str:
    return "(nothing to count)" if one.value is None else f"{one.value:.3g}"


def unless_failed(verdict: ClaimVerdict, reason: str) -> ClaimVerdict:
    """Of a claim of which a part can't be tried here: it can fail, and it can't hold."""
    outcome: Literal["fails", "undecided"] = "fails" if verdict.outcome == "fails" else "undecided"
    tried = not verdict.words.startswith("0 of 0 ")
    return ClaimVerdict(outcome, f"{verdict.words}; {reason}" if tried else reason)


def judges(level: Level) -> dict[str, Judged]:
    bench = Bench(SIZES[level])
    return {
        "qin-1": Judged(bench.detects, bench.detects_aware),
        "qin-2": Judged(bench.lowest_under_standard, bench.lowest_under_aware),
        "qin-3": Judged(bench.best_on_mnist, bench.best_on_mnist_aware),
        "qin-4": Judged(bench.black_box, None, "the strongest attack knows the network, which no black-box one does"),
        "qin-5": Judged(bench.corruptions, None, "a corruption looks for nothing, so that no other is stronger"),
        "qin-6": Judged(bench.less_successful, bench.less_successful_aware),
        "qin-7": Judged(bench.less_detected, bench.less_detected_aware),
        "qin-8": Judged(bench.lowest_under_reconstructive, bench.lowest_under_any),
        "qin-9": Judged(bench.conditioned("R-PGD"), bench.conditioned("aware")),
        "qin-10": Judged(lambda book: ClaimVerdict("undecided", CIFAR), None, "it can't be tried here at all"),
        "qin-11": Judged(lambda book: ClaimVerdict("undecided", CIFAR), None, "it can't be tried here at all"),
        "qin-12": Judged(bench.similarity, None, "it is about how one attack's success is spread"),
        "qin-13": Judged(bench.likeness("R-PGD"), bench.likeness("aware")),
        "qin-14": Judged(bench.right_class, None, AWARE_WHY),
        "qin-15": Judged(bench.accuracies, None, AWARE_WHY),
        "qin-16": Judged(bench.stages, None, "it compares two attacks with one another"),
    }


class Bench:
    """The judges of one level."""

    def __init__(self, sizes: Sizes) -> None:
        self.sizes = sizes

    def networks(self, dataset: str) -> tuple[str, ...]:
        return ALL if dataset == MNIST else self.sizes.fashion

    def standard(self, book: Book, metric: str, attack: str, goal: str, dataset: str, network: str) -> Finding | None:
        name = standard_name(metric, attack, goal, dataset, network, self.sizes)
        return found(book, rates("standard", dataset, network), name)

    def aware(self, book: Book, metric: str, goal: str, dataset: str, network: str, kind: str) -> Finding | None:
        """On the examples of the standard attacks, or of the reconstructive ones."""
        name = rate_name(
            metric,
            dataset=dataset,
            target=target(network),
            attack=aware(self.sizes),
            goal=goal,
            threat=ball(dataset),
        )
        return found(book, rates(kind, dataset, network), name)

    def reconstructive(
        self, book: Book, metric: str, attack: str, goal: str, dataset: str, network: str
    ) -> Finding | None:
        name = best_name(metric, dataset, target(network), family(attack, dataset, self.sizes), goal)
        return found(book, betas_of(kind_of(attack), dataset, network), name)

    def cells(self) -> Iterator[tuple[str, str, str]]:
        for dataset in (MNIST, FASHION):
            for network, goal in product(self.networks(dataset), GOALS.values()):
                yield dataset, network, goal

    def detects(self, book: Book) -> ClaimVerdict:
        rated = [
            self.standard(book, "undetected", attack, goal, dataset, network)
            for dataset, network, goal in self.cells()
            for attack in ATTACKS
        ]
        return most(*(below(one, LOW) for one in rated if one))

    def detects_aware(self, book: Book) -> ClaimVerdict:
        rated = [
            self.aware(book, "undetected", goal, data, network, "standard") for data, network, goal in self.cells()
        ]
        return most(*(below(one, LOW) for one in rated if one))

    def lowest_under_standard(self, book: Book) -> ClaimVerdict:
        verdicts: list[ClaimVerdict] = []
        for dataset, goal, attack in product((MNIST, FASHION), GOALS.values(), ATTACKS):
            rated = {n: self.standard(book, "undetected", attack, goal, dataset, n) for n in self.networks(dataset)}
            verdicts += _lowest(rated)
        return most(*verdicts)

    def lowest_under_aware(self, book: Book) -> ClaimVerdict:
        verdicts: list[ClaimVerdict] = []
        for dataset, goal in product((MNIST, FASHION), GOALS.values()):
            rated = {n: self.aware(book, "undetected", goal, dataset, n, "standard") for n in self.networks(dataset)}
            verdicts += _lowest(rated)
        return most(*verdicts)

    def best_on_mnist(self, book: Book) -> ClaimVerdict:
        """Every network and attack on MNIST beside the same on Fashion-MNIST, and CW beside the others."""
        verdicts: list[ClaimVerdict] = []
        worst: list[ClaimVerdict] = []
        for network, goal, attack in product(self.sizes.fashion, GOALS.values(), ATTACKS):
            digits = self.standard(book, "undetected", attack, goal, MNIST, network)
            clothes = self.standard(book, "undetected", attack, goal, FASHION, network)
            if digits and clothes:
                verdicts.append(no_more(digits, clothes))
        for dataset, network, goal in self.cells():
            cw = self.standard(book, "undetected", "CW", goal, dataset, network)
            others = (self.standard(book, "undetected", attack, goal, dataset, network) for attack in ATTACKS[:3])
            worst += [no_more(one, cw) for one in others if one and cw]
        return unless_failed(every(most(*verdicts), most(*worst)), SVHN)

    def best_on_mnist_aware(self, book: Book) -> ClaimVerdict:
        verdicts: list[ClaimVerdict] = []
        for network, goal in product(self.sizes.fashion, GOALS.values()):
            digits = self.aware(book, "undetected", goal, MNIST, network, "standard")
            clothes = self.aware(book, "undetected", goal, FASHION, network, "standard")
            if digits and clothes:
                verdicts.append(no_more(digits, clothes))
        return unless_failed(most(*verdicts), SVHN)

    def black_box(self, book: Book) -> ClaimVerdict:
        """CapsNet's undetected rate under carried-over PGD, and every network's beside it under R-PGD."""
        verdicts: list[ClaimVerdict] = []
        for goal in GOALS.values():
            plain = {
                network: found(
                    book,
                    rates("substitute", MNIST, network),
                    black_box_name("undetected", goal, network, self.sizes),
                )
                for network in ALL
            }
            wary = {
                network: found(
                    book,
                    betas_of("substitute-r-pgd", MNIST, network),
                    black_box_best("undetected", goal, network, self.sizes),
                )
                for network in ALL
            }
            caps = plain["capsnet-r"]
            verdicts += [below(caps, POINTS)] if caps else []
            verdicts += [below(one, LOW) for network, one in plain.items() if one and network != "capsnet-r"]
            lowest = wary["capsnet-r"]
            verdicts += [less(lowest, one) for network, one in wary.items() if lowest and one and one is not lowest]
        complete = len(verdicts) == len(GOALS) * (1 + 2 + 2)
        verdict = every(*verdicts)
        return verdict if complete else unless_failed(verdict, "not every network has a substitute here")

    def corruptions(self, book: Book) -> ClaimVerdict:
        """CapsNet's undetected rate below the limit for each corruption; the other networks' for most of them."""
        verdicts: list[ClaimVerdict] = []
        for network in ALL:
            analysis = rates("corrupted", MNIST, network)
            rated = [found(book, analysis, corrupted_name("undetected", one, network)) for one in CORRUPTIONS]
            low = [below(one, LOW) for one in rated if one]
            if low:
                verdicts.append(every(*low) if network == "capsnet-r" else most(*low))
        verdict = every(*verdicts)
        complete = set(self.sizes.corrupted_networks) == set(ALL)
        return verdict if complete else unless_failed(verdict, "not every network is tried at this level")

    def _beside(self, book: Book, metric: str, wary: bool) -> Iterator[tuple[Finding, Finding]]:
        """Standard attacks and their reconstructive kin; with `wary`, PGD and the attack that is aware."""
        for dataset, network, goal in self.cells():
            if wary:
                pairs = [
                    (
                        self.standard(book, metric, "PGD", goal, dataset, network),
                        self.aware(book, metric, goal, dataset, network, "standard"),
                    )
                ]
            else:
                pairs = [
                    (
                        self.standard(book, metric, attack, goal, dataset, network),
                        self.reconstructive(book, metric, f"R-{attack}", goal, dataset, network),
                    )
                    for attack in ATTACKS[:3]
                ]
            yield from ((one, other) for one, other in pairs if one and other)

    def less_successful(self, book: Book) -> ClaimVerdict:
        return most(*(less(wary, plain) for plain, wary in self._beside(book, "success", False)))

    def less_successful_aware(self, book: Book) -> ClaimVerdict:
        return most(*(less(wary, plain) for plain, wary in self._beside(book, "success", True)))

    def less_detected(self, book: Book) -> ClaimVerdict:
        return most(*(less(plain, wary) for plain, wary in self._beside(book, "undetected", False)))

    def less_detected_aware(self, book: Book) -> ClaimVerdict:
        return most(*(less(plain, wary) for plain, wary in self._beside(book, "undetected", True)))

    def lowest_under_reconstructive(self, book: Book) -> ClaimVerdict:
        verdicts: list[ClaimVerdict] = []
        kinds = product((MNIST, FASHION), GOALS.values(), ("R-FGSM", "R-BIM", "R-PGD"), ("success", "undetected"))
        for dataset, goal, attack, metric in kinds:
            rated = {n: self.reconstructive(book, metric, attack, goal, dataset, n) for n in self.networks(dataset)}
            verdicts += _lowest(rated)
        return every(*verdicts)

    def lowest_under_any(self, book: Book) -> ClaimVerdict:
        """What all attacks together reach, those that are aware of the detector among them."""
        verdicts: list[ClaimVerdict] = []
        for dataset, goal, metric in product((MNIST, FASHION), GOALS.values(), ("success", "undetected")):
            rated = {
                n: found(book, any_of(dataset, n), best_name(metric, dataset, target(n), "any attack", goal))
                for n in self.networks(dataset)
            }
            verdicts += _lowest(rated)
        return every(*verdicts)

    def conditioned(self, attack: str) -> Judge:
        def judge(book: Book) -> ClaimVerdict:
            verdicts: list[ClaimVerdict] = []
            clothes = curves_on_fashion(self.sizes)
            digits = curves_on_mnist(self.sizes)
            for curves in (dict.fromkeys(ALL, digits), clothes):
                rated = [
                    found(book, curves[network], f"undetected at 5 % · {TITLES[network]}, {attack}")
                    for network in ("cnn-cr", "cnn-r")
                    if network in curves
                ]
                if len(rated) == 2 and rated[0] and rated[1]:
                    verdicts.append(less(rated[0], rated[1]))
            return unless_failed(every(*verdicts), SVHN)

        return judge

    def similarity(self, book: Book) -> ClaimVerdict:
        """Spread over pairs larger on CapsNet than on the others, and success falling with class distance there."""
        spread = {n: found(book, Pairs(n), pairs_name("spread over pairs", n)) for n in self.sizes.fashion}
        likeness = {
            n: found(book, Pairs(n), pairs_name("correlation with class distance", n)) for n in self.sizes.fashion
        }
        caps, falling = spread["capsnet-r"], likeness["capsnet-r"]
        verdicts = [below(falling, 0.0)] if falling else []
        verdicts += [less(one, caps) for network, one in spread.items() if one and caps and network != "capsnet-r"]
        verdicts += [
            less(falling, one) for network, one in likeness.items() if one and falling and network != "capsnet-r"
        ]
        verdict = every(*verdicts)
        complete = len(verdicts) == 5
        return verdict if complete else unless_failed(verdict, "the convolutional networks are not tried here")

    def likeness(self, attack: str) -> Judge:
        def judge(book: Book) -> ClaimVerdict:
            """More than a quarter on CapsNet, and more than on either of the others."""
            rated = {n: book(Likeness(n), likeness_name("target label", n, attack)) for n in ALL}
            caps = rated["capsnet-r"]
            others = [less(one, caps) for network, one in rated.items() if network != "capsnet-r"]
            return every(above(caps, MANY), *others)

        return judge

    def right_class(self, book: Book) -> ClaimVerdict:
        """On CapsNet, which figure 1a is about."""
        analysis, title = distances_of(self.sizes), TITLES["capsnet-r"]
        true, others = f"distance, true class · {title}", f"distance, other classes · {title}"
        return every(
            above(book(analysis, f"area true below other · {title}"), 0.95),
            less(book(analysis, true), book(analysis, others)),
        )

    def accuracies(self, book: Book) -> ClaimVerdict:
        verdicts: list[ClaimVerdict] = []
        for dataset in (MNIST, FASHION):
            rated = [
                found(book, clean_of(dataset, n, self.sizes), clean_name("error", dataset, n))
                for n in self.networks(dataset)
            ]
            there = [one for one in rated if one]
            verdicts += [near(one, other, ACCURACY) for one, other in pairwise(there)]
        return unless_failed(every(*verdicts), SVHN)

    def stages(self, book: Book) -> ClaimVerdict:
        """The best β of either, on targeted R-PGD, for each network on MNIST."""
        verdicts: list[ClaimVerdict] = []
        for network in ALL:
            two = self.reconstructive(book, "undetected", "R-PGD", "random", MNIST, network)
            one = found(book, betas_of("one-stage", MNIST, network), one_stage_name("undetected", network, self.sizes))
            verdicts += [less(one, two)] if one and two else []
        return every(*verdicts)


def one_stage_name(metric: str, network: str, sizes: Sizes) -> str:
    steps = sizes.steps[MNIST]
    return best_name(metric, MNIST, target(network), f"r-pgd(stages=1, steps={steps})", "random")


def _lowest(rated: dict[str, Finding | None]) -> Iterable[ClaimVerdict]:
    """Whether CapsNet's number is no more than each of the others'."""
    caps = rated.get("capsnet-r")
    return [no_more(caps, one) for network, one in rated.items() if caps and one and network != "capsnet-r"]
