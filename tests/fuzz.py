"""Random one-layer problems, extreme but valid: is anything printed that is false?

    python -m tests.fuzz --number 100000 --jobs 2    (the full run, well under two hours, two cores)
    python -m tests.fuzz --number 2000 --seed 7 --json FILE

Decay from 1e-12 to 1e3, long tails, one-hot, smoothed, soft and centred targets, every bias and
convex loss, sums of losses, offsets of logits and dropped classes. Each problem is solved from a
random start and certified at the solution, at a random point and at the origin. Faults:

- `bound`: a lower bound above the objective at any of the points, recomputed in extended precision;
- `gap`: a negative gap, a gap that is no number, or a certificate called invalid;
- `closes`: a certificate that closes although a known point lies lower by more than its tolerance;
- `closed form`: a prediction below a lower bound, by more than the rounding of the prediction;
- `refuted`: `compare` says that a point lies below the prediction;
- `ended`: the solver ended with neither a result nor advice (not finite).

The seed of a run is printed, and with it every fault can be had again: problem i of a seed is the
same in every run.
"""

from __future__ import annotations

import argparse
import collections
import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import jax
import jax.numpy as jnp
import numpy as np

import ufm

# (loss, bias, K, d, C): the shapes compiled, 40 of them; everything else about a problem is drawn
LOSSES = ("squared", "rescaled", "entropy", "adjusted")
SIZES = ((2, 3, 2), (4, 4, 7), (10, 9, 10))
BIASES = (None, "free", "penalised")
SHAPES = (
    *((loss, bias, *size) for loss in LOSSES for bias in BIASES for size in SIZES),
    ("offset", None, *SIZES[1]),
    ("offset", "free", *SIZES[1]),
    ("sum", None, *SIZES[0]),
    ("sum", "penalised", *SIZES[1]),
)
# the sample that the test-suite runs: every loss and kind of bias, few programs
SAMPLE = (2, 10, 16, 21, 24, 37, 38)
# relative rounding that a prediction may carry: its formulas are sums of a few terms >= 0
PREDICTED = 1e-13
_LEAST, _LARGEST = -12.0, 3.0


@dataclass(frozen=True)
class Draw:
    """One random problem, as plain arrays of float64."""

    shape: tuple
    targets: np.ndarray
    masses: np.ndarray
    lambda_W: float
    lambda_H: float
    lambda_b: float
    multiplicative: np.ndarray
    additive: np.ndarray
    offsets: np.ndarray

    @property
    def loss(self):
        kind = self.shape[0]
        if kind == "sum":
            parts = (ufm.CrossEntropy(), ufm.MeanSquaredError())
            return ufm.losses.Sum(parts, weights=self.multiplicative[:2])
        if kind == "squared":
            return ufm.MeanSquaredError()
        if kind == "rescaled":
            return ufm.losses.RescaledSquaredError(
                length=float(self.multiplicative[0]), weight=float(1 + self.multiplicative[1])
            )
        if kind in ("entropy", "offset"):
            return ufm.CrossEntropy()
        return ufm.losses.AdjustedCrossEntropy(
            multiplicative=self.multiplicative, additive=self.additive
        )

    def problem(self) -> ufm.Problem:
        kind, bias, _, d, _ = self.shape
        labels = ufm.soft(self.targets, self.masses)
        if kind == "offset":
            labels = ufm.labels.with_offsets(labels, self.offsets)
        return ufm.Problem(
            labels,
            loss=self.loss,
            widths=(d,),
            lambda_W=self.lambda_W,
            lambda_H=self.lambda_H,
            bias=self.lambda_b if bias == "penalised" else bias,
        )


def draw(seed: int, index: int, shapes=SHAPES) -> Draw:
    """Problem `index` of a run."""
    rng = np.random.default_rng([seed, index])
    shape = shapes[index % len(shapes)]
    kind, _, K, _, C = shape
    overall, ratio = rng.uniform(_LEAST, _LARGEST), rng.choice([0.0, rng.uniform(-3, 3)])
    # a tail whose ratio is log-uniform, or equal masses
    tail = rng.choice([0.0, rng.uniform(0, 4)])
    masses = np.maximum(np.rint(10 ** (tail * rng.uniform(size=C)) * rng.choice([1, 10])), 1)
    targets = _targets(rng, kind, K, C)
    return Draw(
        shape=shape,
        targets=targets,
        masses=masses,
        lambda_W=10 ** (overall + ratio / 2),
        lambda_H=10 ** (overall - ratio / 2),
        lambda_b=10 ** rng.uniform(-6, 3),
        multiplicative=10 ** rng.uniform(-0.7, 0.7, size=K),
        additive=rng.normal(size=K) * rng.choice([0.0, 1.0, 5.0]),
        offsets=_offsets(rng, targets),
    )


