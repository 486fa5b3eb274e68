"""The measurement: minimisers and flows. Nothing here may import `ufm.optima`."""

from ufm.solvers.batched_flow import flow_batch
from ufm.solvers.central_path import start_from_features
from ufm.solvers.first_order import Adam, GradientDescent, Momentum, descend
from ufm.solvers.fixed_classifier import fit_features
from ufm.solvers.gradient_flow import flow
from ufm.solvers.lbfgs import LBFGS
from ufm.solvers.loop import minimise
from ufm.solvers.newton import Newton, ProjectedNewton
from ufm.solvers.start import random_start

__all__ = [
    "LBFGS",
    "Adam",
    "GradientDescent",
    "Momentum",
    "Newton",
    "ProjectedNewton",
    "descend",
    "fit_features",
    "flow",
    "flow_batch",
    "minimise",
    "random_start",
    "start_from_features",
]
