r"""Tirer & Bruna 2022, "Extended Unconstrained Features Model for Exploring Deep Neural Collapse":
squared error, balanced classes.

Theirs: $\frac{1}{2Kn}\|W_2W_1H + b\mathbf 1^\top - Y\|^2 + \frac{\lambda_{W_2}}{2K}\|W_2\|^2 +
\frac{\lambda_{W_1}}{2K}\|W_1\|^2 + \frac{\lambda_H}{2Kn}\|H\|^2$, without W_1 in the plain model.
Every λ below is theirs; `translated` turns it into ours:

    theirs                      ufm
    λ_W, λ_{W_1}, λ_{W_2}       lambda_W = λ_W / K
    λ_H                         lambda_H = λ_H / (K n)
    c = √(λ_W λ_H)              K √(n lambda_W lambda_H)
    √(λ_W / λ_H)                √(lambda_W / (n lambda_H))

The check `tirer2022/normalisation` evaluates both objectives at random points. (An earlier version
of the paper has lambda_W, lambda_H as `ufm`.)
"""

from theory_checks.engine.registry import paper

paper(
    "tirer2022",
    "Tirer & Bruna 2022, Extended Unconstrained Features Model for Exploring Deep Neural Collapse",
    arxiv="2202.08087",
)
