"""The one table of tolerances, keyed by dtype, with the reason for each.

A tolerance is a claim: find out before widening one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ufm._validate import require, require_positive


@dataclass(frozen=True, kw_only=True)
class Tolerances:
    """What counts as equal, and as stationary, in one dtype.

    `value`: relative error of the objective. `array`: error of logits, Grams, singular values, bias
    and balance, relative to their size. `gradient`: relative gradient norm at which a solver stops.
    `branch`: how close a fraction of the target must be to that of a stationary point to be given
    its name. `verifies`: whether agreement in this dtype counts as a check of a theorem.
    """

    value: float
    array: float
    gradient: float
    branch: float
    verifies: bool


TOLERANCES = {
    "float64": Tolerances(
        # Second order in the error of the point, so a converged run is exact up to the rounding of
        # a sum over columns.
        value=1e-12,
        # First order: gradient tolerance times the condition number off the gauge (20 to 410 in the
        # middle of a regime). At a collapse threshold of one layer the minimum is quartic and a
        # gradient of 1e-12 leaves the product about 1e-8 of the target away from it.
        array=1e-7,
        # Four digits above rounding: sums over a few thousand columns cost two, the products of a
        # deep chain two more.
        gradient=1e-12,
        # Ten times `array`: names are given to points that a comparison then judges by the tighter
        # number.
        branch=1e-6,
        verifies=True,
    ),
    "float32": Tolerances(
        # 1e2 roundings of 1e-7; enough to see a wrong constant, never enough to verify a theorem.
        value=1e-5,
        # Solvers in float32 stall at Gram errors of 1e-5 (first order) to 1e-4 (L-BFGS).
        array=1e-3,
        # A gradient of a sum of rounded terms has noise of about ten roundings.
        gradient=1e-6,
        branch=1e-2,
        verifies=False,
    ),
}


def for_dtype(dtype) -> Tolerances:
    """The tolerances of a dtype. Raises `ValueError` for one that is not in the table."""
    name = np.dtype(dtype).name
    require(name in TOLERANCES, f"`dtype` must be one of {', '.join(TOLERANCES)}", name)
    return TOLERANCES[name]


def in_words(dtype) -> str:
    """A line that says a dtype, and whether numbers in it verify anything."""
    name = np.dtype(dtype).name
    return f"dtype: {name}{'' if for_dtype(name).verifies else ', which never verifies a theorem'}"


def caveat(dtype) -> str:
    """A further line below numbers in a dtype that verifies nothing; nothing below others."""
    return "" if for_dtype(np.dtype(dtype).name).verifies else f"\n{in_words(dtype)}"


def gradient_tolerance(tolerance: float | None, dtype, *, name: str = "tolerance") -> float:
    """The relative gradient norm at which a solver stops: as given, or that of the table.

    Parameters
    ----------
    tolerance
        What the user gave, or None.
    dtype
        Of the problem.
    name
        Of the argument, for messages.

    Returns
    -------
    float
        Below 1.

    Raises
    ------
    ValueError
        For what the dtype cannot reach, and for what every point meets.
    """
    if tolerance is None:
        return for_dtype(dtype).gradient
    rounding = np.finfo(dtype).eps
    if not (isinstance(tolerance, float) and rounding <= tolerance < 1):
        require_positive(name, tolerance, shape=())
        # of a relative norm: from 1 on every point is stationary
        require(tolerance < 1, f"`{name}` must be < 1", tolerance)
        words = f"`{name}` must be >= {rounding:.1e}, what {dtype} can resolve"
        require(tolerance >= rounding, words, tolerance)
    return tolerance
