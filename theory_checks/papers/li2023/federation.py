"""Several clients: what a fixed simplex ETF takes away of their differences, what balanced softmax
puts back, and what averaging after several local steps does to a learned classifier."""

from __future__ import annotations

import functools

import numpy as np

import ufm
from theory_checks.engine.measure import (
    EXACT,
    GEOMETRY,
    VALUE,
    NotConverged,
    Point,
    Setup,
    matrix_claim,
    solve,
)
from theory_checks.engine.registry import Case, Claim, Record, Setting, check
from theory_checks.formulas.cross_entropy import cost
from theory_checks.formulas.frames import contrast
from theory_checks.papers.li2023.formulas import client_problem, cosines

_INSIDE, _OUTSIDE = Setting.INSIDE, Setting.OUTSIDE
_DERIVED = "derived here, for the setting of Li et al. 2023"
_CLIENTS = ((8.0, 1.0, 3.0, 0.0), (1.0, 6.0, 0.0, 2.0), (2.0, 2.0, 1.0, 9.0))


def same_regime(case: Case) -> Setting:
    """Plain cross-entropy on a fixed simplex ETF; samples alike, or clients of one size."""
    p = case.parameters
    sizes = np.sum(p["counts"], axis=1)
    alike = p.get("weighting", "samples") == "samples" or np.ptp(sizes) == 0
    return Setting.all_of(not p["balanced"], alike)


def _clients(name: str, setting: Setting, counts=_CLIENTS, **parameters) -> Case:
    parameters = {"counts": counts, "decay": 0.05, "balanced": False} | parameters
    return Case(name, setting, parameters, build=client_problem)


_ONE_SIZE = ((8.0, 1.0, 3.0, 0.0), (1.0, 6.0, 3.0, 2.0), (1.0, 1.0, 1.0, 9.0))


@check(
    key="li2023/one-optimum",
    formula=r"h^r_k = h^{r'}_k = \xi v_k/\sqrt a,\qquad \xi e^\xi+(K-1)\xi=K/s",
    source=_DERIVED,
    regime=same_regime,
    cases=(
        _clients("samples alike", _INSIDE),
        _clients("clients alike, of one size", _INSIDE, _ONE_SIZE, weighting="uniform"),
        _clients("balanced softmax", _OUTSIDE, balanced=True),
        _clients("clients alike, of several sizes", _OUTSIDE, weighting="uniform"),
    ),
)
def one_optimum(case: Case):
    """Under plain cross-entropy a fixed simplex ETF removes all heterogeneity: every client's
    features of a class are the same, whatever its counts.

    Balanced softmax puts it back: the clients disagree on the direction of a class. Weighting
    clients alike moves lengths, not directions.
    """
    point, p = Point.of(solve(case)), case.parameters
    counts = np.asarray(p["counts"])
    client, label = np.nonzero(counts)
    K, sizes = counts.shape[1], counts.sum(axis=1)
    a = K / (K - 1)
    gap = float(ufm.channels.same_class_gap(K, p["decay"] / a))
    yield Claim("logits", point.logits, gap * contrast(K)[:, label], EXACT)
    yield point.certificate_claim()
    found = cosines(point.logits, label)
    if not p["balanced"]:
        own = np.ones_like(sizes)
        if p.get("weighting") == "uniform":
            own = len(counts) * sizes / sizes.sum()
        gaps = ufm.channels.same_class_gap(K, p["decay"] * own / a)
        yield Claim("cosine with the row", found, np.ones_like(found), EXACT, witness=True)
        lengths = np.linalg.norm(point.features, axis=0)
        yield Claim("lengths", lengths, gaps[client] / np.sqrt(a * a), EXACT, witness=True)


def pooled_problem(*, counts, d: int, lam: float) -> ufm.Problem:
    """All clients together, with a classifier to be learned."""
    return ufm.Problem(
        ufm.one_hot(np.sum(counts, axis=0), collapsed=True),
        loss=ufm.CrossEntropy(),
        widths=(d,),
        lambda_W=lam,
        lambda_H=lam / 2,
    )


def pooled_regime(case: Case) -> Setting:
    """Balanced classes in all, d >= K − 1."""
    pooled = np.sum(case.parameters["counts"], axis=0)
    return Setting.all_of(np.ptp(pooled) == 0, case.parameters["d"] >= len(pooled) - 1)


