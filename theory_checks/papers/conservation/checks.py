"""The imbalance of neighbouring factors along the flow of any loss."""

from __future__ import annotations

import itertools

import numpy as np

import ufm
from theory_checks.engine.measure import Setup
from theory_checks.engine.registry import Case, Setting, check, one_hot_problem
from theory_checks.engine.trajectories import factors, flow, path_claim, record

# Relative to the initial imbalance, over the full relaxation time 5/λ.
IMBALANCE = 1e-9


def _case(
    name: str,
    setting=Setting.INSIDE,
    *,
    loss,
    M=1,
    bias=None,
    lam=0.01,
    unequal=1.0,
    rates=(1.0, 1.0),
    collapsed=True,
    seed=0,
    full=False,
) -> Case:
    """`unequal` multiplies λ_H; `rates` are the learning rates of the weights and of the
    features."""
    parameters = {
        "class_counts": (6, 3, 2),
        "widths": (4, 5, 4)[:M],
        "lambda_W": lam / rates[0],
        "lambda_H": unequal * lam / rates[1],
        "bias": bias,
        "loss": loss,
        "collapsed": collapsed,
    }
    return Case(
        name,
        setting,
        parameters,
        build=one_hot_problem,
        options={"rates": rates},
        seed=seed,
        full=full,
    )


def imbalance_regime(case: Case) -> Setting:
    """Linear layers under gradient flow in which learning rate times decay is the same for all
    factors, features included."""
    s, (eta_W, eta_H) = Setup.of(case.problem), case.options["rates"]
    speeds = np.append(eta_W * s.lambda_W, eta_H * s.lambda_H)
    return Setting.all_of(bool(np.ptp(speeds) <= 1e-12 * speeds.max()))


_MSE, _CE = "MeanSquaredError", "CrossEntropy"


@check(
    key="conservation/imbalance",
    formula=r"\tfrac{1}{\eta_{m+1}}W_{m+1}^\top W_{m+1} - \tfrac{1}{\eta_m}W_mW_m^\top = "
    r"e^{-2\lambda\eta t}\,(\text{initial}),"
    r"\quad W_0 = H\,\mathrm{diag}(m)^{1/2}",
    source="Saxe et al. 2014 and Du et al. 2018 without decay, by content; with decay derived",
    regime=imbalance_regime,
    cases=(
        _case("squared error, one layer", loss=_MSE),
        _case(
            "squared error, free bias, full columns",
            loss=_MSE,
            bias="free",
            collapsed=False,
            seed=1,
            full=True,
        ),
        _case(
            "squared error, two layers, penalised bias", loss=_MSE, M=2, bias=0.1, seed=2, full=True
        ),
        _case("squared error, three layers", loss=_MSE, M=3, seed=3, full=True),
        _case("cross-entropy, one layer, free bias", loss=_CE, bias="free", full=True),
        _case("cross-entropy, two layers", loss=_CE, M=2, seed=1, full=True),
        _case("cross-entropy, three layers, λ=0.001", loss=_CE, M=3, lam=0.001, seed=2),
        _case("cross-entropy, rates 2 and 1/2, λ to match", loss=_CE, rates=(2.0, 0.5), seed=3),
        _case("squared error, λ_H = 2 λ_W", Setting.OUTSIDE, loss=_MSE, unequal=2.0),
        _case(
            "cross-entropy, two layers, λ_H = λ_W / 2",
            Setting.OUTSIDE,
            loss=_CE,
            M=2,
            unequal=0.5,
            full=True,
        ),
    ),
)
def imbalance(case: Case):
    """Any loss of the logits, any depth: the imbalance of neighbouring factors decays as e^{-2λt}
    and is conserved without decay."""
    problem, (eta_W, eta_H) = case.problem, case.options["rates"]
    decay = eta_W * float(problem.lambda_W[0])
    ts = np.linspace(0, 5 / decay, 41)
    rates = None if (eta_W, eta_H) == (1.0, 1.0) else {"weights": eta_W, "features": eta_H}
    trajectory = flow(
        case,
        ts=ts,
        start=ufm.solvers.random_start(problem, key=case.key, std=1.0),
        observables={"factors": factors},
        path=ufm.flows.Path(rates=rates),
    )
    parts = [np.asarray(part) for part in trajectory.observables["factors"]]
    parts[-1] = parts[-1] * np.sqrt(np.asarray(problem.labels.masses))
    etas = [eta_W] * (len(parts) - 1) + [eta_H]
    # parts are outermost first: the outer factor of a pair gives AᵀA, the inner one BBᵀ
    for i, (outer, inner) in enumerate(itertools.pairwise(parts)):
        measured = (
            outer.swapaxes(1, 2) @ outer / etas[i] - inner @ inner.swapaxes(1, 2) / etas[i + 1]
        )
        law = ufm.laws.imbalance(measured[0], ts, decay=decay)
        yield path_claim(
            f"imbalance of factors {len(parts) - 1 - i} and {len(parts) - 2 - i}",
            measured,
            law,
            tolerance=IMBALANCE,
        )
        yield record(
            f"imbalance {i}",
            ts,
            measured=np.linalg.norm(measured, axis=(1, 2)),
            law=np.linalg.norm(law, axis=(1, 2)),
        )
