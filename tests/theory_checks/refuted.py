"""Theorems that are false, and what shows it without a search."""

from __future__ import annotations

import functools

import jax
import numpy as np

import ufm
from theory_checks.engine.counterexamples import Refutation
from theory_checks.engine.measure import Setup
from theory_checks.formulas.deep_points import entropy_problem, etf_scale, etf_value, point_at
from theory_checks.formulas.etf_bound import etf_floor
from theory_checks.formulas.etf_classifier import EtfClassifier
from theory_checks.papers.li2023.formulas import aligned_least, aligned_value, client_problem


@functools.cache
def refutation(K: int = 4, M: int = 3, lam: float = 0.005, bias: float | None = None) -> Refutation:
    """Pairs of classes, or what else is better than the simplex ETF. It is not enclosed yet."""
    problem = entropy_problem((2,) * K, widths=(K,) * M, lambda_W=lam, lambda_H=lam, bias=bias)
    s, best = Setup.of(problem), ufm.laws.deep_candidates(problem)[0]
    least = functools.partial(etf_floor, K, s.lambda_W.tolist(), s.lambda_H, 2.0)
    params = point_at(problem, best.logits)
    return Refutation.at(best.name, etf_value(etf_scale(s), s), problem, params, least=least)


@functools.cache
def unequal_temperatures() -> Refutation:
    """Temperatures, soft targets and loss weights, under which no ETF classifier is the best."""
    problem = ufm.Problem(
        ufm.soft(np.array([[0.9, 0.0, 0.0], [0.1, 1.0, 0.0], [0.0, 0.0, 1.0]]), [5.0, 1.0, 1.0]),
        loss=ufm.losses.AdjustedCrossEntropy(multiplicative=[1.0, 0.5, 0.75]),
        widths=(3,),
        lambda_W=1e-3,
        lambda_H=1e-3,
    )
    found = ufm.minimise(problem, key=jax.random.key(0), progress=False)
    etf = EtfClassifier.of(problem)
    return Refutation.at("the minimum", etf.value(), problem, found.params, least=etf.least)


@functools.cache
def missing_class() -> Refutation:
    """A client without the last class, whose features do not go to the rows of theirs."""
    problem = client_problem(counts=(4, 3, 2, 0), decay=0.02)
    found = ufm.minimise(problem, key=jax.random.key(0), progress=False)
    claimed, least = aligned_value(problem), functools.partial(aligned_least, problem)
    return Refutation.at("the minimum", claimed, problem, found.params, least=least)
