"""Sparse frames, a frozen bias, and heads whose rows are renormalised."""

from __future__ import annotations

import jax
import numpy as np

import ufm
from theory_checks.engine.measure import EXACT, VALUE, NotConverged, Point, solve
from theory_checks.engine.registry import Case, Claim, Record, Setting, check
from theory_checks.formulas.frames import contrast
from theory_checks.formulas.roots import bisect

_INSIDE, _OUTSIDE = Setting.INSIDE, Setting.OUTSIDE
_DERIVED = "derived here, for the recipe of Xiao et al. 2024"


def sparse_regime(case: Case) -> Setting:
    """A support drawn at random whose rows of m_i entries have Σ (m_i − 1)_+ >= 1.1 K(K − 1)/2 in
    expectation."""
    p = case.parameters
    K, d, density = p["K"], p["d"], p["density"]
    # a row of binomially many entries has that many unknowns
    expected = d * (K * density - 1 + (1 - density) ** K)
    return Setting.all_of(expected >= 1.1 * K * (K - 1) / 2)


def _sparse(K: int, d: int, density: float, setting: Setting) -> Case:
    parameters = {"K": K, "d": d, "density": density}
    return Case(f"K={K}, d={d}, density {density:g}", setting, parameters, build=dict)


SPARSE = (
    *(_sparse(10, 20, density, _INSIDE) for density in (0.8, 0.6, 0.5, 0.4)),
    _sparse(10, 12, 0.6, _INSIDE),
    _sparse(10, 12, 0.4, _OUTSIDE),
    _sparse(10, 20, 0.3, _OUTSIDE),
    _sparse(10, 20, 0.2, _OUTSIDE),
)


@check(
    key="xiao2024/sparse-frame",
    formula=(
        r"V^\top V=\tfrac K{K-1}P\ \text{on a random support of}\ "
        r"\sum_i(m_i-1)_+\ge\tfrac{K(K-1)}2\ \text{unknowns}"
    ),
    source=_DERIVED,
    regime=sparse_regime,
    cases=SPARSE,
)
def sparse_frame(case: Case):
    """Sparsity costs nothing while the support has unknowns enough: a random one holds an exact
    simplex ETF, and where it has too few none is found.

    That is a count and no theorem: supports made on purpose may need fewer. Haar's wavelets have
    K log K entries.
    """
    p = case.parameters
    found = ufm.frames.sparse_etf(p["K"], p["d"], p["density"], key=case.key)
    yield Claim("VᵀV − aP", found.error, 0.0, VALUE)
    haar = ufm.frames.haar_etf(8)
    off = np.max(np.abs(haar.T @ haar - 8 / 7 * contrast(8)))
    yield Claim("Haar's wavelets", float(off), 0.0, VALUE, witness=True)
    columns = {"density": p["density"], "error": found.error, "d": p["d"]}
    yield Record("sparse", {name: np.array([float(x)]) for name, x in columns.items()})


def biased_problem(*, K, decay, bias, skew) -> ufm.Problem:
    """Plain cross-entropy under a fixed unit ETF, a frozen bias as offsets of every column."""
    W = np.asarray(ufm.simplex_etf(K).T)
    W = W + skew * np.roll(W, 1, axis=0)
    labels = ufm.one_hot((3.0,) * K, collapsed=True)
    labels = ufm.labels.with_offsets(labels, np.asarray(bias, dtype=float))
    return ufm.Problem(
        labels,
        loss=ufm.CrossEntropy(),
        widths=(K,),
        lambda_W=0.0,
        lambda_H=decay / (3 * K),
        fixed_weights=(W,),
    )


def biased_regime(case: Case) -> Setting:
    """A fixed simplex ETF, and a frozen bias that is the same for all classes."""
    p = case.parameters
    return Setting.all_of(np.ptp(p["bias"]) == 0, p["skew"] == 0)


def _biased(name: str, setting: Setting, bias, skew=0.0) -> Case:
    parameters = {"K": len(bias), "decay": 0.05, "bias": bias, "skew": skew}
    return Case(name, setting, parameters, build=biased_problem)


@check(
    key="xiao2024/frozen-bias",
    formula=r"h_y=\xi v_y/a\iff b\in\mathbb R\mathbf 1;\quad z_k=-W_0(e^{b_k}\tau_y)",
    source=_DERIVED,
    regime=biased_regime,
    cases=(
        _biased("no bias", _INSIDE, (0.0,) * 5),
        _biased("one bias for all", _INSIDE, (0.7,) * 5),
        _biased("a random bias", _OUTSIDE, (0.3, -0.4, 0.1, 0.25, -0.2)),
    ),
)
def frozen_bias(case: Case):
    """A random bias that is frozen with the classifier tilts the features off its rows: it acts as
    the logarithms of class counts do in balanced softmax, with the same closed form."""
    point, p = Point.of(solve(case)), case.parameters
    K = p["K"]
    s = p["decay"] * (K - 1) / K
    gap = float(ufm.channels.same_class_gap(K, s))
    yield Claim("logits along the rows", point.logits, gap * contrast(K), EXACT)
    tilted = ufm.laws.balanced_softmax_logits(np.exp(p["bias"]), strength=s)
    yield Claim("logits, balanced softmax of e^b", point.logits, tilted, EXACT, witness=True)
    yield point.certificate_claim()
    if case.id == "one bias for all":
        root = float(bisect(lambda first: _tilt(case, float(first)), -1.0, 2.0, steps=42))
        yield Claim("bias of the first class that tilts none", root, 0.7, EXACT)


