r'''What a check is.

A theorem with its hypotheses as code, cases inside and outside them, and claims that can be wrong.

    @check(key="paper/what", formula=r"…", source="…", regime=regime, cases=(Case(…), …))
    def what(case):
        """The theorem in one sentence of plain words."""
        solution = solve(case)
        yield Claim("value", measured=solution.value, predicted=…, tolerance=VALUE, scale=…)

Everything here lives on the host; jax is imported only when a case builds its problem.
'''

from __future__ import annotations

import dataclasses
import enum
import functools
import re
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from theory_checks.engine.claims import Claim, Record
from theory_checks.engine.counterexamples import Refutation
from theory_checks.engine.refusals import require

# relative distance within which a hypothesis counts as met with equality: far above rounding, far
# below any case off the boundary
BOUNDARY_WIDTH = 1e-9


class Setting(enum.StrEnum):
    """Where a case lies with respect to the hypotheses of its theorem."""

    INSIDE = "inside"
    BOUNDARY = "boundary"
    OUTSIDE = "outside"

    @classmethod
    def below(cls, value: float, threshold: float) -> Setting:
        """Inside when value < threshold, on the boundary when they agree to `BOUNDARY_WIDTH`, else
        outside."""
        if abs(value - threshold) <= BOUNDARY_WIDTH * max(abs(value), abs(threshold)):
            return cls.BOUNDARY
        return cls.INSIDE if value < threshold else cls.OUTSIDE

    @classmethod
    def above(cls, value: float, threshold: float) -> Setting:
        """Inside when value > threshold; the mirror image of `below`."""
        return cls.below(-value, -threshold)

    @classmethod
    def all_of(cls, *conditions: Setting | bool) -> Setting:
        """The setting of a conjunction.

        Outside if any condition is, else on the boundary if any is. True is inside, False outside.
        """
        settings = {
            c if isinstance(c, Setting) else (cls.INSIDE if c else cls.OUTSIDE) for c in conditions
        }
        return next((s for s in (cls.OUTSIDE, cls.BOUNDARY) if s in settings), cls.INSIDE)

    @classmethod
    def on_both_sides(cls, settings: Iterable[Setting]) -> bool:
        """Whether cases are where a theorem claims something, and where it must be missed."""
        found = set(settings)
        return cls.OUTSIDE in found and len(found) > 1


class Verdict(enum.StrEnum):
    """What a run says about a theorem; of several cases the last of these that any has.

    Refuted means: shown false by a lower value, which is a result and not a failure, and which no
    other case undoes.
    """

    HOLDS = "holds"
    ERROR = "error"
    FAILS = "fails"
    REFUTED = "refuted"

    @property
    def ok(self) -> bool:
        """Whether something was found out, and nothing went wrong."""
        return self in (Verdict.HOLDS, Verdict.REFUTED)

    @classmethod
    def worst(cls, verdicts: Iterable[Verdict]) -> Verdict:
        """The verdict of a whole from those of its parts."""
        order = list(cls)
        return max(verdicts, key=order.index, default=cls.HOLDS)


class NotConverged(RuntimeError):
    """A solve that did not converge.

    Its numbers say nothing about the theorem, so the case is an error and not a failure.
    """


def one_hot_problem(
    class_counts, *, widths, lambda_W, lambda_H, bias=None, loss="MeanSquaredError", collapsed=False
):
    """The problem of a case.

    One-hot labels, full columns and squared error unless said, in the normalisation of `ufm`.
    """
    import ufm

    labels = ufm.one_hot(class_counts, collapsed=collapsed)
    return ufm.Problem(
        labels,
        loss=getattr(ufm, loss)(),
        widths=widths,
        lambda_W=lambda_W,
        lambda_H=lambda_H,
        bias=bias,
    )


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """One problem on which a theorem is tried.

    `parameters` are plain numbers in the paper's own normalisation; `build` turns them into a
    `ufm.Problem`; `options` is whatever else the check reads. `setting` is declared and must agree
    with the check's regime. `starts`: random starts, the best of which counts. `full`: left to the
    full run, because it is slow or its shapes are compiled for it alone.
    """

    id: str
    setting: Setting
    parameters: Mapping[str, Any]
    build: Callable[..., Any] = one_hot_problem
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    starts: int = 1
    seed: int = 0
    full: bool = False

    @functools.cached_property
    def problem(self):
        """The problem that the parameters describe."""
        return self.build(**self.parameters)

    @property
    def key(self):
        """The random key of this case: its own, and the same in every run with the same seed."""
        import jax

        return jax.random.fold_in(jax.random.key(self.seed), zlib.crc32(self.id.encode()))


Function = Callable[[Case], Iterable[Claim | Record | Refutation]]


@dataclasses.dataclass(frozen=True)
class Paper:
    """A source of theorems; as a string, the title of its table.

    `part`: which half of a paper that fills two folders.
    """

    key: str
    title: str
    arxiv: str | None = None
    part: str = ""

    def __str__(self) -> str:
        number = f" (arXiv {self.arxiv})" if self.arxiv else ""
        return f"{self.title}{number}{', ' if self.part else ''}{self.part}"


