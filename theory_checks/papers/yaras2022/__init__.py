r"""Yaras, Wang, Zhu, Balzano & Qu 2022: cross-entropy with features and classifier rows on spheres.

Their logits are $\tau W^\top h$ of unit vectors, so that their temperature multiplies; here it is
the radius of the features, and the radius of the rows is 1. The statements are recalled, not
quoted: the simplex is the only global minimiser, and with $d > K$ and $\tau < 2(d-2)/(1 + (K \bmod
2)/K)$ every other critical point is a strict saddle. That K − 1 dimensions are enough for the
first is ours: the gap of the certificate closes.
"""

from theory_checks.engine.registry import paper

paper(
    "yaras2022",
    "Yaras, Wang, Zhu, Balzano & Qu 2022, normalised features",
    arxiv="2209.09211",
)
