"""Predictions: closed forms of global optima, in NumPy float64 on the host.

Never imports a solver.
"""

from ufm.optima import channels, forms, laws, perturbation
from ufm.optima.choice import closed_form
from ufm.optima.optimum import NoClosedForm, Optimum, Spectrum
from ufm.optima.survey import theory

__all__ = [
    "NoClosedForm",
    "Optimum",
    "Spectrum",
    "channels",
    "closed_form",
    "forms",
    "laws",
    "perturbation",
    "theory",
]
