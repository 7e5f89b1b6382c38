"""What every study must be: whole at each level, with a word on every number, claim and figure of its paper."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

from advbench.studies.published import publication
from advbench.study import LEVELS, Absent, Bound, Chart, Gallery, Judged, Ours, Study
from advbench.testing.check import Check, demand


def study_checks(study: Study) -> Iterator[Check]:
    for what, trial in TRIALS.items():
        yield Check(study.label, what, partial(trial, study))


def publishes_numbers_and_claims(study: Study) -> None:
    published = publication(study)
    demand(bool(published.numbers or published.claims), "its paper has neither numbers nor claims")
    twice = [claim.id for claim in published.claims if [c.id for c in published.claims].count(claim.id) > 1]
    demand(not twice, f"two claims are called {twice[:1]}")


def names_suites_and_analyses_once(study: Study) -> None:
    for level in LEVELS:
        suites = [str(suite.get("name") or "") for suite in study.suites(level)]
        labels = [analysis.label for analysis in study.analyses(level)]
        for names in (suites, labels):
            twice = {name for name in names if names.count(name) > 1 or not name}
            demand(not twice, f"at level {level}, suites and analyses need names of their own: {twice}")
        for analysis in study.analyses(level):
            unknown = set(analysis.inputs.suites) - set(suites)
            demand(
                not unknown, f"at level {level}, {analysis.label} reads suites that are not there: {sorted(unknown)}"
            )


def binds_every_number(study: Study) -> None:
    for level in LEVELS:
        labels = {analysis.label for analysis in study.analyses(level)}
        for number in publication(study).numbers:
            where = f"at level {level}, {number.place}, number {number.position} ({dict(number.columns)})"
            binding: object = study.binding(number, level)
            if isinstance(binding, Absent):
                demand(bool(binding.reason.strip()), f"{where}: absent without a reason")
                continue
            demand(isinstance(binding, Bound), f"{where}: bound to {binding!r}; return Bound(…) or Absent(reason)")
            assert isinstance(binding, Bound)
            there = binding.analysis.label in labels
            demand(there, f"{where}: bound to {binding.analysis.label}, which `analyses` does not have at that level")


def judges_every_claim(study: Study) -> None:
    claims = {claim.id for claim in publication(study).claims}
    for level in LEVELS:
        judges: Mapping[str, object] = study.judges(level)
        demand(claims <= judges.keys(), f"at level {level}, nobody judges {sorted(claims - judges.keys())}")
        demand(judges.keys() <= claims, f"its paper has no claims {sorted(judges.keys() - claims)}")
        for claim, one in judges.items():
            demand(isinstance(one, Judged), f"{claim}: {one!r}; give a Judged")
            assert isinstance(one, Judged)
            silent = one.strongest is None and not one.why.strip()
            demand(not silent, f"{claim}: no judge under the strongest attack; say `why`")


def shows_every_table_and_figure(study: Study) -> None:
    for level in LEVELS:
        sections = study.sections(level)
        shown = {place for section in sections for one in section.shows if (place := getattr(one, "place", ""))}
        lost = [place for place in publication(study).places if place not in shown]
        demand(not lost, f"at level {level}, no section shows {lost}; show them, or give Missing with the reason")
        labels = {analysis.label for analysis in study.analyses(level)}
        for section in sections:
            for one in section.shows:
                if isinstance(one, Chart | Gallery | Ours):
                    there = one.analysis.label in labels
                    demand(
                        there, f"at level {level}, {section.title!r} shows {one.analysis.label}, which is no analysis"
                    )


def says_what_it_is_about(study: Study) -> None:
    demand(bool(study.abstract().strip()), "it has no abstract")


TRIALS: Mapping[str, Callable[[Study], None]] = {
    "says-what-it-is-about": says_what_it_is_about,
    "publishes-numbers-and-claims": publishes_numbers_and_claims,
    "names-suites-and-analyses-once": names_suites_and_analyses_once,
    "binds-every-number": binds_every_number,
    "judges-every-claim": judges_every_claim,
    "shows-every-table-and-figure": shows_every_table_and_figure,
}