def _tilt(case: Case, first: float) -> float:
    """z_3 − z_1 of the second class with another bias of the first, as found."""
    bias = (first, *case.parameters["bias"][1:])
    found = ufm.minimise(
        biased_problem(**{**case.parameters, "bias": bias}), key=case.key, progress=False
    )
    return float(found.logits[2, 1] - found.logits[0, 1])


def head_of(case: Case) -> np.ndarray:
    """min over W of Σ ω CE(W h_k, e_k) + λ/2 ‖W‖², by Newton's method from a random start."""
    p = case.parameters
    counts, lam = np.asarray(p["counts"], dtype=float), p["lam"]
    K, shares = len(counts), counts / counts.sum()
    # the features of a fixed simplex ETF, whatever the counts
    gap = float(ufm.channels.same_class_gap(K, p["decay"] * (K - 1) / K))
    H = gap * (K - 1) / K * np.asarray(ufm.simplex_etf(K))
    W = np.asarray(jax.random.normal(case.key, (K, K)))

    def value_of(W):
        Z = W @ H
        top = Z.max(axis=0)
        losses = top + np.log(np.exp(Z - top).sum(axis=0)) - np.diag(Z)
        return float(shares @ losses + lam / 2 * np.sum(W**2))

    slope = np.full_like(W, np.inf)
    for _ in range(200):
        powers = np.exp(W @ H - (W @ H).max(axis=0))
        p_of = powers / powers.sum(axis=0)
        slope = ((p_of - np.eye(K)) * shares) @ H.T + lam * W
        curved = lam * np.eye(K * K)
        for q, h, share in zip(p_of.T, H.T, shares, strict=True):
            curved = curved + share * np.kron(np.diag(q) - np.outer(q, q), np.outer(h, h))
        step = np.linalg.solve(curved, slope.ravel()).reshape(K, K)
        if np.linalg.norm(slope) < 1e-15:
            break
        size, here = 1.0, value_of(W)
        while value_of(W - size * step) > here + 1e-15 and size > 1e-8:
            size /= 2
        W = W - size * step
    if not np.linalg.norm(slope) < 1e-12:
        raise NotConverged(f"gradient {np.linalg.norm(slope):.1e} of a convex head")
    return W


def head_regime(case: Case) -> Setting:
    """Features of a fixed simplex ETF, balanced classes, a linear head with decay."""
    return Setting.all_of(np.ptp(case.parameters["counts"]) == 0)


def _head(name: str, setting: Setting, counts) -> Case:
    return Case(name, setting, {"counts": counts, "decay": 0.05, "lam": 1e-3}, build=dict)


HEADS = (
    _head("balanced", _INSIDE, (5, 5, 5, 5, 5)),
    _head("2 … 1", _OUTSIDE, (10, 8, 7, 6, 5)),
    _head("10 … 1", _OUTSIDE, (50, 28, 16, 9, 5)),
    _head("100 … 1", _OUTSIDE, (100, 32, 10, 3, 1)),
)


@check(
    key="xiao2024/renormalised-head",
    formula=r"\lambda_WW=\sum_k\omega_k(e_k-p_k)h_k^\top,\qquad w_k\parallel v_k\iff n_1=\dots=n_K",
    source=_DERIVED,
    regime=head_regime,
    cases=HEADS,
)
def renormalised_head(case: Case):
    """The global head on features of a fixed simplex ETF has rows along the frame if the classes
    are balanced. On a long tail rows of frequent classes are longer, and rows turn: renormalising
    their lengths does not turn them back."""
    W, counts = head_of(case), np.asarray(case.parameters["counts"], dtype=float)
    K = len(W)
    V = np.asarray(ufm.simplex_etf(K).T)
    lengths = np.linalg.norm(W, axis=1)
    found = np.sum(W * V, axis=1) / lengths / np.linalg.norm(V, axis=1)
    degrees = np.degrees(np.arccos(np.clip(found, -1, 1)))
    yield Claim("cosine of row and frame", found, np.ones(K), EXACT)
    yield Claim("lengths", lengths / lengths.mean(), np.ones(K), EXACT)
    rises = float(np.all(np.diff(lengths[np.argsort(counts, kind="stable")]) >= -1e-9))
    yield Claim("lengths rise with counts", rises, 1.0, VALUE, witness=True)
    yield Record("rows", {"count": counts, "length": lengths, "degrees": degrees})
    if case.setting is _INSIDE:

        def turn(first: float) -> float:
            other = {**case.parameters, "counts": (first, *counts[1:])}
            W = head_of(Case(case.id, _OUTSIDE, other, dict))
            return float(W[1] @ (V[2] - V[0]))

        # (the more frequent a class is, the more it repels the row)
        root = float(bisect(lambda first: turn(float(first)), 1.0, 20.0, steps=42))
        yield Claim("count of the first class that turns none", root, 5.0, EXACT, scale=5.0)