@dataclasses.dataclass(frozen=True, eq=False)
class Check:
    """A theorem and the function that tries it on a case.

    `key` is "paper/what", `formula` is LaTeX, `regime` (case → `Setting`) is the hypotheses as
    code. What stands in code has its words beside it: the first paragraph of the docstring of
    `function` is the statement, that of `regime` the hypotheses. `expected` is the verdict of a
    full run, which fails with another: a published theorem that is false says so here. `extra`: of
    `ufm`, without which the check cannot run. `left_out`: cases that it had before it was narrowed.
    """

    key: str
    formula: str
    source: str
    regime: Callable[[Case], Setting]
    cases: tuple[Case, ...]
    function: Function
    expected: Verdict = Verdict.HOLDS
    extra: str = ""
    left_out: int = 0

    @property
    def paper(self) -> str:
        """The part of the key before the slash."""
        return self.key.partition("/")[0]

    @property
    def name(self) -> str:
        """The part of the key after the slash."""
        return self.key.partition("/")[2]

    @property
    def hypotheses(self) -> str:
        """The hypotheses in words."""
        return _first_paragraph(self.regime)

    @property
    def statement(self) -> str:
        """The theorem in words."""
        return _first_paragraph(self.function)

    def selected(self, *, full: bool) -> tuple[Case, ...]:
        """The cases of a quick run, or of a full one."""
        return tuple(case for case in self.cases if full or not case.full)


def narrowed(check: Check, cases: Iterable[Case]) -> Check:
    """The check with these of its cases alone, in their order."""
    wanted = frozenset(cases)
    kept = tuple(case for case in check.cases if case in wanted)
    left_out = check.left_out + len(check.cases) - len(kept)
    return dataclasses.replace(check, cases=kept, left_out=left_out)


def _first_paragraph(function: Callable) -> str:
    return " ".join((function.__doc__ or "").partition("\n\n")[0].split())


class Registry:
    """All checks by key, and the papers that they are from.

    `loader`: a function, importable by name, with which another process gets the same registry;
    None where there is none.
    """

    def __init__(self, *, loader: Callable[[], Registry] | None = None):
        self.loader = loader
        self.checks: dict[str, Check] = {}
        self.papers: dict[str, Paper] = {}

    def paper(self, key: str, title: str, *, arxiv: str | None = None, part: str = "") -> None:
        """Name the paper that heads a table."""
        self.papers[key] = Paper(key, title, arxiv, part)

    def check(
        self,
        *,
        key: str,
        formula: str,
        source: str,
        regime: Callable[[Case], Setting],
        cases: Iterable[Case],
        expected: Verdict = Verdict.HOLDS,
        extra: str = "",
    ):
        """Decorator: register `function(case)`, which yields claims and records, as the check
        `key`.

        `extra`: of `ufm`, without which it is left out.
        """

        def register(function: Function) -> Function:
            given = (key, formula, source, regime, tuple(cases), function, expected, extra)
            entry = Check(*given)
            ids = [case.id for case in entry.cases]
            require(entry.paper in self.papers, f"{key}: `paper` must name the paper first")
            require(key not in self.checks, f"{key} is registered twice")
            require(
                all((entry.name, entry.statement, entry.hypotheses)),
                f"{key}: the name and two docstrings are the words of the report",
            )
            require(
                len(set(ids)) == len(ids) > 0, f"{key}: case ids must be given and distinct: {ids}"
            )
            require(
                expected in (Verdict.HOLDS, Verdict.REFUTED),
                f"{key}: `expected` must be `Verdict.HOLDS` or `Verdict.REFUTED`; got {expected!r}",
            )
            for which, full in (("cases", True), ("quick cases", False)):
                tried = [case.setting for case in entry.selected(full=full)]
                # (a quick run may leave a check out)
                require(
                    not tried or Setting.on_both_sides(tried),
                    f"{key}: of its {which} one must lie outside the hypotheses, where the theorem "
                    f"is missed, and one inside or on their boundary; got only "
                    f"{' and '.join(dict.fromkeys(tried))}",
                )
            self.checks[key] = entry
            return function

        return register

    def arrange(self) -> None:
        """Bring papers and checks into the order of the tables, in whatever order their modules
        were imported."""
        self.papers = dict(
            sorted(self.papers.items(), key=lambda item: (item[1].arxiv or "", item[0]))
        )
        place = {key: number for number, key in enumerate(self.papers)}
        self.checks = dict(
            sorted(
                self.checks.items(),
                key=lambda item: (place[item[1].paper], item[1].function.__module__),
            )
        )

    def matching(self, pattern: str = "") -> list[Check]:
        """The checks in whose key `pattern` begins a word or a number, letter case ignored."""
        kinds = [kind for kind in ("[a-z]", r"\d") if re.match(kind, pattern, re.IGNORECASE)]
        before = "".join(f"(?<!{kind})" for kind in kinds)
        begins = re.compile(f"{before}{re.escape(pattern)}", re.IGNORECASE)
        return [check for key, check in self.checks.items() if begins.search(key)]


REGISTRY = Registry()
check = REGISTRY.check
paper = REGISTRY.paper
