"""Next tokens at the size of a vocabulary: a certified solve, and steps of one that is larger.

`python -m tests.benchmarks.vocabulary certified --json FILE` (`results/vocabulary.json`):
V = C = 4000 with Zipf's counts and d = 512, at a decay where the optimum has a smaller rank, until
a certificate closes to 1e-6. Solved with a quarter of the directions first, as zeros in the others
are certified just as well, and with all of them in the end where the rank asks for it.
`steps --json FILE` (`results/vocabulary_steps.json`): 20 steps of L-BFGS at V = C = 32 000 and
d = 512, logits a chunk at a time.

Seconds are of the processor, memory is the most that the process held. Exit 1 where the gap stays
open, or a step fails.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time

import jax
import numpy as np

import ufm
from tests.benchmarks import harness
from ufm.solvers.narrowing import widened

GAP = 1e-6
# On the relative gradient norm: a gap that is open there will not close.
TOLERANCE = 1e-8
STEPS = 20
# Of the decay at which everything is zero.
SHARE = 0.1


def zipf_labels(V: int, *, tokens: int = 20, largest: int = 10_000, seed: int = 0):
    """Every word as a context: it occurs like 1/rank, and is followed by so many words drawn with
    probability 1/rank."""
    chances = 1 / np.arange(1, V + 1)
    drawn = np.random.default_rng(seed).choice(V, size=V * tokens, p=chances / chances.sum())
    counts = np.ceil(largest / np.arange(1, V + 1)).astype(int)
    contexts = np.repeat(np.arange(V), tokens)
    weights = np.repeat(counts, tokens)
    return ufm.labels.next_token(contexts, drawn, weights, num_classes=V).labels


def zero_decay(labels) -> float:
    r"""$\sqrt{\lambda_W\lambda_H}$ from which on all logits are zero,
    $\|\omega_c(1/V-q_c)/\sqrt{m_c}\|$, by Lanczos on the sparse part and the constant one."""
    from scipy.sparse import csc_array
    from scipy.sparse.linalg import LinearOperator, svds

    V, C = labels.num_classes, labels.num_columns
    index, entries = np.asarray(labels.index), np.asarray(labels.entries)
    scale = np.asarray(labels.column_weights) / np.sqrt(np.asarray(labels.masses))
    columns = np.broadcast_to(np.arange(C), index.shape)
    sparse = csc_array((entries.ravel(), (index.ravel(), columns.ravel())), shape=(V, C)) * scale

    def times(x):
        return np.full(V, scale @ x.ravel() / V) - sparse @ x.ravel()

    def transposed(y):
        return scale * (y.sum() / V) - sparse.T @ y.ravel()

    operator = LinearOperator((V, C), matvec=times, rmatvec=transposed, dtype=float)  # type: ignore
    start = np.random.default_rng(0).normal(size=min(V, C))
    return float(svds(operator, k=1, return_singular_vectors=False, v0=start)[0])


def problem_of(labels, d: int, decay: float) -> ufm.Problem:
    """One feature an occurrence, no bias, the same decay of both factors."""
    return ufm.Problem(labels, loss=ufm.CrossEntropy(), widths=(d,), lambda_W=decay, lambda_H=decay)


def certified(V: int = 4000, d: int = 512, share: float = SHARE) -> dict:
    """Until proved; the numbers of the run."""
    labels = zipf_labels(V)
    decay = share * zero_decay(labels)
    problem = problem_of(labels, d, decay)
    wall, cpu = time.perf_counter(), time.process_time()
    solution, evaluations = _proved(labels, d, decay)
    certificate = ufm.certify(problem, widened(solution.params, d))
    seconds = time.process_time() - cpu
    lengths = np.sqrt(np.asarray(labels.masses)) * np.asarray(solution.params.features)
    singular = np.sqrt(np.maximum(np.linalg.eigvalsh(lengths @ lengths.T)[::-1], 0))
    return {
        "V": V,
        "C": int(labels.num_columns),
        "d": d,
        "decay": decay,
        "gap": float(certificate.gap),
        "value": float(solution.value),
        "directions used": solution.problem.feature_dim,
        # what is below is what the solver has not driven to zero yet
        "rank, to 1e-2 of the largest": int(np.sum(singular > 1e-2 * singular[0])),
        "steps at these directions": int(solution.num_steps),
        "evaluations in all": evaluations,
        "seconds of the processor": seconds,
        "seconds": time.perf_counter() - wall,
        "GiB": _held(),
        "result": solution.result.name,
    }


def _proved(labels, d: int, decay: float) -> tuple[ufm.Solution, int]:
    """The solution of the fewest directions whose certificate closes, and evaluations in all."""
    evaluations = 0
    for used in (d // 4, d // 2):
        solution = _solved(problem_of(labels, used, decay))
        evaluations += int(solution.num_evaluations)
        if solution.result is ufm.Result.PROVED:
            return solution, evaluations
    solution = _solved(problem_of(labels, d, decay))
    return solution, evaluations + int(solution.num_evaluations)


def _solved(problem: ufm.Problem) -> ufm.Solution:
    return ufm.minimise(problem, key=jax.random.key(0), gap=GAP, tolerance=TOLERANCE, progress=None)


def steps(V: int = 32_000, d: int = 512, *, chunk: int = 512, budget: int = STEPS) -> dict:
    """That many steps, for their memory and time."""
    labels = zipf_labels(V)
    decay = SHARE * zero_decay(labels)
    problem = problem_of(labels.in_chunks(chunk), d, decay)
    wall, cpu = time.perf_counter(), time.process_time()
    solution = ufm.minimise(
        problem,
        key=jax.random.key(0),
        solver=ufm.solvers.LBFGS(max_steps=budget, memory_size=5),
        progress=None,
    )
    return {
        "V": V,
        "C": int(labels.num_columns),
        "d": d,
        "decay": decay,
        "columns of a chunk": chunk,
        "value": float(solution.value),
        "value of zero logits": float(np.log(V)),
        "relative gradient norm": float(solution.grad_norm),
        "steps": int(solution.num_steps),
        "evaluations": int(solution.num_evaluations),
        "seconds of the processor": time.process_time() - cpu,
        "seconds": time.perf_counter() - wall,
        "GiB": _held(),
        "result": solution.result.name,
    }


def _held() -> float:
    """GiB: the most that this process has held (kilobytes on Linux, bytes on macOS)."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 2**30 * (1 if sys.platform == "darwin" else 1024)


def main(arguments: list[str] | None = None) -> int:
    """Run one of them."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.vocabulary", description=__doc__
    )
    parser.add_argument("what", choices=("certified", "steps"))
    parser.add_argument("--json", metavar="FILE", help="also write the numbers here")
    options = parser.parse_args(arguments)
    jax.config.update("jax_enable_x64", True)
    found = certified() if options.what == "certified" else steps()
    print("\n".join(f"{name}: {value}" for name, value in found.items()))
    if options.json:
        about = harness.environment({})
        harness.write_json(options.json, {"environment": about, "rows": [found]})
    if options.what == "certified":
        return int(not found["gap"] <= GAP)
    return int(found["steps"] < STEPS)


if __name__ == "__main__":
    sys.exit(main())
