r"""Ready-made observables.

Functions of (problem, params) for the `observables` of `flow`, `flow_batch` and `descend`.

    watched = {
        "nc1": ufm.observables.nc1_trace_ratio,
        "spectrum": ufm.observables.classifier_spectrum,
    }
    ufm.flow(problem, ts=ts, key=key, observables=watched)

They are functions of a module, so that using one again does not compile again, and they run inside
`jit` and `vmap`. `ufm.metrics.measure_params`, all metrics at once, is an observable too. A
function of one's own is written the same way, and defined once.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ufm import metrics
from ufm._numerics import norm, normalised, singular_values
from ufm._validate import require, require_instance, require_positive
from ufm.labels import collapse
from ufm.metrics.moments import moments
from ufm.model import Params, Problem, decay, fit, require_shapes
from ufm.solvers.first_order import downhill


def _checked(observable: Callable) -> Callable:
    """The observable, which looks first whether it was given a problem and a point of its
    shapes."""

    @functools.wraps(observable)
    def checked(problem: Problem, params: Params, **options):
        require_instance("problem", problem, Problem)
        require_shapes(problem, params)
        return observable(problem, params, **options)

    return checked


@_checked
def loss(problem: Problem, params: Params) -> Float[Array, ""]:
    r"""The fitting part of the objective, the mean loss $\sum_c \omega_c\,\ell(z_c, q_c)$."""
    return fit(problem, problem.logits(params))


@_checked
def penalty(problem: Problem, params: Params) -> Float[Array, ""]:
    """The rest of the objective.

    Decay of factors, features and bias, and the pull to the anchor.
    """
    return decay(problem, params)


@_checked
def gradient_norm(problem: Problem, params: Params) -> Float[Array, ""]:
    """The norm of the gradient for the free factors, a column counting as one of its samples.

    The speed of the flow at rate 1: without what pushes a vector out of a ball on whose boundary it
    lies.
    """
    return norm(jnp.stack([norm(part) for part in jax.tree.leaves(downhill(problem, params))]))


@_checked
def classifier_spectrum(problem: Problem, params: Params) -> Float[Array, " r"]:
    """Singular values of the classifier W_M … W_1, largest first, r = min(K, d_1)."""
    head = problem.head(params)
    return singular_values(head.classifier)


@_checked
def logits_spectrum(problem: Problem, params: Params) -> Float[Array, " r"]:
    r"""Singular values of $W H \sqrt{\mathrm{diag}(m)}$, the logits of all samples without bias,
    largest first, r = min(K, C)."""
    head = problem.head(params)
    return singular_values(head.classifier @ _by_samples(problem, head))


@_checked
def factor_spectra(problem: Problem, params: Params) -> Float[Array, "factors r"]:
    r"""Singular values of W_M, …, W_1 and $H\sqrt{\mathrm{diag}(m)}$, one row each, largest first,
    filled up with zeros to equal length."""
    spectra = [
        singular_values(factor) for factor in (*params.weights, _by_samples(problem, params))
    ]
    longest = max(len(spectrum) for spectrum in spectra)
    return jnp.stack([jnp.pad(spectrum, (0, longest - len(spectrum))) for spectrum in spectra])


@_checked
def imbalance(
    problem: Problem, params: Params, *, rates: dict | None = None
) -> tuple[Float[Array, "_ _"], ...]:
    r"""The imbalance of neighbouring factors, outermost pair first.

    $W_{m+1}^\top W_{m+1} - W_m W_m^\top$; the last is $W_1^\top W_1 - H\,\mathrm{diag}(m)\,H^\top$.

    Parameters
    ----------
    problem, params
        A point, and the problem that it is one of.
    rates
        The dict of `flow`. Each product is divided by the rate of its factor, which is what is
        conserved then, at λ = 0 only.

    Returns
    -------
    tuple[Float[Array, "_ _"], ...]
        M matrices.

    Raises
    ------
    ValueError
        For rates of other parts, or that are not positive.

    Notes
    -----
    Gradient flow multiplies each by $e^{-2\lambda t}$ where the two λ are equal, for any loss, and
    so conserves it for λ = 0.
    """
    rates = {} if rates is None else rates
    require_instance("rates", rates, Mapping, "a dict from part to learning rate")
    known = ("weights", "features", "bias")
    require(set(rates) <= set(known), f"`rates` may name {', '.join(known)}", list(rates))
    for part, rate in rates.items():
        require_positive(f"rates[{part!r}]", rate)
    of_weights = jnp.broadcast_to(
        jnp.asarray(rates.get("weights", 1.0), problem.dtype), (problem.depth,)
    )
    factors = [W / jnp.sqrt(rate) for W, rate in zip(params.weights, of_weights, strict=True)]
    factors.append(
        _by_samples(problem, params)
        / jnp.sqrt(jnp.asarray(rates.get("features", 1.0), problem.dtype))
    )
    return tuple(outer.T @ outer - inner @ inner.T for outer, inner in itertools.pairwise(factors))


@_checked
def imbalance_norm(problem: Problem, params: Params) -> Float[Array, " M"]:
    """Frobenius norms of the matrices of `imbalance`."""
    return jnp.stack([norm(matrix) for matrix in imbalance(problem, params)])


@_checked
def alignment(problem: Problem, params: Params) -> Float[Array, ""]:
    r"""The cosine of classifier and class means, $\langle W, \bar M^\top\rangle / (\|W\|\,\|\bar
    M\|)$.

    $\bar M_k = \sqrt{n_k}\,\bar h_k$. NaN where either is zero. For balanced classes it is 1 minus
    half the squared `nc3_self_duality`.
    """
    head = problem.head(params)
    means = collapse(problem.labels, head.features) * jnp.sqrt(problem.labels.class_counts)[None, :]
    return jnp.sum(normalised(head.classifier) * normalised(means).T)


@_checked
def nc1_pinv(problem: Problem, params: Params) -> Float[Array, ""]:
    """`ufm.metrics.nc1_pinv` of the features."""
    head = problem.head(params)
    return metrics.nc1_pinv(head.features, problem.labels)


@_checked
def nc1_trace_ratio(problem: Problem, params: Params) -> Float[Array, ""]:
    """`ufm.metrics.nc1_trace_ratio` of the features."""
    head = problem.head(params)
    return metrics.nc1_trace_ratio(head.features, problem.labels)


@_checked
def cdnv(problem: Problem, params: Params) -> Float[Array, ""]:
    """`ufm.metrics.cdnv` of the features."""
    head = problem.head(params)
    return metrics.cdnv(head.features, problem.labels)


@_checked
def nc2_etf(problem: Problem, params: Params) -> Float[Array, ""]:
    """`ufm.metrics.nc2_etf` of the class means, centred."""
    head = problem.head(params)
    return metrics.nc2_etf(moments(head.features, problem.labels).gram(centre=True))


@_checked
def nc2_orthogonal(problem: Problem, params: Params) -> Float[Array, ""]:
    """`ufm.metrics.nc2_orthogonal` of the class means, as they are."""
    head = problem.head(params)
    return metrics.nc2_orthogonal(moments(head.features, problem.labels).gram(centre=False))


@_checked
def nc3_self_duality(problem: Problem, params: Params) -> Float[Array, ""]:
    """`ufm.metrics.nc3_self_duality` of features and classifier, the means as they are."""
    head = problem.head(params)
    return metrics.nc3_self_duality(head.features, problem.labels, head.classifier)


@_checked
def nc4_agreement(problem: Problem, params: Params) -> Float[Array, ""]:
    """`ufm.metrics.nc4_agreement` of features, classifier and bias."""
    head = problem.head(params)
    return metrics.nc4_agreement(head.features, problem.labels, head.classifier, head.bias)


def _by_samples(problem: Problem, params: Params) -> Float[Array, "d C"]:
    """H with columns times the roots of their masses.

    The same Gram matrix as one column for each sample.
    """
    return params.features * jnp.sqrt(problem.labels.masses)[None, :]
