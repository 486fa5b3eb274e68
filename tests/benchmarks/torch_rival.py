"""What the field runs: PyTorch, full batch, autograd, one optimiser step after the other.

On the same objective and the same start.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

Point = tuple[list[np.ndarray], np.ndarray, np.ndarray | None]


@dataclass(frozen=True)
class Recipe:
    """An optimiser with its settings.

    `paper` marks the step size that the papers print, all others were searched.
    """

    name: str
    make: Callable[[list[torch.Tensor]], torch.optim.Optimizer]
    budget: int
    paper: bool = False


@dataclass
class Reached:
    """Steps and seconds to each accuracy, None where the budget did not suffice.

    The error at the end; seconds of the whole run.
    """

    steps: dict[float, int | None]
    seconds: dict[float, float | None]
    error: float
    total: float
    notes: dict = field(default_factory=dict)


class FullBatch:
    """The objective of `ufm.model` for N full columns, any depth, squared error or cross-entropy,
    written as a script writes it."""

    def __init__(self, problem, start):
        self.targets = torch.tensor(np.asarray(problem.labels.targets))
        self.cross_entropy = type(problem.loss).__name__ == "CrossEntropy"
        self.lambda_W = [float(lam) for lam in problem.lambda_W]
        self.lambda_H = float(problem.lambda_H)
        self.labels = torch.argmax(self.targets, dim=0)
        self.start = start

    def variables(self) -> list[torch.Tensor]:
        """Fresh copies of the start: factors, features and, if there is one, the bias."""
        parts = [
            *self.start.weights,
            self.start.features,
            *([] if self.start.bias is None else [self.start.bias]),
        ]
        return [torch.tensor(np.asarray(part), requires_grad=True) for part in parts]

    def loss(self, variables: list[torch.Tensor]) -> torch.Tensor:
        depth = len(self.lambda_W)
        logits = variables[depth]
        for W in reversed(variables[:depth]):
            logits = W @ logits
        if len(variables) > depth + 1:
            logits = logits + variables[-1][:, None]
        if self.cross_entropy:
            value = torch.nn.functional.cross_entropy(logits.T, self.labels)
        else:
            value = 0.5 * ((logits - self.targets) ** 2).sum() / self.targets.shape[1]
        for lam, W in zip(self.lambda_W, variables, strict=False):
            value = value + 0.5 * lam * (W**2).sum()
        return value + 0.5 * self.lambda_H * (variables[depth] ** 2).sum()

    def point(self, variables: list[torch.Tensor]) -> Point:
        depth = len(self.lambda_W)
        arrays = [v.detach().numpy() for v in variables]
        return arrays[:depth], arrays[depth], arrays[depth + 1] if len(arrays) > depth + 1 else None


def run(
    problem: FullBatch,
    recipe: Recipe,
    *,
    error: Callable[[Point], float],
    accuracies: Sequence[float],
    check_every: int,
) -> Reached:
    """Steps until each accuracy; looking at the error is not timed."""
    variables = problem.variables()
    optimiser = recipe.make(variables)

    def closure():
        optimiser.zero_grad(set_to_none=True)
        value = problem.loss(variables)
        value.backward()
        return value

    steps: dict[float, int | None] = dict.fromkeys(accuracies)
    seconds: dict[float, float | None] = dict.fromkeys(accuracies)
    spent, now = 0.0, float("nan")
    for step in range(1, recipe.budget + 1):
        began = time.perf_counter()
        optimiser.step(closure)
        spent += time.perf_counter() - began
        if step % check_every and step != recipe.budget:
            continue
        now = error(problem.point(variables))
        for accuracy in accuracies:
            if steps[accuracy] is None and now <= accuracy:
                steps[accuracy], seconds[accuracy] = step, spent
        if not np.isfinite(now) or all(count is not None for count in steps.values()):
            break
    return Reached(steps, seconds, float(now), spent)


def descent(step: float, momentum: float = 0.0):
    """A maker of full-batch gradient descent, with momentum if asked."""
    return lambda variables: torch.optim.SGD(variables, lr=step, momentum=momentum)


def adam(step: float):
    """A maker of Adam with its usual decay rates."""
    return lambda variables: torch.optim.Adam(variables, lr=step)


def lbfgs():
    """A maker of L-BFGS with its strong Wolfe line search, one iteration a step."""
    return lambda variables: torch.optim.LBFGS(
        # one iteration a step, but as many evaluations as its line search wants: the default allows
        # max_iter * 5/4 = 1
        variables,
        max_iter=1,
        max_eval=25,
        history_size=10,
        line_search_fn="strong_wolfe",
        tolerance_grad=0.0,
        tolerance_change=0.0,
    )


def best(
    make: Callable[[float], Recipe],
    steps,
    *,
    problem: FullBatch,
    error,
    accuracy: float,
    check_every: int,
) -> tuple[Recipe, float]:
    """The step size that reaches the accuracy in the fewest steps, or comes closest within the
    budget."""
    found = []
    for step in steps:
        recipe = make(step)
        reached = run(problem, recipe, error=error, accuracies=(accuracy,), check_every=check_every)
        count = reached.steps[accuracy]
        closeness = reached.error if np.isfinite(reached.error) else float("inf")
        found.append(((count is None, count if count is not None else closeness), step, recipe))
    _, step, recipe = min(found, key=lambda entry: entry[0])
    return recipe, step
