r"""Wu & Papyan 2024, Linguistic Collapse: what can be proved of the metrics at the size of a
vocabulary.

V class means in $\mathbb R^d$, less their unweighted mean, unit vectors $\tilde\mu_c$ along them,
variances $s_c$; metrics as `ufm.metrics.stream` makes them in one pass. Bounds, invariances and
where they are attained are derived here; the paper's findings about trained models are not checked.
"""

from theory_checks.engine.registry import paper

paper(
    "wu2024",
    "Wu & Papyan 2024, Linguistic Collapse: the metrics at the size of a vocabulary",
    arxiv="2405.17767",
)