def _pooled(name: str, setting: Setting, counts, *, lam=0.02) -> Case:
    K = len(counts[0])
    return Case(name, setting, {"counts": counts, "d": K, "lam": lam}, build=pooled_problem)


@check(
    key="li2023/client-gradients",
    formula=(
        r"\|\nabla_WF_r\|^2=\lambda_W^2S\,(1-\tfrac2K)K^2\|\pi^r-\tfrac1K\mathbf 1\|^2,\quad"
        r" WW^\top=SP"
    ),
    source=_DERIVED,
    regime=pooled_regime,
    cases=(
        _pooled("three clients", _INSIDE, ((8, 1, 1), (1, 8, 1), (1, 1, 8))),
        _pooled("four classes", _INSIDE, ((9, 1, 0, 2), (1, 6, 3, 0), (0, 3, 7, 8))),
        _pooled("two classes: no drift", _INSIDE, ((9, 1), (1, 9))),
        _pooled("three clients, all is zero", _INSIDE, ((8, 1, 1), (1, 8, 1), (1, 1, 8)), lam=0.6),
        _pooled("unbalanced in all", _OUTSIDE, ((8, 1, 1), (1, 8, 1), (1, 1, 2))),
    ),
)
def client_gradients(case: Case):
    """At the optimum of all clients together the gradient of each pulls its classifier away, by how
    far its class shares are from equal; for two classes it is zero for every split."""
    point, p = Point.of(solve(case)), case.parameters
    yield point.certificate_claim()
    counts = np.asarray(p["counts"], dtype=float)
    K, lam = counts.shape[1], p["lam"]
    shares = counts / counts.sum(axis=1, keepdims=True)
    W, H = point.classifier, point.class_means
    powers = np.exp(W @ H - (W @ H).max(axis=0))
    residuals = powers / powers.sum(axis=0) - np.eye(K)
    slopes = [(residuals * share) @ H.T + lam * W for share in shares]
    found = [float(np.sum(slope**2)) for slope in slopes]
    S = np.trace(W @ W.T) / (K - 1)
    size = lam**2 * S * K**2
    predicted = size / K**2 * (1 - 2 / K) * K**2 * np.sum((shares - 1 / K) ** 2, axis=1)
    yield matrix_claim(
        "squared gradients",
        np.array(found),
        predicted,
        size=lam**2 * point.weight_size() * K**2,
        like=size,
        tolerance=EXACT,
    )


@functools.cache
def _round():
    """One round: E local steps of every client, features at their best before each, averaged."""
    import jax
    import jax.numpy as jnp

    def features(W, decay):
        """Of every class under W (K, d), by Newton's method from zero, to rounding: the step after
        one that is short goes with its square."""
        K, d = W.shape

        def of_class(target):
            def step(state):
                number, h, _ = state
                p = jax.nn.softmax(W @ h)
                slope = W.T @ (p - target) + decay * h
                curved = (W.T * p[None, :]) @ W - jnp.outer(W.T @ p, W.T @ p) + decay * jnp.eye(d)
                move = jnp.linalg.solve(curved, slope)
                # short where the softmax is far from quadratic
                move /= 1 + jnp.maximum(jnp.max(jnp.abs(W @ move)) - 1, 0)
                short = jnp.max(jnp.abs(move)) <= 1e-12 * jnp.max(jnp.abs(h))
                return number + 1, h - move, short

            start = (0, jnp.zeros(d), False)
            return jax.lax.while_loop(lambda s: (s[0] < 60) & ~s[2], step, start)[1]

        return jax.vmap(of_class)(jnp.eye(K)).T

    def local(W, share, settings):
        """A gradient step of one client."""
        eta, lam, decay = settings
        H = features(W, decay)
        residual = (jax.nn.softmax(W @ H, axis=0) - jnp.eye(len(W))) * share[None, :]
        return W - eta * (residual @ H.T + lam * W)

    def one(W, shares, settings, steps):
        ends = jax.vmap(
            lambda share: jax.lax.fori_loop(0, steps, lambda _, V: local(V, share, settings), W)
        )(shares)
        return jnp.mean(ends, axis=0)

    def many(W, shares, settings, steps, rounds):
        return jax.lax.fori_loop(0, rounds, lambda _, W: one(W, shares, settings, steps), W)

    return jax.jit(many)


