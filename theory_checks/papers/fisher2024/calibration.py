r"""Fisher, Meng, Papyan 2024: what the model can say of calibration with mixup, and what it cannot.

A mixed point is calibrated up to decay: its probabilities are $p = q - s z$, so with labels drawn
from q the expected calibration error is of order s log(1/s). The model has no test set, and a clean
point is one of its own class: always right, so that its calibration error is 1 − p_i. Mixup makes
that larger for K = 3, and for K = 10 larger or smaller as the decay is large or small. What the
model says for mixup is therefore said of mixed points.

Without mixup a mixed point has no feature in the model. To compare, the columns "interpolated" give
it λ h_i + (1−λ) h_j.
"""

from __future__ import annotations

import numpy as np

import ufm
from theory_checks.engine.measure import GEOMETRY, Point, solve
from theory_checks.engine.registry import Case, Claim, Record, Setting, check
from theory_checks.papers.fisher2024 import formulas
from theory_checks.papers.fisher2024.joint import etf_regime, joint_problem, learned

_INSIDE, _OUTSIDE = Setting.INSIDE, Setting.OUTSIDE
_BINS = 15


def _case(
    name: str, setting: Setting, *, K: int = 3, decay: float, lowers: bool, full=False, **parameters
) -> Case:
    """`lowers`: whether mixup makes the confidence in clean points smaller."""
    parameters = {"num_classes": K, "alpha": 1.0, "lambda_W": decay, "mu": decay} | parameters
    return Case(
        name, setting, parameters, build=joint_problem, options={"lowers": lowers}, full=full
    )


def _reliability(
    logits: np.ndarray, targets: np.ndarray, masses: np.ndarray
) -> ufm.analysis.Reliability:
    return ufm.analysis.reliability(formulas.softmax(logits), ufm.soft(targets, masses), bins=_BINS)


def _curve(name: str, curve: ufm.analysis.Reliability) -> Record:
    columns = {"confidence": curve.confidence, "accuracy": curve.accuracy, "mass": curve.masses}
    return Record(
        f"reliability of mixed points, {name}",
        {key: np.asarray(column) for key, column in columns.items()},
    )


DECAYS = (
    _case("K=3, μ=0.05: clean confidence lower", _INSIDE, decay=0.05, lowers=True),
    _case("K=3, μ=0.005", _INSIDE, decay=0.005, lowers=True),
    _case("K=3, μ=0.0005", _INSIDE, decay=0.0005, lowers=True),
)


