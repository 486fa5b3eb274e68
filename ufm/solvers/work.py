"""The work of a step, told from the shapes of a problem."""

from __future__ import annotations

import jax
import numpy as np

from ufm.model import Params, Problem

# Logits between which loops over them are a part of a solve, or of a flow (measured: 900 a tenth,
# 40 000 a hundredth).
_FEW, _MANY = 400, 20_000
# Multiply-adds from which the products of a library are faster than loops in one kernel (measured:
# of 16 000 loops take half of the time, of 54 000 as long, of 128 000 half as long again).
_MOST_IN_KERNEL = 20_000


def multiply_adds(problem: Problem) -> int:
    """Of the logits, about; the work of a step is some 30 times that.

    Parameters
    ----------
    problem
        Of any depth.

    Returns
    -------
    int
        Those of all products of factors.
    """
    features = problem.feature_dim * problem.labels.num_columns
    weights = sum(rows * columns for rows, columns in problem.weight_shapes)
    return (weights + features) * problem.labels.num_classes


def first_piece(problem: Problem) -> int:
    """Steps of the first piece.

    About a second's worth at 1e9 multiply-adds a second and 30 products a step, all of a small
    problem.

    Parameters
    ----------
    problem
        What is solved.

    Returns
    -------
    int
        From 1 to 1000.
    """
    return int(min(max(1e9 / (30 * multiply_adds(problem)), 1), 1000))


def few_logits(problem: Problem, *others) -> bool:
    """Whether loops over the logits are short.

    Parameters
    ----------
    problem
        What a program is for.
    *others
        Its further arguments, which do not count.

    Returns
    -------
    bool
        For up to 400 logits.
    """
    return _logits(problem) <= _FEW


def few_or_many_logits(problem: Problem, *_) -> bool:
    """Whether loops over the logits are short, or little beside the products.

    Parameters
    ----------
    problem
        What a program is for.
    *_
        Its further arguments, which do not count.

    Returns
    -------
    bool
        Up to 400 logits, and from 20 000 on.
    """
    return few_logits(problem) or _logits(problem) >= _MANY


def one_kernel_suits(problem: Problem, *_) -> bool:
    """Whether a solve is faster as one kernel, without the products of a library.

    Parameters
    ----------
    problem
        What a program is for.
    *_
        Its further arguments, which do not count.

    Returns
    -------
    bool
        Up to 20 000 multiply-adds.
    """
    return multiply_adds(problem) <= _MOST_IN_KERNEL


def draft_loses(problem: Problem, solver, tolerance, limit, begun) -> float:
    """Seconds that a solve, or a piece of one, takes longer where nothing is optimised.

    Parameters
    ----------
    problem
        What a program is for.
    solver, tolerance, limit
        Its further arguments, which do not count.
    begun
        From where: a point, or what S starts are made of, with S in front.

    Returns
    -------
    float
        Infinite where it is seconds.
    """
    starts = 1 if isinstance(begun, Params) else len(jax.tree.leaves(begun)[0])
    return starts * _lost(multiply_adds(problem))


def _lost(work: int) -> float:
    """Of one start, as measured: in a kernel by its loops, else by those beside a library's
    products."""
    if work <= _MOST_IN_KERNEL:
        return 1.3e-6 * work
    if work <= 3e5:
        return 0.03
    return 0.1 if work <= 6e7 else np.inf


def _logits(problem: Problem) -> int:
    return problem.labels.num_classes * problem.labels.num_columns
