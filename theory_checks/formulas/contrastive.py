r"""Supervised contrastive problems, and a lower bound of them over all Grams.

At dual columns u of cross-entropy, $V = [\omega_cu_c]$, every Gram $G\succeq0$ has a loss of at
least $\langle\mathrm{sym}(V)/\tau, G\rangle - \sum_c\omega_c\ell^*(u_c)$, so that with decay the
objective is at least $-\sum\omega\ell^*(u)$ where $A = \mathrm{sym}(V)/\tau +
\tfrac{\lambda_H}2I\succeq0$, and with $\|h\|\le1$ at least that less $\sum\nu$ where
$\mathrm{sym}(V)/\tau + \mathrm{diag}(\nu)\succeq0$, ν >= 0. Grams of nonnegative features have no
negative entries, so that positive ones of A off the diagonal may be dropped first. Derived.
"""

from __future__ import annotations

import numpy as np

import ufm
from theory_checks.engine.measure import CERTIFICATE, VALUE, Point
from theory_checks.engine.registry import Case, Claim


def contrastive_problem(class_counts, *, dim, kind, temperature=1.0, decay=0.0):
    """`kind`: "sphere", "ball", "decay", "nonnegative sphere" or "nonnegative decay".

    The objective is 1/N of $\\sum_i(\\dots) + \\tfrac\\lambda2\\|H\\|^2$ with λ = `decay`.
    """
    N = sum(class_counts)
    domains = {
        "ball": ufm.domains.Ball(1.0),
        "decay": ufm.domains.Real(),
        "nonnegative decay": ufm.domains.Nonnegative(),
    }
    return ufm.Problem(
        ufm.labels.contrastive(class_counts),
        loss=ufm.CrossEntropy(),
        widths=(dim,),
        lambda_W=0.0,
        lambda_H=decay / N,
        features=domains.get(kind, ufm.domains.Sphere(1.0)),
        fixed_weights=(np.zeros((N, dim)),),
        map=ufm.maps.Tied(temperature, nonnegative=kind == "nonnegative sphere"),
    )


def contrastive_case(
    name, setting, counts, dim, *, kind, starts, temperature=1.0, full=False
) -> Case:
    """A case without decay."""
    parameters = {"class_counts": counts, "dim": dim, "kind": kind, "temperature": temperature}
    return Case(name, setting, parameters, build=contrastive_problem, starts=starts, full=full)


def embedded(problem: ufm.Problem, params: ufm.Params) -> np.ndarray:
    """X (d, N)."""
    return np.asarray(problem.head(params).features)


def loss_of(class_counts, X: np.ndarray, temperature: float) -> float:
    """The mean over samples that have a positive, written out."""
    index = np.repeat(np.arange(len(class_counts)), class_counts)
    Z, terms = X.T @ X / temperature, []
    for i, k in enumerate(index):
        others = np.arange(len(index)) != i
        same = others & (index == k)
        if same.any():
            terms.append(np.log(np.exp(Z[others, i]).sum()) - Z[same, i].mean())
    return float(np.mean(terms))


def gram_bound(problem: ufm.Problem, params: ufm.Params) -> float:
    """The lower bound that the gradient at a point gives, for every dimension."""
    labels, tied = problem.labels, problem.map
    assert isinstance(tied, ufm.maps.Tied), tied
    tau, decay = float(tied.temperature), float(problem.lambda_H)
    q, omega = np.asarray(labels.targets), np.asarray(labels.column_weights)
    X = embedded(problem, params)
    G = X.T @ X
    Z = G / tau
    np.fill_diagonal(Z, -np.inf)
    p = np.exp(Z - Z.max(axis=0))
    p = p / p.sum(axis=0)
    u = p - q
    bounded = problem.features.compact
    symmetric = (u * omega + (u * omega).T) / (2 * tau)
    nonnegative = problem.features.nonnegative or tied.nonnegative
    if nonnegative:
        symmetric = np.where((symmetric > 0) & (G < 1e-6), 0, symmetric)
    if bounded:
        # A G = 0 at a stationary point; what is short of semidefinite is made up for
        nu = np.maximum(-np.diag(symmetric @ G), 0)
        short = min(0.0, np.linalg.eigvalsh(symmetric + np.diag(nu)).min())
        cost, t = float(np.sum(nu - short)), 1.0
    else:
        top = np.linalg.eigvalsh(-symmetric).max()
        cost, t = 0.0, min(1.0, decay / 2 / top) if top > 0 else 1.0
    a = q + t * u
    entropy = np.sum(np.where(a > 0, a * np.log(np.where(a > 0, a, 1)), 0), axis=0)
    return float(-omega @ entropy - cost)


def of_samples(class_counts, between: np.ndarray) -> np.ndarray:
    """The Gram of all samples from that of the classes."""
    index = np.repeat(np.arange(len(class_counts)), class_counts)
    return between[np.ix_(index, index)]


def bound_claim(case: Case, point: Point) -> Claim:
    """The relative distance of the value from the bound over all Grams, where it must close."""
    gap = (point.value - gram_bound(point.problem, point.params)) / point.value
    return Claim("gap to the bound over all Grams", gap, 0.0, CERTIFICATE, witness=True)


def written_claim(case: Case, point: Point) -> Claim:
    """The objective as the paper writes it, over N."""
    p, X = case.parameters, embedded(point.problem, point.params)
    written = loss_of(p["class_counts"], X, p.get("temperature", 1.0))
    written += p.get("decay", 0.0) / 2 * float(np.sum(X**2)) / sum(p["class_counts"])
    return Claim("as it is written", point.value, written, VALUE, scale=written, witness=True)
