"""Problems, losses and solvers made from checked settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ufm.command_line import catalogue
from ufm.command_line.settings import entry_of
from ufm.command_line.values import require

SOLVERS = ("newton", "lbfgs", "projected-newton")


def problem_of(
    *,
    class_counts,
    lambda_W=None,
    lambda_H=None,
    loss="cross-entropy",
    widths: Any = None,
    bias=None,
    smoothing=0.0,
    columns="collapsed",
    features=None,
    classifier=None,
    activation=None,
    **parameters,
):
    """The `Problem` of checked settings; numbers may be traced.

    Parameters
    ----------
    class_counts, lambda_W, lambda_H
        As `one_hot` and `Problem` take them.
    loss
        Its name.
    widths
        As for `Problem`; (K,) unless given.
    bias, features, classifier, activation
        As for `Problem`.
    smoothing
        Of the labels.
    columns
        "collapsed" or "full".
    parameters
        Of the loss.

    Returns
    -------
    Problem
        With its labels.

    Raises
    ------
    ValueError
        As `Problem` and `loss_of` do.
    """
    from ufm.labels import one_hot, smoothed
    from ufm.model import Problem

    collapsed = columns == "collapsed"
    plain = isinstance(smoothing, float) and smoothing == 0
    labels = (
        one_hot(class_counts, collapsed=collapsed)
        if plain
        else smoothed(class_counts, smoothing=smoothing, collapsed=collapsed)
    )
    return Problem(
        labels,
        loss=loss_of(loss, parameters),
        widths=(labels.num_classes,) if widths is None else widths,
        lambda_W=lambda_W,
        lambda_H=lambda_H,
        bias=bias,
        activation=activation,
        **{
            name: domain
            for name, domain in (("features", features), ("classifier", classifier))
            if domain is not None
        },
    )


def loss_of(name: str, parameters: Mapping[str, Any]):
    """The loss of that name.

    `ValueError` for a parameter that it needs and lacks, or that it does not have.
    """
    entry = entry_of(catalogue.loss_entry, name, "loss")
    assert entry is not None
    owners = catalogue.loss_parameters()
    for key in dict.fromkeys((*entry.required, *parameters)):
        names = " or ".join(f'"{owner}"' for owner in owners.get(key, (name,)))
        fits = key in parameters and key in entry.parameters
        require(fits, key, f"given with loss {names}, and only then", parameters.get(key))
    return entry.build(dict(parameters))


def solver_of(name: str | None, max_steps: int | None):
    """The solver of that name with that budget, or None for the default of the problem."""
    from ufm.solvers.lbfgs import LBFGS
    from ufm.solvers.newton import Newton, ProjectedNewton

    require(
        name is not None or max_steps is None,
        "max_steps",
        "given together with a solver's name",
        max_steps,
    )
    if name is None:
        return None
    kind = {"newton": Newton, "lbfgs": LBFGS, "projected-newton": ProjectedNewton}[name]
    return kind() if max_steps is None else kind(max_steps=max_steps)
