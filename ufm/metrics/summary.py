"""All metrics of one point in one record.

`measure` a solution, `measure_params` along a flow, `measure_features` of any network.
"""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ufm._classes.module import Module
from ufm._host.choice import small_on_host
from ufm._numerics import norm, root, unit
from ufm._validate import as_array, require, require_instance, require_nonnegative
from ufm.frames import centring_matrix, gram_distance
from ufm.metrics.duality import last_layer, nc4_agreement_of
from ufm.metrics.geometry import equiangularity, equinorm, nc2_etf, nc2_gof, nc2_orthogonal
from ufm.metrics.moments import Moments, checked_columns, moments_of
from ufm.metrics.table import as_table
from ufm.metrics.variability import cdnv_of, nc1_pinv_of, nc1_trace_ratio_of
from ufm.model import Params, Problem, objective, require_shapes
from ufm.solution import Solution
from ufm.tolerances import caveat


class Metrics(Module):
    """Every metric of one point.

    A ratio 0/0 is NaN, and `collapsed` says that it was one; `str()` is a
    table with the value of each at collapse and a scale.

    NC1: `nc1_pinv`, `nc1_trace_ratio`, `cdnv`. NC2, for the class means ("features") and the rows
    of the classifier: `nc2_etf_*` (means centred by the global mean), `nc2_orthogonal_*` and
    `nc2_gof_*` (means as they are; `gof` against their own lengths, so orthogonality alone). NC3:
    `nc3_self_duality` and `nc3_orthogonal` (W H̄ against the identity) with the means as they are,
    `nc3_self_duality_centred` and `nc3_etf` (W H̄ against P) with the means centred.
    `nc4_agreement`.

    Norms and angles: `feature_norms` and `classifier_norms` (K,), lengths of the class means, as
    they are, and of the rows of W, since everything above is blind to scale; `*_norm_cv` (standard
    deviation over mean), `*_cosine_mean`, `*_cosine_std`, `*_etf_deviation` (largest distance of a
    cosine from −1/(K − 1)), the means centred; `within_trace` and `between_trace`, the traces of
    the covariances.

    `collapsed`: features or classifier are at zero, or all class means coincide.
    `collapsed_classes` (K,): mean or classifier row of that class is at zero (minority collapse,
    which leaves the other metrics defined but for `cdnv` and angles). Zero is relative to the size
    of the problem; see `measure_params`.
    """

    nc1_pinv: Float[Array, ""]
    nc1_trace_ratio: Float[Array, ""]
    cdnv: Float[Array, ""]
    nc2_etf_features: Float[Array, ""]
    nc2_etf_classifier: Float[Array, ""]
    nc2_orthogonal_features: Float[Array, ""]
    nc2_orthogonal_classifier: Float[Array, ""]
    nc2_gof_features: Float[Array, ""]
    nc2_gof_classifier: Float[Array, ""]
    nc3_self_duality: Float[Array, ""]
    nc3_self_duality_centred: Float[Array, ""]
    nc3_orthogonal: Float[Array, ""]
    nc3_etf: Float[Array, ""]
    nc4_agreement: Float[Array, ""]
    feature_norms: Float[Array, " K"]
    classifier_norms: Float[Array, " K"]
    feature_norm_cv: Float[Array, ""]
    classifier_norm_cv: Float[Array, ""]
    feature_cosine_mean: Float[Array, ""]
    classifier_cosine_mean: Float[Array, ""]
    feature_cosine_std: Float[Array, ""]
    classifier_cosine_std: Float[Array, ""]
    feature_etf_deviation: Float[Array, ""]
    classifier_etf_deviation: Float[Array, ""]
    within_trace: Float[Array, ""]
    between_trace: Float[Array, ""]
    collapsed: Bool[Array, ""]
    collapsed_classes: Bool[Array, " K"]

    def __str__(self) -> str:
        return f"{as_table(self)}{caveat(self.nc1_trace_ratio.dtype)}"


