r"""The perturbation model.

Features pulled to given ones, and how the pull answers to a small change near neural collapse.

**Normalisation.** Here, as in Tirer, Huang & Niles-Weed 2023 (Eq. 2), with n samples in each of K
classes, no bias and d >= K,

$$f = \tfrac1{2Kn}\|WH - Y\|_F^2 + \tfrac{\lambda_W}{2K}\|W\|_F^2 + \tfrac{\lambda_H}{2Kn}\|H\|_F^2
+ \tfrac{\beta}{2Kn}\|H - H_0\|_F^2;$$

the library's `Problem` takes $\lambda_W/K$, $\lambda_H/(Kn)$ and $\beta/(Kn)$ for the same value f
(`library_parameters`). Throughout $c = \sqrt{\lambda_W\lambda_H}$ and $r =
\sqrt{\lambda_H/\lambda_W}$; for c < 1 the minimisers without a pull have $\bar H^\top\bar H = \rho
I$, $\rho = (1-c)/r$ and $W = r\bar H^\top$.
"""

from ufm.optima.perturbation_blocks import cross_talk, diagonal_block_gains, leading_order
from ufm.optima.perturbation_gains import (
    PIECES,
    Gains,
    collapsed_minimiser,
    curvatures,
    gains,
    scatter_attenuation,
)
from ufm.optima.perturbation_response import reduced_loss, reduced_velocity, response
from ufm.optima.perturbation_units import library_parameters, paper_parameters

__all__ = [
    "PIECES",
    "Gains",
    "collapsed_minimiser",
    "cross_talk",
    "curvatures",
    "diagonal_block_gains",
    "gains",
    "leading_order",
    "library_parameters",
    "paper_parameters",
    "reduced_loss",
    "reduced_velocity",
    "response",
    "scatter_attenuation",
]
