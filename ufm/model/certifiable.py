"""What keeps a problem from having a certificate."""

from __future__ import annotations

from ufm._validate import require
from ufm.certificates.gram import require_gram
from ufm.losses.requirements import require_bound
from ufm.model import Problem, require_decay

# Columns whose Gram matrix is held: 200 MB.
_LARGEST_GRAM = 5000


def require_certifiable(problem: Problem, *, solved_bias: bool = True) -> None:
    """`ValueError` naming what keeps a problem from having a convex lift with a dual bound."""
    words = "`problem.map` must be linear in the product of the factors, or tied, for a certificate"
    require(problem.map.linear or problem.map.gram is not None, words, problem.map)
    require_gram(problem)
    only = "a certificate exists only for one linear layer (M = 1)"
    why = "the Schatten quasi-norm of a deeper product is not convex"
    require(
        problem.depth == 1 or problem.frozen,
        f"`problem.widths` must have one entry, as {only}: {why}",
        f"M={problem.depth}",
    )
    require_bound(problem.loss, free_bias=solved_bias and problem.free_bias)
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
    require(solved_bias or not problem.free_bias or not problem.labels.drops, words, "-inf")
    require_decay(problem, "a certificate")
