"""A record of metrics in print: beside each value what it is at collapse, and what without it."""

from __future__ import annotations

import dataclasses

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


def as_table(metrics) -> str:
    """A line a metric: its name, value, value at collapse, and scale."""
    K = np.shape(metrics.feature_norms)[-1]
    numbers = {"cosine": -1 / (K - 1), "alike": K / (K - 1), "chance": 1 / K}
    rows = [("metric", "value", "at collapse", "scale")]
    for field in dataclasses.fields(metrics):
        words = [word.format(**numbers) for word in _WORDS[field.name]]
        rows.append((field.name, _cell(getattr(metrics, field.name)), *words))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = (
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)


def _cell(value) -> str:
    """One number, or the range of several."""
    array = np.asarray(value)
    if array.dtype == bool:
        return ("yes" if array else "no") if array.ndim == 0 else f"{array.sum()} of {array.size}"
    if array.ndim == 0:
        return f"{array:.3e}"
    return f"{array.min():.3e} … {array.max():.3e}  {array.shape}"
