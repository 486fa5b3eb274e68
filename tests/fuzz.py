"""Random one-layer problems, extreme but valid: is anything printed that is false?

    python -m tests.fuzz --number 100000 --jobs 2    (the full run, about two hours, two cores)
    python -m tests.fuzz --number 2000 --seed 7 --json FILE
    python -m tests.fuzz --only scales anchored --start 5000 --number 1000

Decay from 1e-12 to 1e3, long tails, one-hot, smoothed, soft and centred targets, every bias and
convex loss, sums of losses that scale classes each in its own way, offsets of logits and dropped
classes, domains and anchors of every size (`tests/random_problems.py`). Each problem is solved from
a random start and certified at the solution, at a random point, at the origin (or a second random
point of a sphere) and far away, where logits have much in common; where a free bias runs away, at
the solution with a small penalty. Every eighth is enclosed too. Faults:

- `bound`: a lower bound above the objective at any of the points, recomputed in extended precision;
- `gap`: a negative gap, a gap that is no number, or a certificate called invalid;
- `closes`: a certificate that closes although a known point lies lower by more than its tolerance;
- `closed form`: a prediction below a lower bound, by more than the rounding of the prediction;
- `refuted`: `compare` says that a point lies below the prediction;
- `proof`: an enclosure of the minimum that is above a known value, below the value at its own
  point, or below a lower bound;
- `ended`: the solver ended with neither a result nor advice (not finite);
- `raised`: anything that raised an error but for that.

The seed of a run is printed, and with it every fault can be had again: problem i of a seed is the
same in every run, and in a part of one (`--start`, `--only`).
"""

from __future__ import annotations

import argparse
import collections
import json
import signal
import sys
import time
import traceback
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context

import jax
import jax.numpy as jnp
import numpy as np

import ufm
from tests.random_problems import APART, Draw, Shape, draw, exact_value

# what is compiled, 40 of them: everything else about a problem is drawn
SIZES = ((2, 3, 2), (4, 4, 7), (10, 9, 10))
BIASES = (None, "free", "penalised")
_SMALL, _MIDDLE, _LARGE = SIZES
SHAPES = (
    # every loss meets every bias and every size
    *(
        Shape(loss, bias, *SIZES[(i + j) % 3])
        for i, loss in enumerate(("squared", "rescaled", "entropy", "adjusted"))
        for j, bias in enumerate(BIASES)
    ),
    Shape("offset", None, *_MIDDLE),
    Shape("offset", "free", *_MIDDLE),
    Shape("sum", None, *_SMALL),
    Shape("sum", "penalised", *_MIDDLE),
    # sums whose parts scale classes differently
    Shape("scales", None, *_LARGE),
    Shape("scales", "free", *_MIDDLE),
    Shape("scales", "penalised", *_SMALL),
    Shape("mixed", "free", *_MIDDLE),
    Shape("mixed", None, *_SMALL),
    Shape("shifted", "free", *_MIDDLE),
    # dropped classes, in patterns
    Shape("dropped", "free", *_MIDDLE),
    Shape("dropped", "free", *_LARGE),
    Shape("dropped", "penalised", *_MIDDLE),
    # anchors, alone and with every domain
    Shape("entropy", None, *_MIDDLE, anchored=True),
    Shape("squared", "penalised", *_LARGE, anchored=True),
    Shape("entropy", "free", *_MIDDLE, "ball", anchored=True),
    Shape("squared", None, *_MIDDLE, "ball", "ball", anchored=True),
    Shape("entropy", None, *_LARGE, "sphere", anchored=True),
    Shape("squared", "free", *_SMALL, "sphere", "sphere", anchored=True),
    Shape("entropy", "penalised", *_MIDDLE, "budget", anchored=True),
    Shape("squared", None, *_MIDDLE, "budget", "budget", anchored=True),
    Shape("entropy", None, *_MIDDLE, "nonnegative", anchored=True),
    Shape("squared", "free", *_MIDDLE, "nonnegative", "ball", anchored=True),
    Shape("scales", "free", *_MIDDLE, "sphere", "budget", anchored=True),
    Shape("dropped", "free", *_MIDDLE, "sphere", "ball", anchored=True),
    # domains alone
    Shape("adjusted", "free", *_MIDDLE, "ball", "budget"),
    Shape("entropy", None, *_MIDDLE, "nonnegative", "sphere"),
    Shape("squared", None, *_MIDDLE, "nonnegative", "nonnegative"),
)
# the sample that the test-suite runs: every kind of bias and problem, few programs that compile
# quickly
SAMPLE = (0, 4, 8, 9, 13, 15, 22, 31, 36)
# relative rounding that a prediction may carry: its formulas are sums of a few terms >= 0
PREDICTED = 1e-13
# and that values in extended precision may carry, whose terms are >= 0, for logits of 100
_WIDE = 1e-15
# of so many problems of a shape one is enclosed
_PROVED = 8
# problems between two lines of progress
_PIECE = 500
# the penalty of a bias that runs away without
_SMALL_PENALTY = 1e-6


