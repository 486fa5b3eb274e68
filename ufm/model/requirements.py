"""What others require of a problem or of a point of it.

Each failure is a `ValueError` that names the part.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Array

from ufm._programs.outside import ASKED
from ufm._validate import (
    Shown,
    require,
    require_instance,
    require_positive,
    require_real,
)
from ufm.domains.base import rounding_of_distance
from ufm.model.arguments import checked_array, require_factors
from ufm.model.params import Params
from ufm.model.problem import Problem

# along which the vectors of a factor lie: columns of features, rows of a classifier
_AXES = {"features": 0, "classifier": 1}


def check_params(problem: Problem, params: Params, *, name: str = "params") -> Params:
    """`params` as arrays of the problem's dtype.

    Parameters
    ----------
    problem
        Gives shapes, dtype and domains.
    params
        A point of the user's.
    name
        Of the argument, for messages.

    Returns
    -------
    Params
        Itself where nothing had to be changed.

    Raises
    ------
    ValueError
        Naming the first part whose shape, dtype, values or signs do not fit, and a weight other
        than the fixed one.
    """
    given, dtype = _parts(problem, params, name), problem.dtype
    parts = [checked_array(part, value, shape, dtype) for part, value, shape in given]
    same = all(part is value for part, (_, value, _) in zip(parts, given, strict=True))
    bias = parts.pop() if problem.has_bias else None
    *weights, features = parts
    factors = {"features": (f"{name}.features", features)}
    if problem.frozen:
        _require_own_weights(problem, params, name)
    else:
        factors["classifier"] = (f"{name}.weights[0]", weights[0])
    _require_inside(problem, factors)
    if same and isinstance(params.weights, tuple):
        return params
    return Params(weights=tuple(weights), features=features, bias=bias)


def _require_inside(problem: Problem, factors: dict[str, tuple[str, Array]]) -> None:
    """The vectors of factors lie in their domains, up to the rounding of their lengths.

    Nothing is known while they are traced.
    """
    domains = problem.domains
    for argument, (name, matrix) in factors.items():
        domain = domains[argument]
        if not domain.constrained:
            continue
        room = rounding_of_distance(domain, matrix.shape[_AXES[argument]], matrix.dtype)
        try:
            vectors = np.asarray(matrix)
            distance = domain.distance(vectors if _AXES[argument] == 0 else vectors.T)
            inside = bool(distance <= room)
        except ASKED:
            continue
        if not inside:
            raise ValueError(
                f"`{name}` must {domain.wanted}, for {argument}={domain}; got "
                f"vectors that are off by {distance:.3g}"
            )


def _require_own_weights(problem: Problem, params: Params, name: str) -> None:
    """The weights are those that the problem fixes.

    Nothing is known while they are traced.
    """
    assert problem.fixed_weights is not None
    for i, (W, fixed) in enumerate(zip(params.weights, problem.fixed_weights, strict=True)):
        if W is fixed:
            continue
        try:
            away = np.abs(np.asarray(W, problem.dtype) - np.asarray(fixed)).max()
        except ASKED:
            continue
        words = f"`{name}.weights[{i}]` must be `problem.fixed_weights[{i}]`"
        require(bool(away == 0), words, f"entries that differ from it by up to {away:.3g}")


def require_shapes(problem: Problem, params: Params) -> None:
    """`ValueError` unless `params` has the shapes of a point of the problem.

    Reads no values but those of fixed weights, and none that is traced, so it runs inside `jit`.
    """
    for part, value, shape in _parts(problem, params, "params"):
        require_real(part, value, shape=shape)
    if problem.frozen:
        _require_own_weights(problem, params, "params")


def _parts(problem: Problem, params: Params, name: str) -> list[tuple[str, Any, tuple[int, ...]]]:
    """Factors, features and bias, each with its name and the shape that it must have."""
    require_instance(name, params, Params)
    require_factors(f"{name}.weights", params.weights, problem.depth)
    K, C = problem.labels.num_classes, problem.labels.num_columns
    parts: list[tuple[str, Any, tuple[int, ...]]] = [
        (f"{name}.weights[{i}]", W, shape)
        for i, (W, shape) in enumerate(zip(params.weights, problem.weight_shapes, strict=True))
    ]
    parts.append((f"{name}.features", params.features, (problem.feature_dim, C)))
    wanted = f"`{name}.bias` must be {'an array' if problem.has_bias else 'None'}"
    require((params.bias is not None) == problem.has_bias, wanted, Shown(params.bias))
    return [*parts, (f"{name}.bias", params.bias, (K,))] if problem.has_bias else parts


def require_decay(problem: Problem, purpose: str) -> None:
    """`ValueError` unless every λ that acts on a free factor is positive, which `purpose` needs."""
    if not problem.frozen:
        # (of one problem, or of many that are stacked)
        held = problem.lambda_W
        if problem.classifier.compact:
            # (a slice by JAX is a program of its own)
            held = held[..., 1:] if problem.depth > 1 else None
        if held is not None:
            require_positive("lambda_W", held, f" for {purpose}")
    if problem.beta is None and not problem.features.compact:
        require_positive("lambda_H", problem.lambda_H, f" for {purpose}")


def require_minimum(problem: Problem, purpose: str) -> None:
    """`ValueError` unless the infimum is attained.

    Λ > 0 on free factors, and no bias that is best at −∞.
    """
    require_decay(problem, purpose)
    if problem.free_bias and problem.loss.needs_every_class:
        losing = problem.labels.losing_classes
        absent = np.intersect1d(losing, problem.labels.absent_classes)
        words = (
            f"`labels` must give every class some target for {purpose} with a free bias: the "
            f"infimum is not attained, "
            "as the bias of an absent class is best at -inf (leave the class out, or give the "
            "bias a penalty)"
        )
        require(len(absent) == 0, words, f"no target for class {_listed(absent)}")
        words = (
            f"`labels.offsets` must let each class that others gain on gain on them in turn for "
            f"{purpose} with a free bias: the infimum is not attained, as the bias of a class is "
            "best at -inf where columns with targets on others keep it and those with targets on "
            "it drop them (drop it there too, or give the bias a penalty)"
        )
        require(len(losing) == 0, words, f"class {_listed(losing)} on which others only gain")


def require_searchable(problem: Problem) -> None:
    """`ValueError` for problems that a search does not know how to start."""
    require_minimum(problem, "a search")
    for name, domain in problem.domains.items():
        words = f"`problem.{name}` must have no bounds on entries for a search"
        require(not domain.nonnegative, words, domain)
        words = f"`problem.{name}` must be unconstrained for a search with ReLU layers"
        require(not (problem.kinked and domain.constrained), words, domain)
    require(not problem.frozen, "`problem` must have free weights for a search", "frozen weights")
    require(problem.anchor is None, "`problem` must have no anchor for a search", "an anchor")


def _listed(classes: np.ndarray) -> str:
    """The first of them."""
    return ", ".join(map(str, classes[:5]))


def require_product(problem: Problem, purpose: str) -> None:
    """`ValueError` for a map that is not the product of the factors, which `purpose` needs."""
    words = f"`problem.map` must be the product of the factors for {purpose}"
    require(problem.map.identity, words, problem.map)


def require_whole_logits(problem: Problem, purpose: str) -> None:
    """`ValueError` where logits are taken a chunk at a time, which `purpose` does not cover."""
    words = f"`problem` must have logits that fit as a whole for {purpose}"
    K, C = problem.labels.num_classes, problem.labels.num_columns
    require(problem.chunk is None, words, f"{K} classes and {C} columns, in chunks")


def require_smooth(problem: Problem, purpose: str) -> None:
    """`ValueError` for a domain that does not say what moves on it, which `purpose` needs."""
    for name, domain in problem.domains.items():
        require(
            domain.smooth or domain.walled,
            f"`problem.{name}` must be a domain that is `smooth` or `walled`, such as a sphere or "
            f"a ball, for {purpose}",
            domain,
        )


def require_plain(problem: Problem, purpose: str) -> None:
    """`ValueError` for an anchor, frozen weights, a domain or a map, which `purpose` does not
    cover."""
    require_product(problem, purpose)
    require(
        problem.anchor is None, f"`problem` must have no feature anchor for {purpose}", "an anchor"
    )
    require(not problem.frozen, f"`problem` must have free weights for {purpose}", "fixed weights")
    require_unconstrained(problem, purpose)


def require_unconstrained(problem: Problem, purpose: str) -> None:
    """`ValueError` for factors with a domain, which `purpose` does not cover."""
    for name, domain in problem.domains.items():
        require(
            not domain.constrained, f"`problem.{name}` must be unconstrained for {purpose}", domain
        )