def measure(solution: Solution, *, tolerance=None, rcond=None) -> Metrics:
    """All metrics of a solution: those of `measure_params` at its problem and its params.

    Parameters
    ----------
    solution
        From `minimise`, `search` or `fit_features`.
    tolerance, rcond
        As for `measure_params`.

    Returns
    -------
    Metrics
        Arrays; runs inside no `jit`, as a solution is looked at on the host.

    Raises
    ------
    ValueError
        For what is no solution, and as `measure_params` does.
    """
    require_instance("solution", solution, Solution)
    _require_classes("solution.problem.labels", solution.problem.labels.num_classes)
    return measure_params(solution.problem, solution.params, tolerance=tolerance, rcond=rcond)


def measure_params(problem: Problem, params: Params, *, tolerance=None, rcond=None) -> Metrics:
    r"""All metrics of any point of a problem.

    Runs inside `jit` and `vmap`, so a flow can observe it.

    Parameters
    ----------
    problem, params
        The point, and the problem that it is one of.
    tolerance
        What counts as zero, the root of machine epsilon unless given. Features or a factor are at
        zero when their share of the decay is: $\sqrt{\lambda}\,\|\cdot\| \le$ `tolerance`
        $\sqrt{2f}$ with f the objective, which bounds every such share. Where λ = 0, or f is beyond
        the largest number, only rounding counts. The same tolerance makes ties of `nc4_agreement`.
    rcond
        That of `nc1_pinv`.

    Returns
    -------
    Metrics
        NaN where features or a factor are at zero and a metric has no value.

    Raises
    ------
    ValueError
        For a negative tolerance, for params that do not fit the problem, and for a problem of one
        class (K = 1, a regression on one number), as metrics compare classes.

    Notes
    -----
    Exactly at a collapse threshold a minimiser stops at about the cube root of its own tolerance
    from zero: such a point is not flagged, and its metrics are noise.
    """
    require_instance("problem", problem, Problem)
    _require_classes("problem.labels", problem.labels.num_classes)
    require_shapes(problem, params)
    if tolerance is None:
        tolerance = np.sqrt(np.finfo(problem.dtype).eps)
    require_nonnegative("tolerance", tolerance, shape=())
    if rcond is not None:
        require_nonnegative("rcond", rcond, shape=())
    checked_columns(params.features, problem.labels, None)
    return _measure_params(problem, params, *_traced(problem.dtype, tolerance, rcond))


def measure_features(
    features,
    labels,
    classifier,
    bias=None,
    *,
    num_classes: int | None = None,
    rcond=None,
    feature_floor=0.0,
    classifier_floor=0.0,
    tolerance=0.0,
) -> Metrics:
    """All metrics of the last layer of any network.

    Parameters
    ----------
    features, labels, num_classes
        As for `class_means`; of whole numbers there are as many classes as the classifier has rows
        unless `num_classes` says otherwise.
    classifier, bias
        (K, d), and (K,) or None.
    rcond
        As for `nc1_pinv`.
    feature_floor, classifier_floor
        A class mean, or a row of the classifier, no longer than this counts as zero; rounding noise
        always does.
    tolerance
        That of `nc4_agreement`.

    Returns
    -------
    Metrics
        Those of the last layer.

    Raises
    ------
    ValueError
        As `class_means` does, for a classifier or bias of the wrong shape, for negative
        tolerances, and for labels of one class.
    """
    for name, value in (
        ("feature_floor", feature_floor),
        ("classifier_floor", classifier_floor),
        ("tolerance", tolerance),
        ("rcond", rcond),
    ):
        if value is not None or name != "rcond":
            require_nonnegative(name, value, shape=())
    m, W, b = last_layer(
        features, labels, classifier, bias, num_classes=num_classes, floor=feature_floor
    )
    _require_classes("labels", m.num_classes)
    return _measure(m, W, b, *_traced(W.dtype, classifier_floor, tolerance, rcond))


def _require_classes(name: str, number: int) -> None:
    """`ValueError` where there are no two classes to compare."""
    words = f"`{name}` must have K >= 2 classes, as metrics of collapse compare classes"
    require(number >= 2, words, f"K={number}")


def _traced(dtype, *values):
    """Numbers as arrays, so that another value is not another compilation."""
    return tuple(None if value is None else as_array(value, dtype) for value in values)


