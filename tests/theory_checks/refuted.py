"""A theorem that is false, and a closed form that shows it: no search is needed."""

from __future__ import annotations

import functools

import ufm
from theory_checks.engine.counterexamples import Refutation
from theory_checks.engine.measure import Setup
from theory_checks.formulas.deep_points import entropy_problem, etf_scale, etf_value, point_at
from theory_checks.formulas.etf_bound import least_etf_value


@functools.cache
def refutation(K: int = 4, M: int = 3, lam: float = 0.005, bias: float | None = None) -> Refutation:
    """Pairs of classes, or what else is better than the simplex ETF. It is not enclosed yet."""
    problem = entropy_problem((2,) * K, widths=(K,) * M, lambda_W=lam, lambda_H=lam, bias=bias)
    s, best = Setup.of(problem), ufm.laws.deep_candidates(problem)[0]
    least = functools.partial(least_etf_value, K, s.lambda_W.tolist(), s.lambda_H, 2.0)
    params = point_at(problem, best.logits)
    return Refutation.at(best.name, etf_value(etf_scale(s), s), problem, params, least=least)
