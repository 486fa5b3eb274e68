"""What a proof is written down as: plain data, for other software."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ufm.domains import AbstractDomain
from ufm.losses import AbstractLoss
from ufm.model import Problem

if TYPE_CHECKING:
    from ufm.certificates.enclosure import Enclosure


def written(enclosure: Enclosure) -> dict[str, Any]:
    """Problem, point, dual point, multipliers and witness in plain JSON types.

    Parameters
    ----------
    enclosure
        A proof.

    Returns
    -------
    dict[str, Any]
        What `docs/check_enclosure.py` reads.
    """
    problem, labels = enclosure.problem, enclosure.problem.labels
    return {
        "lower": _end(enclosure.lower),
        "upper": _end(enclosure.upper),
        "problem": {
            "loss": _described_loss(problem.bare_loss),
            "targets": _plain(labels.targets),
            "offsets": _offsets(labels.offsets),
            "masses": _plain(labels.masses),
            "weights": _plain(labels.weights),
            "lambda_W": _plain(problem.lambda_W),
            "lambda_H": _plain(problem.lambda_H),
            "bias": problem.bias if problem.lambda_b is None else _plain(problem.lambda_b),
            "features": _described(problem.features),
            "classifier": "frozen" if problem.frozen else _described(problem.classifier),
            "map": _map(problem),
            "anchor": _plain(problem.anchor),
            "beta": _plain(problem.beta),
        },
        "point": {
            "W": [_plain(W) for W in enclosure.params.weights],
            "H": _plain(enclosure.params.features),
            "b": _plain(enclosure.params.bias),
        },
        "dual": {
            "exponent": enclosure.dual.exponent,
            "entries": [[str(entry) for entry in row] for row in enclosure.dual.entries],
        },
        "multipliers": {
            "rows": None
            if enclosure.multipliers.rows is None
            else list(map(str, enclosure.multipliers.rows)),
            "columns": list(map(str, enclosure.multipliers.columns)),
            "room": str(enclosure.multipliers.room),
        },
        "witness": [[str(entry) for entry in row] for row in enclosure.witness],
    }


def _end(value: float) -> float | None:
    """One that is infinite says nothing: None, as JSON has no infinity."""
    return value if math.isfinite(value) else None


def _plain(value) -> Any:
    """Numbers of an array as floats."""
    return None if value is None else np.asarray(value, dtype=np.float64).tolist()


def _offsets(offsets) -> list[list[float | None]] | None:
    """Offsets, with None for a class that is dropped: JSON has no infinity."""
    rows = _plain(offsets)
    return rows and [[None if x == -math.inf else x for x in row] for row in rows]


def _parameters(part) -> dict[str, Any]:
    """The numbers of a loss or a domain, by name."""
    fields = [f.name for f in dataclasses.fields(part) if not f.metadata.get("static")]
    values = {name: getattr(part, name) for name in fields}
    return {
        name: [_described_loss(each) for each in value] if _losses(value) else _plain(value)
        for name, value in values.items()
    }


def _losses(value) -> bool:
    """Whether a parameter holds losses that another one is made of."""
    return isinstance(value, tuple) and all(isinstance(each, AbstractLoss) for each in value)


def _described_loss(loss: AbstractLoss) -> dict[str, Any]:
    return {"name": type(loss).__name__, **_parameters(loss)}


def _map(problem: Problem) -> dict[str, Any] | None:
    """None for the product."""
    gram = problem.map.gram
    if gram is not None:
        tau, forgets = _plain(gram.temperature), gram.forgets_lengths
        return {"name": problem.map.name, "temperature": tau, "nonnegative": forgets}
    operator = problem.map.operator(problem.labels.num_columns, problem.dtype)
    return None if operator is None else {"name": problem.map.name, "operator": _plain(operator)}


def _described(domain: AbstractDomain) -> dict[str, Any]:
    return {"name": domain.name, **_parameters(domain)}
