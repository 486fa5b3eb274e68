"""Where the optimum of balanced focal loss jumps, and where its other stationary points begin and
end."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ufm.optima.facts import Facts
from ufm.optima.focal import focal_thresholds
from ufm.optima.forms.focal import FORM, gamma_of
from ufm.optima.statement import Threshold, ThresholdRule, whatever_decay


def _find(facts: Facts) -> Iterator[Threshold]:
    found = focal_thresholds(facts.K, gamma=gamma_of(facts))
    # K √(n λ_W λ_H) there is N √(λ_W λ_H) / √n here
    root = float(np.sqrt(facts.classes.masses[0]))
    jump, roomy = found.stability < found.existence, facts.feature_dim >= facts.K - 1
    # (at a jump the ETF takes all its room; without one zero loses its stability in any)
    if roomy or not jump:
        yield Threshold(
            strength=root * found.transition,
            change="zero product, by a jump" if jump else "zero product",
            source=FORM.source,
            drop=facts.K - 1 if roomy else None,
            rank=0,
        )
    if jump:
        for value, words in (
            (found.stability, "zero is a local minimum"),
            (found.existence, "zero is the only stationary point"),
        ):
            yield Threshold(
                strength=root * value, change=words, source=FORM.source, of_optimum=False
            )


THRESHOLDS = (
    ThresholdRule(
        name="focal loss",
        accepts=lambda facts: whatever_decay(FORM.accepts(facts)),
        find=_find,
        room=lambda facts: facts.K - 1,
    ),
)
