r"""Certificate gaps along the way: the duality bound holds at every iterate of every method, and
second order closes it.

One problem, one start, five methods. Step sizes of the first-order recipes are those of a
half-decade grid (1, 3, 10, …) that came closest to the optimum in the budget of `_STEPS`. Newton
and L-BFGS run one step at a time, so that their iterates can be looked at.
"""

from __future__ import annotations

import numpy as np

import ufm
from theory_checks.engine.measure import CERTIFICATE, VALUE
from theory_checks.engine.paths import Path, stepwise
from theory_checks.engine.registry import (
    Case,
    Claim,
    NotConverged,
    Record,
    Setting,
    check,
    one_hot_problem,
)

_STEPS = np.unique(np.concatenate([[0], np.geomspace(1, 10_000, 49).round()]).astype(int))
_INSIDE, _OUTSIDE = Setting.INSIDE, Setting.OUTSIDE


def _recipe(problem: ufm.Problem, start: ufm.Params, solver) -> Path:
    """A first-order recipe at the steps of the figure; one gradient a step."""
    run = ufm.solvers.descend(
        problem, solver, steps=_STEPS, start=start, keep_params=True, progress=False
    )
    if run.result is ufm.Result.INTERRUPTED:
        raise KeyboardInterrupt
    if run.result is not ufm.Result.REACHED_END:
        raise NotConverged(str(run.result))
    assert run.params is not None
    bias = run.params.bias
    points = tuple(
        ufm.Params(
            tuple(W[i] for W in run.params.weights),
            run.params.features[i],
            None if bias is None else bias[i],
        )
        for i in range(len(_STEPS))
    )
    return Path(_STEPS, _STEPS, points)


def _problem(class_counts, *, widths, lambda_W, lambda_H, bias="free"):
    """Cross-entropy with one column a class, from which a recipe takes the same steps as on full
    columns that start equal."""
    return one_hot_problem(
        class_counts,
        widths=widths,
        lambda_W=lambda_W,
        lambda_H=lambda_H,
        bias=bias,
        loss="CrossEntropy",
        collapsed=True,
    )


def wide_regime(case: Case) -> Setting:
    """One linear layer, cross-entropy, equal class counts, d at least the rank of the optimum,
    which is K − 1."""
    problem, counts = case.problem, case.parameters["class_counts"]
    return Setting.all_of(
        problem.depth == 1, len(set(counts)) == 1, problem.feature_dim >= len(counts) - 1
    )


def _case(
    name: str,
    setting: Setting,
    *,
    K: int,
    d: int,
    steps: dict[str, float],
    second=("L-BFGS", "Newton"),
    full=False,
) -> Case:
    parameters = {"class_counts": (100,) * K, "widths": (d,), "lambda_W": 5e-4, "lambda_H": 5e-6}
    return Case(
        name,
        setting,
        parameters,
        build=_problem,
        options={"step sizes": steps, "second order": second},
        full=full,
    )


FIVE_METHODS = _case(
    "K=10, five methods",
    _INSIDE,
    K=10,
    d=16,
    steps={"gradient descent": 100.0, "momentum": 30.0, "Adam": 0.01},
    full=True,
)


@check(
    key="ufm/certificate-along-the-way",
    formula=r"f(x) - f^* \le \mathrm{gap}(x)\,f(x)\ \ \text{for every } x,\qquad "
    r"\mathrm{gap}(x_k)\to 0",
    source="Fenchel duality; see ufm/certificate.py",
    regime=wide_regime,
    cases=(
        _case("K=4, momentum and second order", _INSIDE, K=4, d=4, steps={"momentum": 10.0}),
        FIVE_METHODS,
        _case(
            "K=4, d=2 below the rank of the optimum",
            _OUTSIDE,
            K=4,
            d=2,
            steps={},
            second=("Newton",),
        ),
    ),
)
def certificate_along_the_way(case: Case):
    """The certified gap bounds the distance to the optimum at every iterate of every method; Newton
    and L-BFGS close it to rounding."""
    problem = case.problem
    start = ufm.solvers.random_start(problem, key=case.key)
    recipes = {
        "gradient descent": ufm.solvers.GradientDescent,
        "momentum": ufm.solvers.Momentum,
        "Adam": ufm.solvers.Adam,
    }
    paths = {
        name: _recipe(problem, start, recipes[name](step))
        for name, step in case.options["step sizes"].items()
    }
    second = {"L-BFGS": ufm.solvers.LBFGS(max_steps=1), "Newton": ufm.solvers.Newton(max_steps=1)}
    paths |= {
        name: stepwise(problem, start, second[name])[1] for name in case.options["second order"]
    }
    # the bound is for features of any dimension, so the optimum is that of the wide problem, also
    # where d is too small to reach it
    wide = _problem(**{**case.parameters, "widths": (problem.labels.num_classes,)})
    optimum = float(ufm.closed_form(wide).value)
    for name, path in paths.items():
        certificates = [ufm.certify(problem, point) for point in path.points]
        gap, value = (
            np.array([float(getattr(c, field)) for c in certificates]) for field in ("gap", "value")
        )
        beyond = np.maximum((value - optimum) / value - gap, 0)
        yield Claim(
            f"{name}: distance to the optimum beyond the certified gap",
            beyond,
            np.zeros_like(beyond),
            VALUE,
            witness=True,
        )
        if name in ("Newton", "L-BFGS"):
            points = ((problem, path.points[-1]),) if case.setting is _INSIDE else ()
            yield Claim(f"{name}: gap at the end", gap[-1], 0.0, CERTIFICATE, points=points)
        columns = {
            "step": path.steps,
            "products": path.products,
            "gap": gap,
            "excess": value / optimum - 1,
        }
        yield Record(f"gap of {name}", columns)