def faults(drawn: Draw, key, *, prove: bool = True) -> tuple[list[str], str]:
    """What is false about one problem, and how the solver ended."""
    problem = drawn.problem()
    solved, advice = problem, ""
    try:
        solution = ufm.minimise(problem, key=key, progress=False)
    except ValueError as refusal:
        if not drawn.runs_away or "not attained" not in str(refusal):
            return [f"ended: {refusal}"], "refused"
        # (a certificate bounds the infimum)
        solved, advice = drawn.problem(bias=_SMALL_PENALTY), "refused, the infimum is not attained"
        solution = ufm.minimise(solved, key=key, progress=False)
    advice = advice or solution.result.name
    if not np.isfinite(float(solution.value)):
        return [f"ended: {advice} at value {float(solution.value)}"], advice
    points = {"solution": solution.params} | _others(drawn, problem, key, solution.params)
    values = [exact_value(drawn, point) for point in points.values()]
    least = min(values)
    found, bounds = [], []
    for name, point in points.items():
        certificate = ufm.certify(problem, point)
        bound, gap = float(certificate.lower_bound), float(certificate.gap)
        bounds.append(bound)
        if bound > least:
            found.append(f"bound: at the {name} {bound:.17g} above {_above(bound, least)}")
        if not gap >= 0 or not certificate.valid:
            found.append(f"gap: {gap} at the {name}, {str(certificate).splitlines()[0]}")
        if certificate.closes() and float(certificate.value) - float(least) > 1e-9 * abs(
            float(certificate.value)
        ):
            found.append(
                f"closes: at the {name}, value {float(certificate.value)}, yet {float(least)} is "
                f"known"
            )
        if name == "solution" and certificate.closes():
            advice += ", closed"
    found += _prediction(problem, max(bounds), solution if problem is solved else None)
    return found + (_proof(drawn, problem, points, bounds) if prove else []), advice


def _others(drawn: Draw, problem, key, solved: ufm.Params) -> dict[str, ufm.Params]:
    """A random point, the origin or, where that is outside, a second, and what was solved with
    large logits that all classes have in common."""
    random, second = (
        ufm.solvers.random_start(problem, key=jax.random.fold_in(key, i)) for i in (1, 2)
    )
    if "sphere" not in (drawn.features.kind, drawn.classifier.kind):
        second = jax.tree.map(jnp.zeros_like, random)
    size, direction = jax.random.split(jax.random.fold_in(key, 3))
    row = 10 ** jax.random.uniform(size, minval=-3, maxval=5) * jax.random.normal(
        direction, (problem.feature_dim,)
    )
    far = problem.projected(
        ufm.Params((solved.weights[0] + row[None, :],), solved.features, solved.bias)
    )
    return {"random point": random, "origin or second": second, "far point": far}


def _above(bound: float, least) -> str:
    return f"{least:.17g} by {float((bound - least) / max(abs(least), 1e-300)):.1e}"


def _prediction(problem, bound: float, solution: ufm.Solution | None) -> list[str]:
    """What is false about the closed form, where there is one, and what is said of it."""
    try:
        optimum = ufm.closed_form(problem)
    except ufm.NoClosedForm:
        return []
    predicted = float(optimum.value)
    below = predicted < bound - PREDICTED * abs(predicted)
    found = [f"closed form: {predicted:.17g} below the bound {bound:.17g}"] * below
    said = ufm.compare(solution, optimum).found if solution else ""
    return found + [f"refuted: {said}"] * ("below" in said)


