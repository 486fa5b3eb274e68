r"""Markou, Ajanthan & Gould 2024, the nearest simplex ETF as classifier.

Recalled. For normalised class means $\tilde H$ (d, K) they solve, on the Stiefel manifold $U^\top U
= I_K$,

    min ‖H̃ − U P/√(K−1)‖² + δ/2 ‖U − U_prox‖²

by Riemannian optimisation with a differentiable layer. `ufm.frames.nearest_etf` is the case δ = 0
with a free size. That it is a polar factor, and when it is unique, are derived here.
"""

from theory_checks.engine.registry import paper

paper(
    "markou2024",
    "Markou, Ajanthan & Gould 2024, Guiding Neural Collapse (the nearest simplex ETF)",
    arxiv="2411.01248",
)
