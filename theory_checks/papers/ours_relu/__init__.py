r"""Ours: ReLU networks under squared error that are cheaper than deep neural collapse.

L weight matrices with a ReLU between them, balanced classes, no bias, every width at least K. A
network with output $I_K$ whose squared norms sum to $(L+1)\kappa$ has value $V(\kappa) =
\min_x\tfrac12(x-1)^2+\tfrac{L+1}2\Lambda\kappa x^{2/(L+1)}$ at its best scale, and V rises strictly
with κ wherever it is below ½. Collapse on orthogonal frames costs κ = K. So one network with κ < K
in exact fractions proves that collapse is not optimal, at every decay at which it is better than
zero. Nothing here says what is optimal.
"""

from theory_checks.engine.registry import paper

paper("ours_relu", "ReLU networks below collapse, ours")
