"""Nonnegative features under squared error.

Where the constraint costs nothing, because orthogonal class means fit into the orthant.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import ClassVar

from ufm.optima.facts import Facts
from ufm.optima.form import AbstractForm
from ufm.optima.forms import squared_error
from ufm.optima.forms.squared_error import squared_error_optimum
from ufm.optima.hypotheses import Hypothesis, loss_named, nonnegative, plain_decay, without_bias
from ufm.optima.optimum import Optimum

_PURPOSE = "squared error with nonnegative features"


class NonnegativeSquaredError(AbstractForm):
    """The optimum of free features, turned into the orthant; any depth."""

    name: ClassVar[str] = _PURPOSE.replace("with", "of")
    source: ClassVar[str] = (
        "as for free features (Dang et al. 2023); orthogonal class means can be chosen nonnegative"
    )

    def accepts(self, facts: Facts) -> Iterator[Hypothesis]:
        """Squared error, features >= 0, one-hot, no bias."""
        yield from (loss_named(facts, "squared-error"), nonnegative(facts), *plain_decay(facts))
        yield Hypothesis(
            "labels", facts.one_hot, f"one-hot labels for {_PURPOSE}", "other targets", 1.2
        )
        yield without_bias(facts, _PURPOSE)

    def optimum(self, facts: Facts) -> Optimum:
        """That of free features."""
        optimum = squared_error_optimum(facts)
        hypotheses = (*optimum.hypotheses, "features >= 0")
        return dataclasses.replace(optimum, source=self.source_of(facts), hypotheses=hypotheses)

    def source_of(self, facts: Facts) -> str:
        """That of free features, and why it is about nonnegative ones too."""
        free = squared_error.FORM.source_of(facts)
        return f"{free}; its orthogonal class means can be chosen nonnegative"


FORM = NonnegativeSquaredError()
