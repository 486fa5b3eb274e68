"""The page "What can be put in", asked of the library itself.

Every cell builds its problem and asks whether `minimise` takes it, whether `certify` has a bound
for it and whether `closed_form` knows its optimum; the words below the tables are those of the
optimum, or of the error.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

import ufm
from ufm.command_line import catalogue
from ufm.model import require_certifiable, require_minimum
from ufm.solvers.suitable import suitable_solver

K = 4
DECAY = 1e-3
# what a loss or a domain cannot be made without
GIVEN = {
    "gamma": 2.0,
    "radius": 2.0,
    "energy": 4.0,
    "additive": (0.0, 0.1, 0.2, 0.3),
    "weight": 2.0,
}
LABELS: dict[str, Callable[[], ufm.labels.AbstractLabels]] = {
    "one-hot, balanced": lambda: ufm.one_hot([10] * K),
    "one-hot, a step of two counts": lambda: ufm.one_hot([16, 16, 4, 4]),
    "one-hot, a long tail": lambda: ufm.one_hot([20, 10, 6, 4]),
    "smoothed, balanced": lambda: ufm.labels.smoothed([10] * K, smoothing=0.1),
    "mixup of two classes": lambda: ufm.mixup(K, 1.0),
    "soft, any": lambda: ufm.soft(np.random.default_rng(0).dirichlet(np.ones(K), 12).T),
}
WIDTHS = {"M = 1, d ≥ K": (8,), "M = 1, d < K − 1": (2,), "M = 2, wide": (8, 8)}
BIASES = {"no bias": None, "free bias": "free", "penalised bias": 0.01}
_HEAD = """# What can be put in

