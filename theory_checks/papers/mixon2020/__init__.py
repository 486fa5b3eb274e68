r"""Mixon, Parshall & Pi 2020, "Neural collapse with unconstrained features": squared error without
decay, from a small start.

Their loss is the sum over the samples: t = (time of `ufm`) / N. Cited by content; the laws are
derived.
"""

from theory_checks.engine.registry import paper

paper(
    "mixon2020",
    "Mixon, Parshall & Pi 2020, Neural collapse with unconstrained features",
    arxiv="2011.11619",
)
