"""Flows of chains of several depths from the same kind of start, and the margins they reach."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

import ufm
from theory_checks.engine.claims import Claim, Record
from theory_checks.engine.measure import VALUE
from theory_checks.engine.registry import Case, NotConverged, Setting, check
from theory_checks.engine.trajectories import factors, one_sided_claim, params
from theory_checks.formulas.frames import largest_margin

_INSIDE, _OUTSIDE = Setting.INSIDE, Setting.OUTSIDE
_FLOWS = 16
# a median is lower than another if by this share: between depths it falls by 4 to 40 %
_CLEARLY = 0.01
# (medians over starts need no more; the margin moves by less than 1e-6 at a thousandth of it)
_RTOL = 1e-8
_OBSERVABLES: dict[str, Any] = {"factors": factors}


def _case(K: int, d: int, setting=_INSIDE, *, depths, until: float, start="random", full=False):
    parameters = {"K": K, "d": d, "depths": depths, "until": until, "start": start}
    depth = ", ".join(map(str, depths))
    name = f"K = {K}, d = {d}, M = {depth}" + ("" if start == "random" else f", {start}")
    return Case(name, setting, parameters, build=dict, full=full)


DEPTHS = (1, 2, 4, 8)
# made once: the figure asks for these very cases
FLOW_CASES = (
    _case(5, 2, depths=DEPTHS, until=1e12, full=True),
    _case(6, 3, depths=DEPTHS, until=1e12, full=True),
    _case(8, 4, depths=DEPTHS, until=1e12, full=True),
)


def chain(K: int, d: int, M: int) -> ufm.Problem:
    """M matrices of width d and K classes of one sample, without decay."""
    return ufm.Problem(
        ufm.one_hot((1,) * K),
        loss=ufm.CrossEntropy(),
        widths=(d,) * M,
        lambda_W=0.0,
        lambda_H=0.0,
    )


def balanced(left: np.ndarray, right: np.ndarray, M: int, rng) -> ufm.Params:
    """Balanced factors with the logits `left @ right.T`, (K, d) with orthonormal columns both."""
    d = left.shape[1]
    inner = [np.linalg.qr(rng.standard_normal((d, d)))[0] for _ in range(M)]
    *weights, H = (a @ b.T for a, b in itertools.pairwise([left, *inner, right]))
    return params(weights, H)


def _starts(case: Case, M: int) -> list[ufm.Params]:
    """Logits with d singular values of 1: at random, or those of the softmax code."""
    p, found = case.parameters, []
    for seed in range(_FLOWS):
        rng = np.random.default_rng([seed, p["K"], p["d"]])
        left, right = (np.linalg.qr(rng.standard_normal((p["K"], p["d"])))[0] for _ in range(2))
        if p["start"] != "random":
            code = ufm.frames.polygon(p["K"]).vectors
            left = right = code / np.sqrt(p["K"] / p["d"])
        found.append(balanced(left, right, M, rng))
    return found


def last_layer(stacked: tuple[np.ndarray, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Rows of W_M (…, K, d) and features behind W_1 (…, d, K), of unit length, of factors."""
    W, *inner, H = stacked
    for factor in reversed(inner):
        H = factor @ H
    rows = W / np.linalg.norm(W, axis=-1, keepdims=True)
    return rows, H / np.linalg.norm(H, axis=-2, keepdims=True)


def least_lead(rows: np.ndarray, features: np.ndarray) -> np.ndarray:
    """By how much an own logit leads at least, (…)."""
    Z = rows @ features
    own = np.diagonal(Z, axis1=-2, axis2=-1)[..., None, :]
    return np.where(np.eye(Z.shape[-1]) > 0, np.inf, own - Z).min(axis=(-2, -1))


def _measured(case: Case, M: int) -> dict[str, np.ndarray]:
    """Time, and the loss, margin ρ, least lead and spread of singular values of every flow (T,
    flows)."""
    p = case.parameters
    ts = np.geomspace(1.0, p["until"], round(np.log10(p["until"])) + 1)
    flows = ufm.flows.flow_batch(
        chain(p["K"], p["d"], M),
        ufm.flows.Flow(
            ts,
            observables=ufm.flows.Record(_OBSERVABLES, keep_params=False),
            integration=ufm.flows.Integration(rtol=_RTOL, steady=0.0),
        ),
        starts=_starts(case, M),
        progress=False,
    )
    if not np.all(np.asarray(flows.code) == int(ufm.Result.REACHED_END)):
        raise NotConverged(str(flows.results))
    stacked = tuple(np.asarray(factor) for factor in flows.observables["factors"])
    rows, features = last_layer(stacked)
    rho = np.array([[ufm.frames.one_vs_rest_margin(W) for W in run] for run in rows])
    product = stacked[0]
    for factor in stacked[1:]:
        product = product @ factor
    values = np.linalg.svd(product, compute_uv=False)
    return {
        "t": ts,
        "loss": np.asarray(flows.value).T,
        "margin": rho.T,
        "lead": least_lead(rows, features).T,
        "spread": (values[..., p["d"] - 1] / values[..., 0]).T,
    }


def regime(case: Case) -> Setting:
    """K > d classes of one sample, hidden widths d, no decay, balanced factors at a random start
    with d equal singular values."""
    p = case.parameters
    return Setting.all_of(p["K"] > p["d"], p["start"] == "random")


@check(
    key="ours_depth/away-from-codes",
    formula=r"\operatorname{med}\rho(\hat W_M)\ \text{falls with}\ M,\qquad"
    r"\rho(\hat W)\le\max_W\rho",
    source="ours: an experiment; measured on 16 flows",
    regime=regime,
    cases=(
        _case(5, 2, depths=(1, 4), until=1e6),
        _case(5, 2, _OUTSIDE, depths=(1, 4), until=1e6, start="from the softmax code"),
        *FLOW_CASES,
    ),
)
def away_from_codes(case: Case):
    """With more classes than dimensions and without decay, the deeper a linear chain is, the
    further its last layer is below the softmax code's margin at one time, and the less is left of
    the smallest direction of its logits: medians over 16 random starts.

    How far they are when time goes to infinity is not claimed: margins move like 1/ln t. From the
    code itself they stay at it, whatever the depth.
    """
    p = case.parameters
    best = largest_margin(p["K"], p["d"])
    by_depth = {M: _measured(case, M) for M in p["depths"]}
    highest = max(float(np.max(columns["margin"])) for columns in by_depth.values())
    yield one_sided_claim("a margin above the softmax code's", highest / best - 1)
    for name in ("margin", "lead", "spread"):
        medians = [float(np.median(columns[name][-1])) for columns in by_depth.values()]
        falls = [
            float(deeper < shallower * (1 - _CLEARLY))
            for shallower, deeper in itertools.pairwise(medians)
        ]
        yield Claim(f"{name} falls from depth to depth (1: yes)", falls, np.ones(len(falls)), VALUE)
    for M, columns in by_depth.items():
        table = {"t": columns["t"], "code": np.full(len(columns["t"]), best)}
        for name in ("loss", "margin", "lead", "spread"):
            for word, share in (("low", 0.25), ("median", 0.5), ("high", 0.75)):
                table[f"{name} {word}"] = np.quantile(columns[name], share, axis=1)
        yield Record(f"M = {M}", table)
