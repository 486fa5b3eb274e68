"""A start for large one-layer problems: from labels and λ, not from any predicted optimum."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ufm._validate import require, require_instance
from ufm.losses import loss_and_dual
from ufm.model import Params, Problem, objective, require_decay
from ufm.solvers.one_layer import is_plain

# No direction starts at zero, which the solver would not leave: singular values are at least this
# share of the largest.
_FLOOR = 1e-3
# Sizes that are tried, in units of N: from the step of squared error down and up, by halves.
_SIZES = tuple(2.0**k for k in range(-2, 10))


def spectral_start(problem: Problem) -> Params:
    r"""A start along the singular vectors of the loss gradient at Z = 0.

    With $V = [\omega_c\nabla\ell(0, q_c)/\sqrt{m_c}]_c = -A\,\mathrm{diag}(s)B^\top$ the product is
    $W H\,\mathrm{diag}(\sqrt{m_c}) = t\,A\,\mathrm{diag}(s - \mu)_+B^\top$, $\mu =
    \sqrt{\lambda_W\lambda_H}$, at the best of a few lengths t, and no direction at zero.

    Parameters
    ----------
    problem
        One linear layer with decay alone (no domain, anchor or frozen weights).

    Returns
    -------
    Params
        A point for `minimise(problem, start=…)`, bias 0. The same every time.

    Raises
    ------
    ValueError
        For any other problem, and for λ = 0.

    Notes
    -----
    It is for large problems, where a random start costs three times the products. It looks at
    labels and λ only; but checks of a theory start at random, as it leads to one optimum wherever
    there are several.
    """
    require_instance("problem", problem, Problem)
    words = "`problem` must have one linear layer with decay alone for a spectral start"
    require(is_plain(problem), words, problem)
    require_decay(problem, "a spectral start")
    return _start(problem)


@jax.jit
def _start(problem: Problem) -> Params:
    labels = problem.labels
    d = problem.feature_dim
    lambda_W, lambda_H = problem.lambda_W[0], problem.lambda_H
    roots = jnp.sqrt(labels.masses)
    # (zeros that XLA knows it would work on for seconds while it compiles)
    nothing = 0 * labels.targets
    bias = _best_bias(problem, nothing)
    shifted = nothing if bias is None else nothing + bias[:, None]
    _, dual = loss_and_dual(problem.loss, shifted, labels.targets)
    pull = -dual * (labels.column_weights / roots)[None, :]
    A, s, B = jnp.linalg.svd(pull, full_matrices=False)
    kept = jnp.maximum(s - jnp.sqrt(lambda_W * lambda_H), _FLOOR * s[0])
    balance = (lambda_H / lambda_W) ** 0.25

    def point(size: Float[Array, ""]) -> Params:
        half = jnp.sqrt(size * labels.num_samples * kept)
        W = A * (half * balance)[None, :]
        H = (half / balance)[:, None] * B / roots[None, :]
        missing = max(d - len(s), 0)
        return Params(
            (jnp.pad(W, ((0, 0), (0, missing)))[:, :d],),
            jnp.pad(H, ((0, missing), (0, 0)))[:d],
            bias,
        )

    sizes = jnp.asarray(_SIZES, problem.dtype)
    values = jax.lax.map(lambda size: objective(problem, point(size)), sizes)
    best = point(sizes[jnp.argmin(values)])
    product = best.weights[0] @ best.features
    return Params(best.weights, best.features, _best_bias(problem, product))


def _best_bias(problem: Problem, product: Float[Array, "K C"]) -> Float[Array, " K"] | None:
    """A free bias at its best for a product W H, a penalised one at 0, None without one."""
    if not problem.has_bias:
        return None
    if not problem.free_bias:
        return jnp.zeros(len(product), product.dtype)
    labels = problem.labels
    return problem.loss.best_bias(product, labels.targets, labels.column_weights)
