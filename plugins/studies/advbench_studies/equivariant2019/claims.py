"""The paper's eight claims, judged by findings; what the paper leaves without a number is given one here, and said."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from advbench import Book, ClaimVerdict, Judged, Level, above, below, every, less, near
from advbench_studies.equivariant2019.networks import ATTACKS, FOOLED, NETWORKS
from advbench_studies.equivariant2019.principal import Principal
from advbench_studies.equivariant2019.sizes import STRONGEST, curves, principal, smallest
from advbench_studies.equivariant2019.stronger import Smallest
from advbench_studies.equivariant2019.strongest import wrong_name

SHARE = 10.0
"""Percent of the spectrum in the first five directions: the paper's."""
FOOLING = 80.0
"""Percent of the inputs: the paper's."""
DOT = 0.07
"""The paper's bound for the mean absolute dot product."""
ANGLE = 65.0
"""What still is near 90 degrees: the paper calls its own angles nearly 90, the smallest of which is 68.8."""
COMPARABLE = 10.0
"""Points between fooling rates that are comparable: the paper's own two are 80 and 80 to 90."""
CLOSE = 0.9
"""The cosine from which on two vectors are close; then they are 0.45 apart."""
ROUNDING = 1e-9
"""A share may equal what is promised."""

OfOne = Callable[[Book, Principal, str], ClaimVerdict]


def judges(level: Level) -> Mapping[str, Judged]:
    networks = [principal(network, level) for network in NETWORKS]
    plain = [principal(network, level) for network in FOOLED]
    smallest_of = [smallest(network, level) for network in FOOLED]

    def each(judge: OfOne, over: list[Principal]) -> Callable[[Book], ClaimVerdict]:
        return lambda book: every(*(_of(one.network, judge(book, one, a)) for one in over for a in ATTACKS))

    def fmn(judge: Callable[[Book, Smallest], ClaimVerdict]) -> Callable[[Book], ClaimVerdict]:
        return lambda book: every(*(_of(one.network, judge(book, one)) for one in smallest_of))

    def universal_pgd(book: Book) -> ClaimVerdict:
        wrong = (wrong_name(one.network, STRONGEST, one.small) for one in plain)
        return every(*(above(book(curves(level), name), FOOLING) for name in wrong))

    return {
        "equivariant-1": Judged(
            each(dominant, networks), fmn(lambda book, one: above(book(one, "top five · fmn · all"), SHARE))
        ),
        "equivariant-2": Judged(each(universal, plain), universal_pgd),
        "equivariant-3": Judged(
            each(few_suffice, plain),
            why="It is about how many inputs this one attack needs; a stronger attack has no such sample.",
        ),
        "equivariant-4": Judged(each(universal, networks), universal_pgd),
        "equivariant-5": Judged(
            each(lambda book, one, attack: orthogonal(book, one, _what(one, attack, 2)), networks),
            fmn(lambda book, one: orthogonal(book, one, "fmn · all")),
        ),
        "equivariant-6": Judged(
            each(lambda book, one, attack: orthogonal(book, one, _what(one, attack, 1)), networks),
            fmn(lambda book, one: orthogonal(book, one, "fmn · sample")),
        ),
        "equivariant-7": Judged(each(aligned, networks), fmn(lambda book, one: aligned(book, one, "fmn"))),
        "equivariant-8": Judged(
            each(lambda book, one, attack: found_by_few(book, one, attack, one.samples[0]), networks),
            fmn(lambda book, one: found_by_few(book, one, "fmn", plain[0].samples[0])),
        ),
    }


def dominant(book: Book, one: Principal, attack: str) -> ClaimVerdict:
    return above(book(one, f"top five · {_what(one, attack, 2)}"), SHARE)


def universal(book: Book, one: Principal, attack: str) -> ClaimVerdict:
    """It fools so many at the small norm, and more than a random direction does; the norm that it takes is told."""
    what = _what(one, attack, 2)
    ours = book(one, f"fooled · {what} · norm {one.small:g}")
    chance = book(one, f"fooled · random direction · norm {one.small:g}")
    verdict = every(above(ours, FOOLING), less(chance, ours))
    reached = book(one, f"norm that fools {FOOLING:g} % · {what}").value
    needed = "never within the grid" if reached is None else f"from norm {reached:.3g} on"
    return ClaimVerdict(verdict.outcome, f"{verdict.words}; {FOOLING:g} % {needed}")


def few_suffice(book: Book, one: Principal, attack: str) -> ClaimVerdict:
    few, whole = (book(one, f"fooled · {_what(one, attack, place)} · norm {one.small:g}") for place in (0, 2))
    return near(few, whole, COMPARABLE)


def orthogonal(book: Book, one: Principal | Smallest, what: str) -> ClaimVerdict:
    """The mean dot product and the smallest of the five angles: the others are larger."""
    return every(below(book(one, f"mean |dot| of top 5 · {what}"), DOT), above(book(one, f"angle 5 · {what}"), ANGLE))


def aligned(book: Book, one: Principal | Smallest, attack: str) -> ClaimVerdict:
    return above(book(one, f"theorem 1: least excess · {attack}"), -ROUNDING)


def found_by_few(book: Book, one: Principal | Smallest, attack: str, few: int) -> ClaimVerdict:
    size = nearest_to(one.sampled, few)
    return above(book(one, f"theorem 2: cosine · {attack} · {size:,} inputs"), CLOSE)


def nearest_to(sizes: tuple[int, ...], wanted: int) -> int:
    """Of the sizes that theorem 2 is tried at, the one nearest to the paper's small sample."""
    return min(sizes, key=lambda size: (abs(size - wanted), size))


def _what(one: Principal, attack: str, sample: int) -> str:
    return f"{attack} · {one.sizes(attack)[sample]:,} inputs"


def _of(network: str, verdict: ClaimVerdict) -> ClaimVerdict:
    return ClaimVerdict(verdict.outcome, f"{network}: {verdict.words}")