@check(
    key="fisher2024/calibration",
    formula=(
        r"q-p=sz,\quad \mathrm{ECE}=\sum_b\omega_b\big|\mathbb E[s z_{\hat k}\mid b]\big|\le "
        r"s\,\mathbb E|z_{\hat k}|,\quad"
        r" p_i=\tfrac{e^\xi}{e^\xi+K-1}\text{ on clean points}"
    ),
    source="derived here; Fisher, Meng & Papyan 2024 relate their features to calibration",
    regime=etf_regime,
    cases=(
        *DECAYS,
        *(
            _case(f"K=3, μ={mu:g}", _INSIDE, decay=mu, lowers=True, full=True)
            for mu in (0.2, 0.1, 0.02, 0.01, 0.002, 0.001)
        ),
        _case(
            "K=10, μ=0.01: clean confidence higher",
            _INSIDE,
            K=10,
            decay=0.01,
            lowers=False,
            d=9,
            full=True,
        ),
        _case(
            "K=10, μ=0.05: clean confidence lower",
            _INSIDE,
            K=10,
            decay=0.05,
            lowers=True,
            d=9,
            full=True,
        ),
        _case("unequal class counts", _OUTSIDE, decay=0.05, lowers=True, class_counts=(4, 2, 1)),
    ),
)
def calibration(case: Case):
    """With mixup the probabilities of mixed points follow the mixture, p = q − s z; confidence in
    clean points may fall or rise."""
    point, p = Point.of(solve(case)), case.parameters
    K, lambda_W, mu, labels = p["num_classes"], p["lambda_W"], p["mu"], case.problem.labels
    yield point.certificate_claim()
    s = learned(case)
    pairs = ufm.labels.mixed_pairs(labels)
    mixed, targets, masses = ~pairs.same, np.asarray(labels.targets), np.asarray(labels.masses)
    predicted = formulas.two_class_logits(K, pairs.first, pairs.second, pairs.lam, s)
    yield Claim("q − p = s z", targets - formulas.softmax(point.logits), s * predicted, GEOMETRY)

    with_mixup = _reliability(point.logits[:, mixed], targets[:, mixed], masses[mixed])
    error = formulas.calibration_error(
        formulas.softmax(predicted[:, mixed]), targets[:, mixed], masses[mixed], _BINS
    )
    yield Claim("ECE of mixed points", float(with_mixup.ece), error, GEOMETRY)
    top = np.argmax(predicted[:, mixed], axis=0)
    z_top = np.abs(predicted[:, mixed][top, np.arange(mixed.sum())])
    yield Claim(
        "E|q − p| of the predicted class",
        float(with_mixup.deviation),
        s * float(np.average(z_top, weights=masses[mixed])),
        GEOMETRY,
    )
    clean = _reliability(point.logits[:, :K], np.eye(K), masses[:K])
    confidence = _confidence(K, float(formulas.same_class_gap(K, s)))
    yield Claim("ECE of clean points is 1 − p_i", float(clean.ece), 1 - confidence, GEOMETRY)

    plain = ufm.Problem(
        ufm.one_hot(np.full(K, 1 / K), collapsed=True),
        loss=ufm.CrossEntropy(),
        widths=case.problem.widths,
        lambda_W=lambda_W,
        lambda_H=mu,
    )
    unmixed = np.asarray(ufm.minimise(plain, key=case.key, progress=False, throw=True).logits)
    gap = formulas.unmixed_gap(K, lambda_W, mu)
    clean_without = float(np.mean(np.diagonal(formulas.softmax(unmixed))))
    yield Claim("p_i without mixup", clean_without, _confidence(K, gap), GEOMETRY)
    change = np.sign(float(np.mean(clean.confidence[clean.masses > 0])) - clean_without)
    yield Claim(
        "mixup lowers p_i: sign of the change",
        change,
        -1.0 if case.options["lowers"] else 1.0,
        GEOMETRY,
    )
    without = _reliability(unmixed @ targets[:, mixed], targets[:, mixed], masses[mixed])
    # interpolated features have the logits ξ (q − 1/K)
    error = formulas.calibration_error(
        formulas.softmax(gap * targets[:, mixed]), targets[:, mixed], masses[mixed], _BINS
    )
    yield Claim("ECE of mixed points, interpolated", float(without.ece), error, GEOMETRY)

    yield _curve("with mixup", with_mixup)
    yield _curve("without mixup, interpolated", without)
    numbers = {
        "decay": mu,
        "strength": s,
        "multiplier": float(np.sqrt(np.mean(np.sum(point.classifier**2, axis=1)))),
        "gap": float(formulas.same_class_gap(K, s)),
        "gap_without": gap,
        "clean_confidence": float(clean.confidence[clean.masses > 0][0]),
        "clean_confidence_without": clean_without,
        "ece": float(with_mixup.ece),
        "ece_without": float(without.ece),
        "underconfidence": float(with_mixup.underconfidence),
        "underconfidence_without": float(without.underconfidence),
        "ece_clean": float(clean.ece),
        "ece_clean_without": 1 - clean_without,
    }
    yield Record("calibration", {name: np.array([number]) for name, number in numbers.items()})


def _confidence(K: int, gap: float) -> float:
    """p of a class whose logit is by `gap` above the others."""
    return float(1 / (1 + (K - 1) * np.exp(-gap)))