def fixed_point(W, counts, *, eta: float, steps: int, lam: float) -> np.ndarray:
    """W Wᵀ where rounds of averaging come to rest; `NotConverged` where they do not."""
    counts = np.asarray(counts, dtype=float)
    shares = counts / counts.sum(axis=1, keepdims=True)
    settings = (eta, lam, lam / 2 * counts.sum())
    rounds = int(30 / (eta * steps * lam))
    run = _round()
    W = np.asarray(run(W, shares, settings, steps, rounds))
    again = np.asarray(run(W, shares, settings, steps, rounds // 10))
    moved = np.max(np.abs(again @ again.T - W @ W.T))
    if not moved < 1e-10:
        raise NotConverged(f"W Wᵀ still moves by {moved:.1e} in {rounds // 10} rounds")
    return again @ again.T


def averaged_regime(case: Case) -> Setting:
    """One local step a round, E = 1; balanced classes in all, d >= K − 1, K √(n λ_W λ_H) < 1."""
    s = Setup.of(case.problem)
    kept = Setting.below(s.K * cost(s), 1.0) is _INSIDE
    return Setting.all_of(pooled_regime(case), case.options["steps"] == 1, kept)


_CYCLE = ((8, 1, 1), (1, 8, 1), (1, 1, 8))
_UNEVEN = ((8, 1, 1), (1, 6, 3), (1, 3, 6))


def _averaged(name, setting, *, steps, counts=_CYCLE, etas=(0.5,), full=False) -> Case:
    options = {"steps": steps, "etas": etas}
    parameters = {"counts": counts, "d": 4, "lam": 0.02}
    return Case(name, setting, parameters, build=pooled_problem, options=options, full=full)


AVERAGED = (
    _averaged("E=1", _INSIDE, steps=1),
    _averaged("E=2", _OUTSIDE, steps=2, etas=(0.5, 0.25)),
    _averaged("E=4", _OUTSIDE, steps=4, etas=(0.5, 0.25, 0.125), full=True),
    _averaged("E=4, counts without symmetry", _OUTSIDE, steps=4, counts=_UNEVEN),
)


@check(
    key="li2023/averaging",
    formula=(
        r"\|WW^\top-SP\|/\|SP\| = O(\eta\,(E-1))\quad\text{at the fixed point of averaging after "
        r"E local steps}"
    ),
    source=_DERIVED,
    regime=averaged_regime,
    cases=AVERAGED,
)
def averaging(case: Case):
    """Rounds of averaging come to rest at the joint optimum only for one local step: with E of
    step size η the Gram of a learned classifier is off by an amount of order η (E − 1).

    Features are at their best before every local step. Where the counts are a cycle the Gram stays
    a simplex ETF and only shrinks; without symmetry its shape moves too.
    """
    point, p = Point.of(solve(case)), case.parameters
    yield point.certificate_claim()
    joint, steps = point.classifier @ point.classifier.T, case.options["steps"]
    size, K = float(np.linalg.norm(joint)), len(joint)
    errors, shapes = [], []
    for eta in case.options["etas"]:
        gram = fixed_point(point.classifier, p["counts"], eta=eta, steps=steps, lam=p["lam"])
        errors.append(float(np.linalg.norm(gram - joint)) / size)
        etf = np.trace(gram) / (K - 1) * contrast(K)
        shapes.append(float(np.linalg.norm(gram - etf)) / size)
    yield Claim("relative error of W Wᵀ", errors, np.zeros(len(errors)), EXACT)
    orders = np.log2(np.array(errors[:-1]) / np.array(errors[1:]))
    for order in orders:
        # halving η halves it, but for the next order
        yield Claim("order in η", float(abs(order - 1) < 0.05), 1.0, VALUE, witness=True)
    shrinks = p["counts"] == _CYCLE
    off = max(shapes) < GEOMETRY
    yield Claim("W Wᵀ is still an ETF", float(off), float(shrinks), VALUE, witness=True)
    columns = {"eta": case.options["etas"], "error": errors, "shape": shapes}
    columns = {name: np.asarray(column, dtype=float) for name, column in columns.items()}
    yield Record("averaging", {**columns, "steps": np.full(len(errors), float(steps))})
