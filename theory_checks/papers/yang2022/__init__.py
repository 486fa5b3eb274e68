r"""Yang et al. 2022, a fixed simplex ETF as classifier, and dot regression.

Recalled from their code: dot regression $\tfrac1{2c}(w_y\cdot h-c)^2$, $c = \|w_y\|\sqrt{E_H}$,
which sees the own logit alone. `formulas.py` defines that loss as a user of `ufm` would. Decay of
features is $\mu = N\lambda_H$ a sample. The closed forms, and what a learned classifier does, are
derived here.
"""

from theory_checks.engine.registry import paper

paper(
    "yang2022",
    "Yang et al. 2022, Inducing Neural Collapse in Imbalanced Learning",
    arxiv="2203.09081",
)