Made by `python -m docs.site --write`, which builds each problem and asks the library; a test
compares. In each cell: **S** is solved by `ufm.minimise`, **C** has a bound from `ufm.certify`
([which closes, or says why not](certificates.md)), **F** has a closed form from `ufm.closed_form`.
The number leads to the closed form and its source, or to what the library says of the nearest one
and what works instead. All have K = 4 classes and λ = 1e-3 on every factor, which is below every
threshold: beyond the last one the optimum is zero, for every convex loss. `closed_form` says so
where the first tables have an F, and of one layer under cross-entropy.
`print(ufm.theory(problem))` lists all that is known of a problem of yours.
"""


@dataclass
class Notes:
    """What is said below the tables, each once, in the order in which it is first said."""

    texts: list[str] = field(default_factory=list)

    def number(self, text: str) -> int:
        """The number of a text, a new one if need be."""
        if text not in self.texts:
            self.texts.append(text)
        return self.texts.index(text) + 1


@dataclass(frozen=True)
class Answer:
    """What the library says of one problem: three times yes or no, and a word on the last no."""

    solved: bool
    certified: bool
    closed: bool
    words: str

    @property
    def letters(self) -> str:
        """S, C and F, each where it is so."""
        said = ((self.solved, "S"), (self.certified, "C"), (self.closed, "F"))
        return " ".join(letter for yes, letter in said if yes) or "–"


def ask(make: Callable[[], ufm.Problem]) -> Answer:
    """What the library says of a problem, or of the attempt to make it."""
    try:
        problem = make()
    except ValueError as error:
        return Answer(False, False, False, f"no such problem: {_condition(error)}")
    refusals = []
    for require in (_solvable, require_certifiable):
        try:
            require(problem)
            refusals.append("")
        except ValueError as error:
            refusals.append(_condition(error))
    unsolved, uncertified = refusals
    try:
        optimum = ufm.closed_form(problem)
        return Answer(not unsolved, not uncertified, True, f"{optimum.regime}. {optimum.source}")
    except ufm.NoClosedForm as error:
        words = _without_numbers(error)
    except ValueError as error:
        words = _condition(error)
    return Answer(not unsolved, not uncertified, False, unsolved or words)


def _solvable(problem: ufm.Problem) -> None:
    suitable_solver(problem, None)
    require_minimum(problem, "a minimiser")


def _condition(error: ValueError) -> str:
    """What was asked for, without the value that came."""
    return str(error).rpartition("; got")[0] or str(error)


def _without_numbers(error: ufm.NoClosedForm) -> str:
    """The hypotheses of the nearest form that fail, and what works instead."""
    said, _, instead = str(error).partition("; what still works: ")
    works = f"; what works: {instead}" if instead else ""
    if error.form is None:
        # another loss, or a form that knows better than its hypotheses
        return f"a closed form {said.partition('; got')[0]}{works}"
    needs = " and ".join(hypothesis.needs for hypothesis in error.failing)
    return f"a closed form needs {needs} ({error.form}){works}"


def made(name: str, known: dict[str, catalogue.Entry]):
    """A loss or domain of the library by its name, with parameters where it needs some."""
    entry = known[name]
    kind = getattr(__import__(entry.module, fromlist=[entry.kind]), entry.kind)
    return kind(**{p: GIVEN[p] for p in kind.parameters() if p in GIVEN})


def problem_of(loss, labels, **parts) -> ufm.Problem:
    """A problem of the tables."""
    given = {"widths": (8,), "lambda_W": DECAY, "lambda_H": DECAY, **parts}
    return ufm.Problem(labels, loss=loss, **given)


def page() -> str:
    """The page, in Markdown."""
    notes = Notes()
    sections = [_HEAD, *_by_loss(notes), *_by_domain(notes), *_by_map(notes), *_others(notes)]
    sections.append("## Closed forms, and what to do instead\n")
    # (an anchor of its own, so that a number leads to its line)
    sections += [f'<a id="n{i}"></a>{i}. {text}\n' for i, text in enumerate(notes.texts, 1)]
    return "\n".join(sections)


def _by_loss(notes: Notes) -> Iterator[str]:
    for name in catalogue.losses():
        loss = made(name, catalogue.losses())
        rows: dict[tuple[str, ...], list[str]] = {}
        for depth, widths in WIDTHS.items():
            for label, labels in LABELS.items():
                cells = (
                    _cell(notes, loss, labels(), widths=widths, bias=bias)
                    for bias in BIASES.values()
                )
                rows.setdefault((depth, *cells), []).append(label)
        yield f"## {loss}\n"
        table = [(depth, _joined(names), *cells) for (depth, *cells), names in rows.items()]
        yield _table(("layers", "labels", *BIASES), table)


def _by_domain(notes: Notes) -> Iterator[str]:
    yield "## Norms and signs in place of decay alone\n"
    yield (
        "One-hot, balanced, M = 1, d ≥ K, no bias. A factor that a domain bounds needs no decay, "
        "and has none here.\n"
    )
    names = list(catalogue.domains())
    for loss in (ufm.CrossEntropy(), ufm.MeanSquaredError()):
        rows = []
        for features in names:
            cells = []
            for classifier in names:
                parts = {
                    "features": made(features, catalogue.domains()),
                    "classifier": made(classifier, catalogue.domains()),
                }
                bounds = {
                    "lambda_H": 0.0 if parts["features"].compact else DECAY,
                    "lambda_W": 0.0 if parts["classifier"].compact else DECAY,
                }
                given = {**parts, **bounds}
                cells.append(_cell(notes, loss, ufm.one_hot([10] * K), **given))
            rows.append((f"features {features}", *cells))
        yield f"### {loss}\n"
        yield _table(("", *(f"classifier {name}" for name in names)), rows)


def _by_map(notes: Notes) -> Iterator[str]:
    from ufm.maps.activated import ACTIVATIONS

    yield "## Activations between two layers\n"
    yield "One-hot, balanced, M = 2, no bias; `ufm.solvers.minimise_rectified` leads ReLU models.\n"
    losses = (ufm.CrossEntropy(), ufm.MeanSquaredError())
    rows = []
    for name in ACTIVATIONS:
        parts = {"widths": (8, 8), "activation": name}
        cells = [_cell(notes, loss, ufm.one_hot([10] * K), **parts) for loss in losses]
        rows.append((name, *cells))
    yield _table(("activation", *map(str, losses)), rows)


def _others(notes: Notes) -> Iterator[str]:
    yield "## Other parts of a problem\n"
    labels = ufm.one_hot([10] * K)
    etf = np.asarray(ufm.simplex_etf(K, dim=8)).T
    anchor = np.repeat(np.asarray(ufm.simplex_etf(K, dim=8)), 10, axis=1)
    weighted = ufm.Labels(labels.targets, labels.masses, np.linspace(1.0, 2.0, 40))
    cases = {
        "frozen classifier (`fixed_weights`)": (labels, {"fixed_weights": (etf,)}),
        "two frozen layers": (labels, {"widths": (8, 8), "fixed_weights": (etf, np.eye(8))}),
        "features pulled to given ones (`anchor`, `beta`)": (
            labels,
            {"anchor": anchor, "beta": 0.1},
        ),
        "samples that do not count alike (`Labels.weights`)": (weighted, {}),
        "no decay of the features": (labels, {"lambda_H": 0.0}),
        "a class that no target holds, free bias": (
            ufm.soft(np.eye(K)[:, :3]),
            {"bias": "free"},
        ),
    }
    losses = (ufm.CrossEntropy(), ufm.MeanSquaredError())
    rows = [
        (name, *(_cell(notes, loss, given, **parts) for loss in losses))
        for name, (given, parts) in cases.items()
    ]
    yield _table(("", *map(str, losses)), rows)


def _cell(notes: Notes, loss, labels, **parts) -> str:
    answer = ask(functools.partial(problem_of, loss, labels, **parts))
    number = notes.number(answer.words)
    return f"{answer.letters} [{number}](#n{number})"


def _joined(labels: list[str]) -> str:
    return "all of these labels" if len(labels) == len(LABELS) else "; ".join(labels)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
