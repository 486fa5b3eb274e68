"""What a closed form is: hypotheses, an optimum and a source."""

from __future__ import annotations

import abc
from collections.abc import Iterable
from typing import ClassVar

from ufm.optima.facts import Facts
from ufm.optima.hypotheses import LINEAR, Hypothesis, of_map
from ufm.optima.optimum import Optimum


class AbstractForm(abc.ABC):
    """A theorem that gives the global optimum of some problems.

    `name`: what it is about, in a few words. `source`: who proved it. `maps`: the names of the maps
    that it speaks about, the product of linear layers unless it says otherwise. `offsets`: whether
    it knows what offsets of the labels do.
    """

    name: ClassVar[str]
    maps: ClassVar[tuple[str, ...]] = LINEAR
    offsets: ClassVar[bool] = False
    source: ClassVar[str]

    @abc.abstractmethod
    def accepts(self, facts: Facts) -> Iterable[Hypothesis]:
        """Its hypotheses, each with its answer, cheap ones first.

        It may end at one that fails, where the next make no sense.
        """

    @abc.abstractmethod
    def optimum(self, facts: Facts) -> Optimum:
        """The optimum of a problem that meets all hypotheses.

        May raise `NoClosedForm` for a hypothesis that only the solution can tell, such as d >= its
        rank.
        """

    def holds(self, facts: Facts) -> bool:
        """Whether all hypotheses hold; none is asked after one that does not."""
        return all(hypothesis.holds for hypothesis in of_map(self, facts))

    def failing(self, facts: Facts) -> tuple[Hypothesis, ...]:
        """The hypotheses that fail."""
        return tuple(hypothesis for hypothesis in of_map(self, facts) if not hypothesis.holds)
