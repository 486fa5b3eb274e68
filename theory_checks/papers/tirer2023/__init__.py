r"""Tirer, Huang & Niles-Weed 2023, "Perturbation analysis of neural collapse": collapsed anchors,
and the flow on the central path.

Theirs (Eq. 2): $\frac{1}{2Kn}\|WH - Y\|^2 + \frac{\lambda_W}{2K}\|W\|^2 +
\frac{\lambda_H}{2Kn}\|H\|^2 + \frac{\beta}{2Kn}\|H - H_0\|^2$. Every λ, β below is theirs:

    theirs                              ufm
    λ_W, λ_H, β                         lambda_W = λ_W / K, lambda_H = λ_H / (K n), beta = β / (K n)
    dH/dt = −Kn ∇L(H)   (Eq. 4)         path=Path("central", {"features": K n})
    1/β as a time                       1 / (K n beta)

The check `tirer2023/normalisation` evaluates both objectives at random points. Theorems 4.1 and 4.2
are in `first_order.py`.
"""

from theory_checks.engine.registry import paper

paper(
    "tirer2023",
    "Tirer, Huang & Niles-Weed 2023, Perturbation analysis of neural collapse",
    arxiv="2210.16658",
)
