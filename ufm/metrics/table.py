"""A record of metrics in print: beside each value what it is at collapse, and what without it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

_SPREAD = ("0", "1: as much spread within classes as between")
_NOTHING_IN_COMMON = "1.4: nothing in common"
_ETF = ("0 at a simplex ETF", _NOTHING_IN_COMMON)
_ORTHOGONAL = ("0 at an orthogonal frame", _NOTHING_IN_COMMON)
_OPPOSITE = f"{_NOTHING_IN_COMMON}, 2: opposite"
_LENGTHS = ("equal where balanced", "")
_CV = ("0 where balanced", "1: they differ by their mean")
_COSINE = ("{cosine:.3g} at a simplex ETF", "0: right angles, 1: one direction")
_COSINE_STD = ("0 at a simplex ETF", "1: from one direction to its opposite")
_DEVIATION = ("0 at a simplex ETF", "{alike:.3g}: two classes in one direction")
# at collapse, and on which scale to read what is not
_WORDS = {
    "nc1_pinv": _SPREAD,
    "nc1_trace_ratio": _SPREAD,
    "cdnv": ("0", "1: classes spread as far as their means are apart"),
    "nc2_etf_features": _ETF,
    "nc2_etf_classifier": _ETF,
    "nc2_orthogonal_features": _ORTHOGONAL,
    "nc2_orthogonal_classifier": _ORTHOGONAL,
    "nc2_gof_features": ("0 where orthogonal", _NOTHING_IN_COMMON),
    "nc2_gof_classifier": ("0 where orthogonal", _NOTHING_IN_COMMON),
    "nc3_self_duality": ("0", _OPPOSITE),
    "nc3_self_duality_centred": ("0", _OPPOSITE),
    "nc3_orthogonal": ("0 at an orthogonal frame", _OPPOSITE),
    "nc3_etf": ("0 at a simplex ETF", _OPPOSITE),
    "nc4_agreement": ("1", "{chance:.3g}: by chance"),
    "feature_norms": _LENGTHS,
    "classifier_norms": _LENGTHS,
    "feature_norm_cv": _CV,
    "classifier_norm_cv": _CV,
    "feature_cosine_mean": _COSINE,
    "classifier_cosine_mean": _COSINE,
    "feature_cosine_std": _COSINE_STD,
    "classifier_cosine_std": _COSINE_STD,
    "feature_etf_deviation": _DEVIATION,
    "classifier_etf_deviation": _DEVIATION,
    "within_trace": ("0", "between_trace"),
    "between_trace": ("", ""),
    "collapsed": ("", "yes: factors at zero, or all class means alike"),
    "collapsed_classes": ("", "a mean or row at zero: minority collapse"),
}


# of a stream: what random codes have stands beside it
_OF_STREAMS = {
    "num_kept": ("", "classes with samples enough"),
    "num_samples": ("", "of those classes"),
    "num_rare": ("", "classes seen too seldom"),
    "num_unseen": ("", "classes never seen"),
    "coincident_pairs": ("", "classes whose means are one"),
    "cdnv": _WORDS["cdnv"],
    "cdnv_fourth": ("0", "over the fourth power of the distance: not blind to units"),
    "nc1_trace_ratio": _SPREAD,
    "norm_cv": _CV,
    "log_norm_std": ("0 where balanced", ""),
    "etf_distance": ("etf_distance_least", _NOTHING_IN_COMMON),
    "etf_distance_least": ("", "of so many vectors in so few dimensions"),
    "etf_excess": ("0", "etf_distance above the least"),
    "cosine_mean": _COSINE,
    "cosine_std": _COSINE_STD,
    "etf_deviation": _DEVIATION,
    "kernel_mean": ("{kernel:.3g} at a simplex ETF", "random_kernel_mean: random directions"),
    "kernel_std": ("0 at a simplex ETF", "random_kernel_std: random directions"),
    "random_kernel_mean": ("", ""),
    "random_kernel_std": ("", ""),
    "riesz_log_mean": ("", "0 expected of random directions, far below measured"),
    "nc3_cosine_mean": ("1", "nc3_null_mean: rows of other classes"),
    "nc3_cosine_variance": ("0", "nc3_null_variance: rows of other classes"),
    "nc3_null_mean": ("", ""),
    "nc3_null_std": ("", ""),
    "nc3_null_variance": ("", ""),
    "nc3_self_duality": ("0", _OPPOSITE),
    "nc4_agreement": ("1", "{chance:.3g}: by chance"),
    "nc4_samples": ("", "that were asked"),
}


def as_table(metrics) -> str:
    """A line a metric: its name, value, value at collapse, and scale."""
    values = {field.name: getattr(metrics, field.name) for field in dataclasses.fields(metrics)}
    return _table(values, _WORDS, np.shape(metrics.feature_norms)[-1])


def stream_table(numbers: Mapping[str, Any]) -> str:
    """The same of the metrics of a stream, by name."""
    return _table(numbers, _OF_STREAMS, numbers["num_kept"])


def _table(values: Mapping[str, Any], said: Mapping[str, tuple[str, str]], K: int) -> str:
    # (of one class or none there are no pairs)
    K = max(int(K), 2)
    numbers = {"cosine": -1 / (K - 1), "alike": K / (K - 1), "chance": 1 / K}
    numbers["kernel"] = -np.log(2 * K / (K - 1)) / 2
    rows: list[tuple[str, ...]] = [("metric", "value", "at collapse", "scale")]
    for name, value in values.items():
        rows.append((name, _cell(value), *(word.format(**numbers) for word in said[name])))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = (
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)


def _cell(value) -> str:
    """One number, or the range of several."""
    if value is None:
        return "none"
    array = np.asarray(value)
    if array.dtype == bool:
        return ("yes" if array else "no") if array.ndim == 0 else f"{array.sum()} of {array.size}"
    if array.ndim == 0 and np.issubdtype(array.dtype, np.integer):
        return str(array)
    if array.ndim == 0:
        return f"{array:.3e}"
    return f"{array.min():.3e} … {array.max():.3e}  {array.shape}"
