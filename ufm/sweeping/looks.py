"""What is looked at where a lane of a sweep has ended: its certificate, metrics, what is kept."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np

from ufm.batch.layout import over_lanes
from ufm.certificates.bound import certify
from ufm.metrics import measure_params
from ufm.model import Params, Problem, require_certifiable, require_decay
from ufm.sweeping.options import Report

Arrays = dict[str, np.ndarray]


def certifiable(problems: Problem) -> bool:
    """Whether `certify` has a bound for stacked problems, by what it says where it is traced."""

    def ask(problem: Problem) -> int:
        require_certifiable(problem)
        return 0

    try:
        require_decay(problems, "a certificate")
        jax.eval_shape(jax.vmap(ask), problems)
    except ValueError:
        return False
    return True


def measured(problems: Problem, params: Params, *, report: Report, platform: str) -> dict:
    """Certificates, metrics and whatever is kept, of stacked problems and points.

    Parameters
    ----------
    problems, params
        Stacked.
    report
        What is asked for.
    platform
        "cpu" or another, for the layout of lanes.

    Returns
    -------
    dict
        Name → array with a leading axis of lanes.
    """

    numbers = functools.partial(numbers_of, report=report)
    kept = jax.vmap(functools.partial(kept_of, report=report))(problems, params)
    return over_lanes(numbers, problems, params, platform=platform) | kept


def numbers_of(problem: Problem, params: Params, *, report: Report) -> dict:
    """Certificate and metrics of one point.

    Parameters
    ----------
    problem, params
        The point.
    report
        What is asked for.

    Returns
    -------
    dict
        Name → number.
    """
    out = {}
    if report.certificates:
        certificate = certify(problem, params)
        out |= {"lower_bound": certificate.lower_bound, "gap": certificate.gap}
    if report.metrics:
        metrics = measure_params(problem, params)
        out |= {name: getattr(metrics, name) for name in report.metrics}
    return out


def kept_of(problem: Problem, params: Params, *, report: Report) -> dict:
    """The factors of one point and its logits, where they are kept.

    Parameters
    ----------
    problem, params
        The point.
    report
        What is asked for.

    Returns
    -------
    dict
        Name → array.
    """
    out = {}
    if "params" in report.keep:
        out |= {f"params_weights_{i}": W for i, W in enumerate(params.weights)}
        out["params_features"] = params.features
        out |= {} if params.bias is None else {"params_bias": params.bias}
    if "logits" in report.keep:
        out["logits"] = problem.logits(params)
        zero = jnp.zeros(problem.labels.num_classes, problem.dtype)
        out["logits_bias"] = zero if params.bias is None else params.bias
    return out
