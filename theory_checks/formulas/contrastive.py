"""Supervised contrastive problems, what is found of them, and the loss as it is written."""

from __future__ import annotations

import numpy as np

import ufm
from theory_checks.engine.measure import VALUE, Point
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


def of_samples(class_counts, between: np.ndarray) -> np.ndarray:
    """The Gram of all samples from that of the classes."""
    index = np.repeat(np.arange(len(class_counts)), class_counts)
    return between[np.ix_(index, index)]


def written_claim(case: Case, point: Point) -> Claim:
    """The objective as the paper writes it, over N."""
    p, X = case.parameters, embedded(point.problem, point.params)
    written = loss_of(p["class_counts"], X, p.get("temperature", 1.0))
    written += p.get("decay", 0.0) / 2 * float(np.sum(X**2)) / sum(p["class_counts"])
    return Claim("as it is written", point.value, written, VALUE, scale=written, witness=True)
