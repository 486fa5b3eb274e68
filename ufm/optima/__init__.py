"""Predictions: closed forms of global optima, in NumPy float64 on the host. Never imports a solver."""

from __future__ import annotations

from collections.abc import Callable

from ufm.losses import AbstractLoss, CrossEntropy, Focal, MeanSquaredError
from ufm.optima import channels, perturbation
from ufm.optima import dynamics as laws
from ufm.optima.cross_entropy import cross_entropy_optimum
from ufm.optima.focal import focal_optimum
from ufm.optima.mse import squared_error_optimum
from ufm.optima.nonnegative import nonnegative_optimum
from ufm.optima.optimum import NoClosedForm, Optimum, Spectrum, require_equal_weights
from ufm.problem import Problem

__all__ = ["NoClosedForm", "Optimum", "Spectrum", "channels", "closed_form", "laws", "perturbation"]

# One entry per solved loss; the function raises `NoClosedForm` for what it does not cover.
_FORMS: dict[type[AbstractLoss], Callable[[Problem], Optimum]] = {
    MeanSquaredError: squared_error_optimum,
    CrossEntropy: cross_entropy_optimum,
    Focal: focal_optimum,
}


def closed_form(problem: Problem) -> Optimum:
    """The global optimum of a problem in closed form, with its source and hypotheses.

    The optimum describes what is identified (value, class-level logits, Grams, singular values), for full and for collapsed columns alike.

    Raises `NoClosedForm` naming the hypothesis that fails, `ValueError` for λ <= 0.
    """
    require_equal_weights(problem.labels)
    if problem.features == "nonnegative":
        return nonnegative_optimum(problem)
    form = _FORMS.get(type(problem.loss))
    if form is None:
        known = ", ".join(loss.__name__ for loss in _FORMS)
        raise NoClosedForm(f"needs a loss with a solved optimum ({known}); got {type(problem.loss).__name__}")
    return form(problem)
