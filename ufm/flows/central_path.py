r"""The central path of squared error.

Features flow while classifier and bias are always the best ones for them.

Han, Papyan & Donoho 2022 and Tirer, Huang & Niles-Weed 2023 study flows on it.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ufm._validate import concrete, require, require_finite, require_instance
from ufm.flows.velocity import AbstractVelocity
from ufm.labels import collapse
from ufm.model import Params, Problem, check_params, require_product, require_unconstrained
from ufm.solvers.first_order import sample_gradient
from ufm.solvers.start import random_start

Features = Float[Array, "d C"]


class CentralVelocity(AbstractVelocity):
    r"""$\dot h = -\eta\,\partial f/\partial h$ for each sample at $W = W^*(H)$, $b = b^*(H)$.

    The limit of infinite rates of W and b.
    """

    rate: Float[Array, ""] | None = None

    def state_of(self, problem: Problem, params: Params) -> Features:
        """The features; weights and bias of the start are ignored.

        Returns
        -------
        Features
            (d, C).
        """
        return params.features

    def params_of(self, problem: Problem, state: Features) -> Params:
        """The features with the best weights and bias for them.

        Returns
        -------
        Params
            By ridge regression.
        """
        return best_classifier(problem, state)

    def __call__(self, problem: Problem, state: Features) -> Features:
        velocity = -_envelope_gradient(problem, state)
        return velocity if self.rate is None else self.rate * velocity

    def mobility(self, problem: Problem, state: Features) -> Features:
        """The rate over the mass of each column.

        Returns
        -------
        Features
            (1, C).
        """
        return _mobility(problem, self.rate)

    def polishable(self, problem: Problem, params: Params) -> Problem:
        """The problem itself.

        Returns
        -------
        Problem
            The path ends at a stationary point of it.
        """
        return problem


class RenormalisedVelocity(AbstractVelocity):
    r"""The central path of renormalised features $X = \Sigma_W^{-1/2} H$, projected so that
    $\Sigma_W(X)$ stays the identity.

    The normal space of $\{\Sigma_W = I\}$ is $\{SZ : S = S^\top\}$ with Z the deviations from the
    class means. Han, Papyan & Donoho 2022. What the integrator loses of $\Sigma_W = I$ would grow
    like $\exp(\omega^2/2)$ in a field that only projects: a state stands for the whitened one.
    """

    rate: Float[Array, ""] | None = None

    def state_of(self, problem: Problem, params: Params) -> Features:
        r"""$\Sigma_W^{-1/2} H$.

        Returns
        -------
        Features
            (d, C); NaN where the within-class covariance has no inverse root.
        """
        spread = _spread(problem, params.features)
        values, vectors = jnp.linalg.eigh(spread)
        floor = values[-1] * spread.shape[0] * jnp.finfo(spread.dtype).eps
        # a singular spread has no inverse root: NaN, which `check_central` turns into a ValueError
        roots = jnp.where(values[0] > floor, 1 / jnp.sqrt(values), jnp.nan)
        return (vectors * roots[None, :]) @ vectors.T @ params.features

    def params_of(self, problem: Problem, state: Features) -> Params:
        """The renormalised features with the best weights and bias for them.

        Returns
        -------
        Params
            By ridge regression.
        """
        return best_classifier(problem, _whitened(problem, state))

    def __call__(self, problem: Problem, state: Features) -> Features:
        state = _whitened(problem, state)
        gradient = _envelope_gradient(problem, state)
        deviations = _deviations(problem, state)
        # (1/N) Σ_c m_c z_c z_cᵀ = I makes the projection explicit, with the inner product that
        # counts samples
        overlap = (gradient * problem.labels.mass_shares[None, :]) @ deviations.T
        velocity = 0.5 * (overlap + overlap.T) @ deviations - gradient
        return velocity if self.rate is None else self.rate * velocity

    def mobility(self, problem: Problem, state: Features) -> Features:
        """The rate over the mass of each column.

        Returns
        -------
        Features
            (1, C).
        """
        return _mobility(problem, self.rate)

    def polishable(self, problem: Problem, params: Params) -> Problem:
        """No problem: renormalised features grow for ever.

        Returns
        -------
        Problem
            Never.

        Raises
        ------
        ValueError
            Always.
        """
        require(
            False,
            "`polish` cannot be used with path='renormalised', whose features grow for ever",
            True,
        )
        return problem


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
    _check_squared_error(problem, "a start without `key`")
    start = best_classifier(problem, jnp.asarray(features))
    _require_determined(problem, start.features)
    return check_params(problem, start, name="start")


def check_path(problem: Problem, path: str) -> None:
    """`ValueError` unless the problem has the path."""
    _check_squared_error(problem, f"path='{path}'")
    require_product(problem, f"path='{path}'")
    require_unconstrained(problem, f"path='{path}'")
    require(
        not problem.frozen,
        f"`fixed_weights` must be None for path='{path}', whose weights follow the features",
        "weights",
    )
    if path == "renormalised":
        require(problem.free_bias, "`bias` must be 'free' for path='renormalised'", problem.bias)
        require(
            problem.anchor is None, "`anchor` must be None for path='renormalised'", "an anchor"
        )
        for name, value in (("lambda_W", problem.lambda_W), ("lambda_H", problem.lambda_H)):
            array = concrete(value)
            require(
                array is None or np.all(array == 0),
                f"`{name}` must be 0 for path='renormalised'",
                value,
            )


def check_state(problem: Problem, velocity: AbstractVelocity, state) -> None:
    """Refuse a start where no classifier is best, or no features are renormalised.

    Parameters
    ----------
    problem
        What flows.
    velocity
        One of this module.
    state
        That of the start.

    Raises
    ------
    ValueError
        For a within-class covariance that is singular, or a best classifier that is not determined.
    """
    if isinstance(velocity, RenormalisedVelocity):
        require(
            np.all(np.isfinite(state)),
            "`start` must have a within-class covariance of full rank for path='renormalised'",
            "a singular one",
        )
    _require_determined(problem, state)


def _envelope_gradient(problem: Problem, features: Features) -> Features:
    """The gradient of the features for one sample each.

    That of W and b vanishes at the best ones.
    """
    return sample_gradient(problem, best_classifier(problem, features)).features


def _mobility(problem: Problem, rate: Float[Array, ""] | None) -> Features:
    return (1.0 if rate is None else rate) / problem.labels.masses[None, :]


def _deviations(problem: Problem, features: Features) -> Features:
    return features - collapse(problem.labels, features)[:, problem.labels.class_index]


def _spread(problem: Problem, features: Features) -> Float[Array, "d d"]:
    """The within-class covariance."""
    deviations = _deviations(problem, features)
    return (deviations * problem.labels.mass_shares[None, :]) @ deviations.T


def _whitened(problem: Problem, features: Features) -> Features:
    """Features of spread I near those whose spread nearly is: by the Cholesky factor, which has a
    derivative there, as the root by eigenvectors has not."""
    root = jnp.linalg.cholesky(_spread(problem, features))
    return jax.scipy.linalg.solve_triangular(root, features, lower=True)


def _check_squared_error(problem: Problem, purpose: str) -> None:
    plain = problem.loss.canonical().least_squares
    require(plain, f"`loss` must be MeanSquaredError for {purpose}", problem.loss)
    require(problem.depth == 1, f"`widths` must have M = 1 entry for {purpose}", problem.widths)


def _require_determined(problem: Problem, features: Features) -> None:
    """`ValueError` where the features leave the best classifier open, which only λ_W = 0 allows."""
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