@small_on_host
def _measure_params(problem: Problem, params: Params, tolerance, rcond) -> Metrics:
    # in coordinates where the decay is ½‖v‖² every part of a point is at most sqrt(2 f), and at a
    # stationary point they share it evenly
    value = objective(problem, params)
    reach = tolerance * jnp.where(jnp.isfinite(value), root(2 * value), 0)
    lambda_H = problem.feature_decay
    lengths = reach / jnp.sqrt(
        jnp.where(lambda_H > 0, lambda_H * problem.labels.num_samples, jnp.inf)
    )
    head = problem.head(params)
    W = head.classifier
    classifier_floor = tolerance * jnp.max(norm(W, axis=1))
    if not problem.map.identity:
        # decay does not tell how long what enters a later layer is
        lengths = jnp.zeros_like(lengths)
    elif not problem.frozen:
        for lam, factor in zip(problem.lambda_W, params.weights, strict=True):
            at_zero = (lam > 0) & (jnp.sqrt(lam) * norm(factor) <= reach)
            classifier_floor = jnp.where(at_zero, jnp.inf, classifier_floor)
    labels = problem.labels
    m = moments_of(head.features, labels.class_index, labels.masses, labels.num_classes, lengths)
    return _measure(m, W, params.bias, classifier_floor, tolerance, rcond)


@eqx.filter_jit
def _measure(m: Moments, W, bias, classifier_floor, tolerance, rcond) -> Metrics:
    K, eps = m.num_classes, jnp.finfo(W.dtype).eps
    # rows and class means in units in which no square overflows; all metrics but the sizes are
    # blind to them
    size = unit(W)
    rows = W / size
    feature_lengths, row_lengths = norm(m.means, axis=0), norm(rows, axis=1)
    row_floor = jnp.maximum(classifier_floor / size, eps * jnp.max(row_lengths))
    zero_features = jnp.all(feature_lengths <= m.floor)
    zero_classifier = jnp.all(row_lengths <= row_floor)

    means = jnp.where(zero_features, jnp.nan, m.means)
    centred = jnp.where(m.apart, m.centred, jnp.nan)
    rows = jnp.where(zero_classifier, jnp.nan, rows)
    mean_gram, centred_gram, row_gram = means.T @ means, centred.T @ centred, rows @ rows.T
    feature_angles = equiangularity(centred_gram, floor=m.floor)
    classifier_angles = equiangularity(row_gram, floor=row_floor)
    collapsed = zero_features | ~m.apart | zero_classifier
    identity, P = jnp.eye(K, dtype=W.dtype), centring_matrix(K, dtype=W.dtype)
    return Metrics(
        nc1_pinv=nc1_pinv_of(m, rcond),
        nc1_trace_ratio=nc1_trace_ratio_of(m),
        cdnv=cdnv_of(m),
        nc2_etf_features=nc2_etf(centred_gram),
        nc2_etf_classifier=nc2_etf(row_gram),
        nc2_orthogonal_features=nc2_orthogonal(mean_gram),
        nc2_orthogonal_classifier=nc2_orthogonal(row_gram),
        nc2_gof_features=nc2_gof(mean_gram),
        nc2_gof_classifier=nc2_gof(row_gram),
        nc3_self_duality=gram_distance(rows, means.T),
        nc3_self_duality_centred=gram_distance(rows, centred.T),
        nc3_orthogonal=gram_distance(rows @ means, identity),
        nc3_etf=gram_distance(rows @ centred, P),
        nc4_agreement=jnp.where(collapsed, jnp.nan, nc4_agreement_of(m, W, bias, tolerance)),
        feature_norms=feature_lengths * m.scale,
        classifier_norms=row_lengths * size,
        feature_norm_cv=equinorm(centred_gram),
        classifier_norm_cv=equinorm(row_gram),
        feature_cosine_mean=feature_angles.mean,
        classifier_cosine_mean=classifier_angles.mean,
        feature_cosine_std=feature_angles.std,
        classifier_cosine_std=classifier_angles.std,
        feature_etf_deviation=feature_angles.etf_deviation,
        classifier_etf_deviation=classifier_angles.etf_deviation,
        within_trace=m.squared(m.within_trace),
        between_trace=m.squared(m.between_trace),
        collapsed=collapsed,
        collapsed_classes=(feature_lengths <= m.floor) | (row_lengths <= row_floor),
    )
