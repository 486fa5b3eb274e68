"""The measurement: minimisers and first-order recipes. Nothing here may import `ufm.optima`."""

from ufm.solvers.continuation import minimise_rectified
from ufm.solvers.descent import descend
from ufm.solvers.exchangeable import exchangeable_start
from ufm.solvers.first_order import Adam, GradientDescent, Momentum
from ufm.solvers.fixed_classifier import fit_features
from ufm.solvers.lbfgs import LBFGS
from ufm.solvers.loop import minimise
from ufm.solvers.newton import Newton, ProjectedNewton
from ufm.solvers.smoothing import Smoothing
from ufm.solvers.spectral import spectral_start
from ufm.solvers.start import random_start

__all__ = [
    "LBFGS",
    "Adam",
    "GradientDescent",
    "Momentum",
    "Newton",
    "ProjectedNewton",
    "Smoothing",
    "descend",
    "exchangeable_start",
    "fit_features",
    "minimise",
    "minimise_rectified",
    "random_start",
    "spectral_start",
]