def _offsets(rng, targets: np.ndarray) -> np.ndarray:
    """Offsets (K, C) of every size; classes that a column has no target for may be dropped."""
    offsets = rng.normal(size=targets.shape) * rng.choice([0.0, 1.0, 30.0])
    dropped = (targets == 0) & (rng.uniform(size=targets.shape) < rng.choice([0.0, 0.3]))
    return np.where(dropped, -np.inf, offsets)


def _targets(rng, kind: str, K: int, C: int) -> np.ndarray:
    """Targets (K, C): one-hot (every class, some class missing), smoothed, soft.

    For squared error also centred and any sign.
    """
    which = rng.choice(
        ["one-hot", "missing", "smoothed", "soft", "other"], p=[0.4, 0.05, 0.2, 0.25, 0.1]
    )
    classes = np.concatenate([np.arange(K), rng.integers(K, size=C - K)])
    if which == "missing":
        classes = rng.integers(max(K - 1, 1), size=C)
    targets = np.eye(K)[:, classes]
    if which == "smoothed":
        smoothing = 10 ** rng.uniform(-12, -0.5)
        targets = (1 - smoothing) * targets + smoothing / K
    elif which == "soft":
        targets = rng.dirichlet(np.full(K, 10 ** rng.uniform(-1, 1)), size=C).T
    elif which == "other" and kind == "squared":
        targets = rng.choice([targets - 1 / K, rng.normal(size=(K, C)) * 10 ** rng.uniform(-8, 4)])
    return targets


def exact_value(drawn: Draw, params: ufm.Params) -> np.longdouble:
    """The objective in extended precision, by formulas written out here."""
    wide = np.longdouble
    (W,), H = params.weights, params.features
    W, H, q, m = (np.asarray(x).astype(wide) for x in (W, H, drawn.targets, drawn.masses))
    Z = W @ H
    b = np.zeros(len(q), wide) if params.bias is None else np.asarray(params.bias).astype(wide)
    Z = Z + b[:, None]
    kind, bias = drawn.shape[:2]
    if kind == "adjusted":
        Z = drawn.multiplicative.astype(wide)[:, None] * Z + drawn.additive.astype(wide)[:, None]
    elif kind == "offset":
        Z = Z + drawn.offsets.astype(wide)
    if kind in ("entropy", "adjusted", "offset"):
        losses = _entropies(Z, q)
    else:
        length, weight = (
            (drawn.multiplicative[0], 1 + drawn.multiplicative[1]) if kind == "rescaled" else (1, 1)
        )
        losses = ((1 + (wide(weight) - 1) * q) * (Z - wide(length) * q) ** 2).sum(axis=0) / 2
    if kind == "sum":
        first, second = drawn.multiplicative[:2].astype(wide)
        losses = first * _entropies(Z, q) + second * losses
    decay = (
        wide(drawn.lambda_W) * (W**2).sum() + wide(drawn.lambda_H) * (m * (H**2).sum(axis=0)).sum()
    )
    if bias == "penalised":
        decay += wide(drawn.lambda_b) * (b**2).sum()
    return (m * losses).sum() / m.sum() + decay / 2


def _entropies(Z, q):
    """Cross-entropy of every column, without cancellation."""
    below = Z.max(axis=0) - Z
    first = Z.argmax(axis=0)
    others = np.exp(-below)
    others[first, np.arange(Z.shape[1])] = 0
    # (a class that is dropped is infinitely far below)
    linear = np.where(q == 0, 0, q * np.where(q == 0, 0, below)).sum(axis=0)
    return q.sum(axis=0) * np.log1p(others.sum(axis=0)) + linear


