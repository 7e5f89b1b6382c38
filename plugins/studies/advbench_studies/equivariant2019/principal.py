"""All that the paper measures on one network: matrices of directions, computed once, and what follows from them."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from advbench import AdvbenchError, Analysis, Finding, Findings, Inputs, Material, at_least, mean
from advbench_studies.equivariant2019.directions import Network, deepfool, fgsm, gradients, small_turns
from advbench_studies.equivariant2019.networks import ATTACKS, DATA, NETWORKS, SMALL
from advbench_studies.equivariant2019.spectra import estimate, mean_dot, oriented, principal_angles, spectrum, unit
from advbench_studies.equivariant2019.subspaces import TOP, Directions, beside, by_chance, held, pictured
from advbench_studies.equivariant2019.theorems import theorem_1, theorem_2
from advbench_studies.equivariant2019.universal import Trials


@dataclass(frozen=True)
class Principal(Analysis):
    """Spectra, angles, fooling, both theorems and pictures of one network, for gradient, FGSM and DeepFool."""

    name = "principal"

    network: str
    rows: int = at_least(10, default=10_000)  # test images whose gradients are taken
    deepfool: int = at_least(10, default=10_000)  # of them, those whose DeepFool directions are taken
    samples: tuple[int, int] = (100, 500)  # the smaller samples: of the fooling, and of spectra and angles, too
    draws: int = at_least(1, default=3)  # so many samples of each size
    tested: int = at_least(1, default=2000)  # test images that vectors are tried on, the first ones
    randoms: int = at_least(1, default=5)  # random directions
    norms: tuple[float, ...] = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)
    sampled: tuple[int, ...] = (10, 30, 100, 300, 1000, 3000)  # sizes for theorem 2

    def __post_init__(self) -> None:
        super().__post_init__()
        sizes = (*self.samples, min(self.rows, self.deepfool))
        if not 0 < sizes[0] < sizes[1] < sizes[2] or self.deepfool > self.rows:
            raise AdvbenchError(f"{self.name}: samples must grow up to all rows, and deepfool be among them: {sizes}")

    @property
    def inputs(self) -> Inputs:
        return Inputs(targets=(NETWORKS[self.network],), data=(DATA,))

    @property
    def small(self) -> float:
        """The norm of the grid that is called small here."""
        return max((norm for norm in self.norms if norm <= SMALL), default=min(self.norms))

    def sizes(self, attack: str) -> tuple[int, int, int]:
        """A small sample, a middle one, and all rows that there are."""
        return *self.samples, self.deepfool if attack == "DeepFool" else self.rows

    def find(self, material: Material) -> Findings:
        wanted = NETWORKS[self.network]
        network = material.target(wanted.dataset, wanted.model, wanted.defense).logits
        judged = material.data(DATA).judge
        order = shuffled(material, "rows", len(judged))[: self.rows]
        chosen = judged[order]
        images, labels = chosen.pixels(material.device), chosen.labels.to(material.device)
        few = judged[: self.tested]
        matrices, found = self._matrices(material, network, images, labels)
        turns = Directions(unit(small_turns(images)).cpu())
        shape = tuple(images.shape[1:])
        found += Findings(pictures=pictured("turn", turns.whole.vectors, shape))
        found += by_chance(images[0].numel(), material.draws("subspaces"))
        spans = len(ATTACKS)
        vectors: dict[str, dict[int, list[Tensor]]] = {}
        for place, attack in enumerate(ATTACKS):
            material.progress(0.5 + 0.15 * place / spans, f"{attack}: spectra and angles")
            small, middle, _ = self.sizes(attack)
            one = matrices[attack]
            picked = {size: self._samples(material, attack, size, len(one.rows)) for size in (small, middle)}
            sample = picked[middle][0]
            sampled = Directions(one.rows[sample])
            turned = Directions(turns.rows[sample])
            pairs = ((middle, sampled, turned), (len(one.rows), one, turns))
            for mark, (size, some, other) in enumerate(pairs, len(pairs) * place):
                what = f"{attack} · {size:,} inputs"
                found += held(what, some) + beside(what, some, other, shift=0.3 * (mark - 2.5))
            found += Findings(pictures=pictured(attack, one.whole.vectors, shape))
            found += theorem_1(attack, one.rows)
            material.progress(0.5 + 0.15 * (place + 0.5) / spans, f"{attack}: theorem 2")
            found += theorem_2(attack, one.rows, self.sampled, lambda m, t: self._picks(material, m, t), self.draws)
            vectors[attack] = {
                size: [oriented(spectrum(one.rows[pick], 1).vectors[0], one.rows[pick]) for pick in several]
                for size, several in picked.items()
            }
            vectors[attack][len(one.rows)] = [oriented(one.whole.vectors[0], one.rows)]
        found += self._turns_as_they_are(images, matrices["gradient"])
        trials = Trials(
            network,
            few.pixels(material.device),
            few.labels.to(material.device),
            self.norms,
            self._counting(material),
        )
        return found + self._fooling(material, trials, vectors)

    def _matrices(
        self, material: Material, network: Network, images: Tensor, labels: Tensor
    ) -> tuple[dict[str, Directions], Findings]:
        """Of unit rows by attack, in double precision on the CPU, and how long DeepFool's perturbations were."""
        gradient = gradients(
            network, images, labels, lambda k, n: material.progress(0.1 * k / n, f"gradients: {k:,} of {n:,}")
        )
        asked = deepfool(
            network,
            images[: self.deepfool],
            lambda k, n: material.progress(0.1 + 0.4 * k / n, f"DeepFool: {k:,} of {n:,}"),
        )
        lengths = asked.flatten(1).norm(dim=1)
        rows = {"gradient": gradient, "FGSM": fgsm(gradient), "DeepFool": asked}
        return (
            {attack: Directions(unit(one).cpu()) for attack, one in rows.items()},
            Findings(
                (
                    mean("mean norm of an image", images.flatten(1).norm(dim=1).tolist()),
                    mean("mean norm of DeepFool's perturbations", lengths.tolist()),
                )
            ),
        )

    def _fooling(self, material: Material, trials: Trials, vectors: dict[str, dict[int, list[Tensor]]]) -> Findings:
        found = trials.at_random(material.draws("random directions"), self.randoms)
        for attack in ATTACKS:
            whole = list(vectors[attack])[-1]
            for size, several in vectors[attack].items():
                found += trials.either_way(f"{attack} · {size:,} inputs", several, clip=False)
                cosines = [float((v @ vectors[attack][whole][0]).abs()) for v in several]
                found += Findings((mean(f"cosine with all · {attack} · {size:,} inputs", cosines),))
            found += trials.either_way(f"{attack} · {whole:,} inputs", vectors[attack][whole], clip=True)
        return found + self._extremes(found)

    def _extremes(self, found: Findings) -> Findings:
        """The lowest and the highest of the three attacks at the norm that is called small here."""
        small = f"norm {self.small:g}"
        ours = {f"fooled · {attack} · {self.sizes(attack)[-1]:,} inputs · {small}" for attack in ATTACKS}
        rates = sorted((one for one in found.numbers if one.name in ours), key=lambda one: one.value or 0.0)
        return Findings(
            tuple(
                Finding(f"fooled at the small norm, {word}", one.value, one.low, one.high, one.n, one.unit)
                for word, one in (("lowest", rates[0]), ("highest", rates[-1]))
            )
        )

    def _turns_as_they_are(self, images: Tensor, attack: Directions) -> Findings:
        """The other reading: differences of a small turn at their own lengths instead of length one."""
        plain = spectrum(small_turns(images).flatten(1).double().cpu()).vectors
        dot = mean_dot(attack.whole.vectors[:TOP], plain[:TOP])
        angles = principal_angles(attack.whole.vectors[:TOP], plain[:TOP]).tolist()
        numbers = [estimate("turns at their own lengths: mean |dot| of top 5 · gradient", dot, (), attack.count)]
        for place, angle in enumerate(angles, 1):
            name = f"turns at their own lengths: angle {place} · gradient"
            numbers.append(estimate(name, angle, (), attack.count, "degrees"))
        return Findings(tuple(numbers))

    def _samples(self, material: Material, attack: str, size: int, count: int) -> list[Tensor]:
        """Places of rows, several times so many, none twice in a sample."""
        return [shuffled(material, f"sample/{attack}/{size}/{draw}", count)[:size] for draw in range(self.draws)]

    def _picks(self, material: Material, size: int, time: int) -> Tensor:
        return material.draws(f"theorem 2/{size}/{time}").integers(2**31 - 1, size)[0]

    def _counting(self, material: Material) -> Callable[[], None]:
        """Says how many of the passes over the tested images are done."""
        vectors = len(ATTACKS) * (2 + len(self.samples) * self.draws)
        passes = len(self.norms) * (2 * vectors + 2 * self.randoms)
        done = itertools.count()

        def heard() -> None:
            place = next(done)
            material.progress(0.65 + 0.35 * min(1.0, place / passes), f"fooling: {place:,} of {passes:,} passes")

        return heard


def shuffled(material: Material, purpose: str, count: int) -> Tensor:
    """The places 0 to count − 1 in an order drawn by chance."""
    return material.draws(purpose).uniform(count)[0].argsort(stable=True)
