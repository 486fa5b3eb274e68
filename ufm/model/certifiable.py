"""What keeps a problem from having a certificate."""

from __future__ import annotations

import numpy as np

from ufm._validate import concrete, require
from ufm.losses.requirements import require_bound
from ufm.model.problem import Problem, with_canonical_loss
from ufm.model.requirements import require_decay

# Columns whose Gram matrix is held: 200 MB.
_LARGEST_GRAM = 5000


def require_certifiable(problem: Problem, *, randomised: bool | None = None) -> None:
    """`ValueError` naming what keeps a problem from having a convex lift with a dual bound.

    Parameters
    ----------
    problem
        Whose loss may be of any form.
    randomised
        Whether the bound is by random vectors, as it is for labels in chunks unless given; their
        dual columns are centred, and a free bias is not solved for.

    Raises
    ------
    ValueError
        Naming the part.
    """
    problem = with_canonical_loss(problem)
    randomised = problem.chunk is not None if randomised is None else randomised
    words = "`problem.map` must be linear in the product of the factors, or tied, for a certificate"
    require(problem.map.linear or problem.map.gram is not None, words, problem.map)
    _require_gram(problem)
    only = "a certificate exists only for one linear layer (M = 1)"
    why = "the Schatten quasi-norm of a deeper product is not convex"
    require(
        problem.depth == 1 or problem.frozen,
        f"`problem.widths` must have one entry, as {only}: {why}",
        f"M={problem.depth}",
    )
    require_bound(problem.loss, free_bias=problem.free_bias and not randomised)
    # of the class, see `with_canonical_loss`
    convex = type(problem.loss).convex_at(problem.loss, problem.labels)
    require(convex, "`problem.loss` must be convex in the logits for a certificate", problem.loss)
    number = problem.labels.num_columns
    few = problem.frozen or not problem.features.nonnegative or number <= _LARGEST_GRAM
    words = (
        f"`problem.labels` must have at most {_LARGEST_GRAM} columns for a certificate with "
        f"nonnegative features (collapse them)"
    )
    require(few, words, number)
    # what is left of the mean of the dual columns goes from class to class only by columns that
    # keep both, of which random vectors know nothing
    words = (
        "`problem.labels.offsets` must be finite for a bound by random vectors with a free bias "
        "(-100 for -inf is the same to rounding while logits stay below 50)"
    )
    require(not (randomised and problem.free_bias and problem.labels.drops), words, "-inf")
    require_decay(problem, "a certificate")


def _require_gram(problem: Problem) -> None:
    """`ValueError` for what a tied map leaves without a bound."""
    gram = problem.map.gram
    if gram is None:
        return
    words = "`problem.fixed_weights` must be given for a certificate with a tied map, as it uses no"
    require(problem.frozen, f"{words} weights", "free weights")
    words = "`problem` must have no feature anchor for a certificate with a tied map"
    require(problem.anchor is None, words, "an anchor")
    if not gram.forgets_lengths:
        return
    decay = concrete(problem.lambda_H)
    words = "`problem.lambda_H` must be 0 where the map forgets lengths, for a certificate"
    require(decay is None or not np.any(decay), words, decay)
    known = problem.features.compact
    words = "`problem.features` must be a sphere or a ball where the map forgets lengths, for a"
    require(known, f"{words} certificate", problem.features)
