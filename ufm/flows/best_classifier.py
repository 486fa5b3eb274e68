"""The best classifier of given features under squared error, and starts that have it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ufm._validate import require, require_finite, require_instance
from ufm.model import Params, Problem, check_params
from ufm.solvers.start import random_start

Features = Float[Array, "d C"]


def best_classifier(problem: Problem, features: Features) -> Params:
    r"""The point whose weights and bias minimise the objective at given features: ridge regression.

    With $\bar h, \bar q$ the means of features and targets over samples, $\tilde h, \tilde q$ the
    deviations from them, and s = 0 for a free bias, $\lambda_b/(1+\lambda_b)$ for a penalised one,
    1 without bias,

    $$W = \Big(\sum_c\omega_c\tilde q_c\tilde h_c^\top + s\,\bar q\bar h^\top\Big)
      \Big(\sum_c\omega_c\tilde h_c\tilde h_c^\top + s\,\bar h\bar h^\top + \lambda_W I\Big)^{-1},
      \qquad b = (\bar q - W\bar h)/(1+\lambda_b).$$

    Squared error and M = 1 only. Runs inside `jit`. Frozen weights stay, and only b is solved for.
    """
    targets, omega = problem.labels.targets, problem.labels.column_weights
    mean_h, mean_q = features @ omega, targets @ omega
    lambda_b = jnp.zeros_like(problem.lambda_H) if problem.lambda_b is None else problem.lambda_b
    if problem.fixed_weights is not None:
        (W,) = problem.fixed_weights
    else:
        share = lambda_b / (1 + lambda_b) if problem.has_bias else jnp.ones_like(lambda_b)
        centred = features - mean_h[:, None]
        weighted = centred * omega[None, :]
        gram = (
            weighted @ centred.T
            + share * jnp.outer(mean_h, mean_h)
            + problem.lambda_W[0] * jnp.eye(len(features), dtype=features.dtype)
        )
        cross = weighted @ (targets - mean_q[:, None]).T + share * jnp.outer(mean_h, mean_q)
        W = jax.scipy.linalg.solve(gram, cross, assume_a="pos").T
    bias = (mean_q - W @ mean_h) / (1 + lambda_b) if problem.has_bias else None
    return Params(weights=(W,), features=features, bias=bias)


def start_from_features(
    problem: Problem, features: Features, *, key: PRNGKeyArray | None = None
) -> Params:
    """A start for `flow` or `minimise` at given features.

    Such as those of a trained network from `load_features`.

    Parameters
    ----------
    problem
        Any; without `key` one with squared error and M = 1.
    features
        (d_1, C).
    key
        A `jax.random.key`. With it the weights are random, scaled as in `random_start`, and the
        bias is zero; without it weights and bias are the best ones for these features (ridge
        regression).

    Returns
    -------
    Params
        Frozen weights stay.

    Raises
    ------
    ValueError
        For features of the wrong shape, dtype or not finite, and without `key` for another loss or
        M > 1.
    """
    require_instance("problem", problem, Problem)
    require_finite("features", features, shape=(problem.feature_dim, problem.labels.num_columns))
    if key is not None:
        drawn = random_start(problem, key=key)
        return check_params(problem, Params(drawn.weights, features, drawn.bias), name="start")
    require_squared_error(problem, "a start without `key`")
    start = best_classifier(problem, jnp.asarray(features))
    require_determined(problem, start.features)
    return check_params(problem, start, name="start")


def require_squared_error(problem: Problem, purpose: str) -> None:
    """`ValueError` unless the best classifier is one of least squares.

    Parameters
    ----------
    problem, purpose
        Of one layer, and for what it must be.

    Raises
    ------
    ValueError
        For another loss, and for M > 1.
    """
    plain = problem.loss.canonical().least_squares
    require(plain, f"`loss` must be MeanSquaredError for {purpose}", problem.loss)
    require(problem.depth == 1, f"`widths` must have M = 1 entry for {purpose}", problem.widths)


def require_determined(problem: Problem, features: Features) -> None:
    """`ValueError` where the features leave the best classifier open, which only λ_W = 0 allows.

    Parameters
    ----------
    problem, features
        Concrete.

    Raises
    ------
    ValueError
        For features of too low a rank.
    """
    if problem.frozen or float(problem.lambda_W[0]) > 0:
        return
    weighted = np.asarray(features) * np.sqrt(np.asarray(problem.labels.column_weights))
    if problem.free_bias:
        weighted = weighted - np.outer(
            weighted @ np.sqrt(problem.labels.column_weights),
            np.sqrt(problem.labels.column_weights),
        )
    rank, d = np.linalg.matrix_rank(weighted), len(weighted)
    require(
        rank == d,
        f"`lambda_W` must be > 0 for the best classifier of features of rank {rank} < d = {d}",
        problem.lambda_W,
    )
