r"""The central path of squared error.

Features flow while classifier and bias are always the best ones for them.

Han, Papyan & Donoho 2022 and Tirer, Huang & Niles-Weed 2023 study flows on it.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ufm._validate import concrete, require
from ufm.flows.best_classifier import (
    Features,
    best_classifier,
    require_determined,
    require_squared_error,
)
from ufm.flows.velocity import AbstractVelocity
from ufm.labels import collapse
from ufm.model import Params, Problem, require_product, require_unconstrained
from ufm.solvers.first_order import sample_gradient


class _OfFeatures(AbstractVelocity):
    """The velocity of features whose classifier is always the best one."""

    rate: Float[Array, ""] | None = None

    def mobility(self, problem: Problem, state: Features) -> Features:
        """The rate over the mass of each column.

        Returns
        -------
        Features
            (1, C).
        """
        return (1.0 if self.rate is None else self.rate) / problem.labels.masses[None, :]


class CentralVelocity(_OfFeatures):
    r"""$\dot h = -\eta\,\partial f/\partial h$ for each sample at $W = W^*(H)$, $b = b^*(H)$.

    The limit of infinite rates of W and b.
    """

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

    def polishable(self, problem: Problem, params: Params) -> Problem:
        """The problem itself.

        Returns
        -------
        Problem
            The path ends at a stationary point of it.
        """
        return problem


class RenormalisedVelocity(_OfFeatures):
    r"""The central path of renormalised features $X = \Sigma_W^{-1/2} H$, projected so that
    $\Sigma_W(X)$ stays the identity.

    The normal space of $\{\Sigma_W = I\}$ is $\{SZ : S = S^\top\}$ with Z the deviations from the
    class means. Han, Papyan & Donoho 2022. What the integrator loses of $\Sigma_W = I$ would grow
    like $\exp(\omega^2/2)$ in a field that only projects: a state stands for the whitened one.
    """

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


def check_path(problem: Problem, path: str) -> None:
    """`ValueError` unless the problem has the path."""
    require_squared_error(problem, f"path='{path}'")
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
    require_determined(problem, state)


def _envelope_gradient(problem: Problem, features: Features) -> Features:
    """The gradient of the features for one sample each.

    That of W and b vanishes at the best ones.
    """
    return sample_gradient(problem, best_classifier(problem, features)).features


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