def faults(drawn: Draw, key) -> tuple[list[str], str]:
    """What is false about one problem, and how the solver ended."""
    problem = drawn.problem()
    try:
        solution = ufm.minimise(problem, key=key, progress=False)
    except ValueError as refusal:
        runs_away = drawn.shape[0] in ("entropy", "adjusted", "offset") and _runs_away(drawn)
        good = runs_away and drawn.shape[1] == "free" and "not attained" in str(refusal)
        return [] if good else [f"ended: {refusal}"], "refused, the infimum is not attained"
    if not np.isfinite(float(solution.value)):
        return [
            f"ended: {solution.result.name} at value {float(solution.value)}"
        ], solution.result.name
    random = ufm.solvers.random_start(problem, key=jax.random.fold_in(key, 1))
    points = [solution.params, random, jax.tree.map(jnp.zeros_like, random)]
    values = [exact_value(drawn, point) for point in points]
    least = min(values)
    found = []
    for name, point in zip(("solution", "random point", "origin"), points, strict=True):
        certificate = ufm.certify(problem, point)
        bound, gap = float(certificate.lower_bound), float(certificate.gap)
        if bound > least:
            found.append(
                f"bound: at the {name} {bound:.17g} above {least:.17g} by "
                f"{float(bound / least - 1):.1e}"
            )
        if not gap >= 0 or not certificate.valid:
            found.append(f"gap: {gap} at the {name}, {str(certificate).splitlines()[0]}")
        if certificate.closes() and float(certificate.value) - float(least) > 1e-9 * abs(
            float(certificate.value)
        ):
            found.append(
                f"closes: at the {name}, value {float(certificate.value)}, yet {float(least)} is "
                f"known"
            )
        try:
            predicted = float(ufm.closed_form(problem).value)
        except ufm.NoClosedForm:
            continue
        if predicted < bound - PREDICTED * abs(predicted):
            found.append(
                f"closed form: {predicted:.17g} below the bound {bound:.17g} at the {name}"
            )
    return found + _verdict(problem, solution), solution.result.name


def _runs_away(drawn: Draw) -> bool:
    """Whether a free bias has no minimiser: some class j is kept beside a target of k, and no chain
    of such leads from j back to k."""
    kept = drawn.offsets > -np.inf if drawn.shape[0] == "offset" else drawn.targets >= 0
    leads = [
        {j for c in np.flatnonzero(row) for j in np.flatnonzero(kept[:, c])}
        for row in drawn.targets
    ]

    def reached(k: int) -> set[int]:
        found = {k}
        while more := set().union(*(leads[j] for j in found)) - found:
            found |= more
        return found

    return any(k not in reached(j) for k, row in enumerate(leads) for j in row)


def _verdict(problem, solution) -> list[str]:
    try:
        optimum = ufm.closed_form(problem)
    except ufm.NoClosedForm:
        return []
    said = ufm.compare(solution, optimum).found
    return [f"refuted: {said}"] if "below" in said else []


def run(seed: int, indices, *, shapes=SHAPES, report=lambda line: None):
    """Faults of the problems `indices`, and how many ended how."""
    found, ended = [], collections.Counter()
    for done, index in enumerate(indices):
        drawn = draw(seed, index, shapes)
        said, result = faults(drawn, jax.random.key(index))
        ended[f"{drawn.shape[0]}, bias {drawn.shape[1]}: {result}"] += 1
        found += [{"index": int(index), "shape": list(drawn.shape), "fault": line} for line in said]
        if done % 200 == 199:
            report(f"{done + 1} of {len(indices)}, {len(found)} faults")
    return found, ended


def _worker(seed: int, indices):
    jax.config.update("jax_enable_x64", True)
    return run(seed, indices)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--number", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", metavar="FILE", help="write all faults")
    return parser.parse_args()


def main() -> int:
    """Run, print faults and counts; exit status 1 if there is a fault."""
    options = _arguments()
    began = time.monotonic()
    print(f"seed {options.seed}, {options.number} problems of {len(SHAPES)} shapes", flush=True)
    # a process keeps to its shapes, which it compiles once; small pieces, so that progress can be
    # seen
    pieces = []
    for group in range(options.jobs):
        mine = [i for i in range(options.number) if i % len(SHAPES) % options.jobs == group]
        pieces.append([mine[at : at + 2000] for at in range(0, len(mine), 2000)])
    pools = [ProcessPoolExecutor(1, mp_context=get_context("spawn")) for _ in pieces]
    waiting = [
        pool.submit(_worker, options.seed, piece)
        for pool, mine in zip(pools, pieces, strict=True)
        for piece in mine
    ]
    found, ended, done = [], collections.Counter(), 0
    for future in waiting:
        some, counts = future.result()
        found, ended, done = found + some, ended + counts, done + sum(counts.values())
        if sys.stderr.isatty():
            print(
                f"\r{done} of {options.number}, {len(found)} faults",
                end="",
                file=sys.stderr,
                flush=True,
            )
    for pool in pools:
        pool.shutdown()
    for fault in found[:40]:
        print(f"problem {fault['index']} {tuple(fault['shape'])}: {fault['fault']}")
    kinds = collections.Counter(fault["fault"].partition(":")[0] for fault in found)
    print("\n".join(f"{count:7d}  {how}" for how, count in sorted(ended.items())))
    print(f"{len(found)} faults {dict(kinds)} in {done} problems, {time.monotonic() - began:.0f} s")
    if options.json:
        with open(options.json, "w") as file:
            json.dump(
                {"seed": options.seed, "number": options.number, "faults": found}, file, indent=1
            )
    return int(bool(found))


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    sys.exit(main())
