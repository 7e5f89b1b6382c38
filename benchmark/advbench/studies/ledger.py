"""The findings of a study by analysis and name, for whoever binds a number or judges a claim."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from advbench.claim_verdict import ClaimVerdict
from advbench.errors import AdvbenchError
from advbench.findings import Finding
from advbench.plugins.foreign import attributed
from advbench.store import Store
from advbench.store.study_rows import findings
from advbench.study import Analysis, Judge


class UnknownFindingError(AdvbenchError):
    """There is no finding of that name, or its analysis could not be performed."""


@dataclass
class Ledger:
    """Call it with an analysis and the name of a finding."""

    store: Store
    keys: Mapping[str, str]
    """Of the analyses that were performed, by label."""
    reasons: Mapping[str, str]
    """Why others were not, by label."""
    unknown: list[tuple[str, str]] = field(default_factory=list)
    """Names that were asked for of analyses that were performed and did not find them, each once."""
    _read: dict[str, dict[str, Finding]] = field(default_factory=dict)

    def __call__(self, analysis: Analysis, finding: str) -> Finding:
        label = analysis.label
        if label not in self.keys:
            raise UnknownFindingError(f"{label}: {self.reasons.get(label, 'the study does not perform it')}")
        if label not in self._read:
            rows = findings(self.store, self.keys[label])
            self._read[label] = {name: Finding(**vars(row)) for name, row in rows.items()}
        if finding not in self._read[label]:
            if (label, finding) not in self.unknown:
                self.unknown.append((label, finding))
            raise UnknownFindingError(f"{label} found nothing that is called {finding!r}")
        return self._read[label][finding]

    def judged(self, judge: Judge, claim: str) -> ClaimVerdict:
        """What a judge says; undecided where a finding is not there, with that as its words."""
        try:
            with attributed(f"the judge of {claim}"):
                return judge(self)
        except UnknownFindingError as error:
            return ClaimVerdict("undecided", str(error))