def _proof(drawn: Draw, problem, points: dict[str, ufm.Params], bounds: list[float]) -> list[str]:
    """What is false about the enclosures from two of the points."""
    found, least = [], min(exact_value(drawn, point) for point in points.values())
    for name in list(points)[:2]:
        try:
            enclosure = ufm.prove(problem, points[name])
        except ValueError as refusal:
            # of two simplices, on whose edge a point may lie as near as floats can tell
            edge = "with room around the gradients" in str(refusal) and drawn.shape.loss in APART
            if not edge and not ("nearer to a minimum" in str(refusal) and name != "solution"):
                found.append(f"proof: refused at the {name}, {refusal}")
            continue
        there = exact_value(drawn, enclosure.params)
        # a free bias can be 1e5 where that hardly costs anything
        off = _WIDE * (1 + 1e-2 * float(jnp.abs(problem.logits(enclosure.params)).max()))
        if not enclosure.lower <= least * (1 + off):
            found.append(f"proof: at the {name} {enclosure.lower} above {least:.17g}")
        if not there * (1 - off) <= enclosure.upper:
            found.append(f"proof: at the {name} {enclosure.upper} below {there:.17g}")
        if not max(bounds) <= enclosure.upper:
            found.append(f"proof: at the {name} {enclosure.upper} below the bound {max(bounds)}")
    return found


def run(seed: int, indices, *, shapes=SHAPES, stopped=lambda: False):
    """Faults of the problems `indices`, and how many ended how, until it is `stopped`."""
    found, ended = [], collections.Counter()
    for index in indices:
        if stopped():
            break
        drawn = draw(seed, index, shapes)
        enclosed = index // len(shapes) % _PROVED == 0
        try:
            said, result = faults(drawn, jax.random.key(index), prove=enclosed)
        except Exception as error:  # (another fault, which shall not end the run)
            place = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{place.filename.rpartition('/')[2]}:{place.lineno}"
            said, result = [f"raised: {type(error).__name__} at {where}: {error}"], "raised"
        ended[f"{drawn.shape}: {result}"] += 1
        found += [{"index": int(index), "shape": list(drawn.shape), "fault": line} for line in said]
    return found, ended


def _begin(stop) -> None:
    """What each process does first; signals are for the one that started it."""
    global _stop
    _stop = stop
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    jax.config.update("jax_enable_x64", True)


def _worker(seed: int, indices, until: float):
    return run(seed, indices, stopped=lambda: _stop.is_set() or time.time() > until)


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description=(__doc__ or "").partition("\n")[0]
    )
    add = parser.add_argument
    add("--number", type=int, default=100_000, help="of problems (default %(default)s)")
    add("--start", type=int, default=0, metavar="I", help="from problem I on")
    add("--only", nargs="+", default=[""], metavar="WORD", help="shapes with one of these words")
    add("--seed", type=int, default=0)
    add("--jobs", type=int, default=2)
    add("--minutes", type=float, default=np.inf, help="begin none after so many")
    add("--json", metavar="FILE", help="write all faults")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run, print faults and counts (so far, after Ctrl-C); exit status 1 if there is a fault."""
    options, began = _arguments(argv), time.time()
    until = began + 60 * options.minutes
    chosen = [
        i for i, shape in enumerate(SHAPES) if any(word in str(shape) for word in options.only)
    ]
    numbers = range(options.start, options.start + options.number)
    wanted = [i for i in numbers if i % len(SHAPES) in chosen]
    print(f"seed {options.seed}, {len(wanted)} problems of {len(chosen)} shapes", flush=True)
    # a process keeps to its shapes, which it compiles once; small pieces, so that progress can be
    # seen
    waiting, pools, processes = [], [], get_context("spawn")
    stop = processes.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    for job in range(options.jobs):
        mine = [i for i in wanted if chosen.index(i % len(SHAPES)) % options.jobs == job]
        pool = ProcessPoolExecutor(1, processes, initializer=_begin, initargs=(stop,))
        pools.append(pool)
        pieces = [mine[at : at + _PIECE] for at in range(0, len(mine), _PIECE)]
        waiting += [pool.submit(_worker, options.seed, piece, until) for piece in pieces]
    found, ended = [], collections.Counter()
    for future in as_completed(waiting):
        some, counts = future.result()
        found, ended = found + some, ended + counts
        for fault in some:
            print(f"problem {fault['index']} {tuple(fault['shape'])}: {fault['fault']}", flush=True)
        if sys.stderr.isatty():
            line = f"\r{ended.total()} of {len(wanted)}, {len(found)} faults"
            print(line, end="", file=sys.stderr, flush=True)
    for pool in pools:
        pool.shutdown()
    kinds = collections.Counter(fault["fault"].partition(":")[0] for fault in found)
    print("\n".join(f"{count:7d}  {how}" for how, count in sorted(ended.items())))
    took = time.time() - began
    print(f"{len(found)} faults {dict(kinds)} in {ended.total()} problems, {took:.0f} s")
    if options.json:
        with open(options.json, "w") as file:
            json.dump(
                {"seed": options.seed, "number": ended.total(), "faults": found}, file, indent=1
            )
    return int(bool(found))


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    sys.exit(main())
