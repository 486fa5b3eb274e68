"""Run checks into rows.

The tables, the JSON file and later the figures and the report all read these rows and nothing else.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import os
import platform
import reprlib
import time
import traceback
import types
from collections.abc import Callable, Generator, Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import ufm
from theory_checks.engine.claims import CERTIFICATE_CLAIM, Claim, Record
from theory_checks.engine.counterexamples import Refutation
from theory_checks.engine.proofs import Proof, enclosed, proofs_of, width_claims
from theory_checks.engine.refusals import require
from theory_checks.engine.registry import Case, Check, Setting, Verdict

_PACKAGES = ("jax", "jaxlib", "numpy", "equinox", "optax", "diffrax")


@dataclasses.dataclass(frozen=True, eq=False)
class Row:
    """What one case of one check said.

    `settings`: dtype, device, versions and seed it was measured with. `records`: numbers to show,
    not judged. `refutations`: points whose value is lower than the theorem says is possible.
    `message`: why it is an error. `proofs`: of the points that it certifies; None when nobody
    asked.
    """

    check: Check
    case: Case
    claims: tuple[Claim, ...]
    seconds: float
    verdict: Verdict
    settings: dict[str, Any]
    records: tuple[Record, ...] = ()
    refutations: tuple[Refutation, ...] = ()
    message: str = ""
    proofs: tuple[Proof, ...] | None = None

    @property
    def paper(self) -> str:
        """Key of the paper."""
        return self.check.paper

    @property
    def theorem(self) -> str:
        """Name of the check within its paper."""
        return self.check.name

    @property
    def certificate_gap(self) -> float | None:
        """The largest certified gap to the global optimum, None where no certificate exists."""
        return max(
            (claim.error for claim in self.claims if claim.name == CERTIFICATE_CLAIM), default=None
        )

    @property
    def binding(self) -> tuple[Claim, ...]:
        """The claims that must hold.

        All of them, or outside the hypotheses and where the theorem is refuted the witnesses.
        """
        theorem = self.case.setting is not Setting.OUTSIDE and not self.refutations
        return tuple(c for c in self.claims if c.witness or theorem)

    @property
    def worst(self) -> Claim | None:
        """The binding claim that uses most of its tolerance, the first where none uses any."""
        return max(self.binding, key=lambda c: c.rank, default=None)

    @property
    def proved(self) -> bool:
        """Whether it rests on proofs, and on no certificate or refutation without one.

        False where it has neither.
        """
        proofs = (*(self.proofs or ()), *self.refutations)
        return self.verdict.ok and bool(proofs) and all(proof.proved for proof in proofs)

    def plain(self) -> dict[str, Any]:
        """Everything but the check and the case, which hold functions and cannot be sent to another
        process."""
        return {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name not in ("check", "case")
        }

    def rejudged(self, claims: Iterable[Claim]) -> Row:
        """This row as it would read with other claims."""
        claims = tuple(claims)
        return dataclasses.replace(
            self, claims=claims, verdict=judge(self.case.setting, claims, self.refutations)
        )


@dataclasses.dataclass(frozen=True)
class Run:
    """When and on what a run was made, and what it cost.

    Seconds of the clock, and of all processors together.
    """

    began: str
    machine: str
    processes: int
    wall: float
    cpu: float

    def times(self) -> str:
        """The cost in words."""
        on = f"{self.processes} process{'' if self.processes == 1 else 'es'}"
        return f"{self.wall:.0f} s by the clock, {self.cpu:.0f} s of CPU, {on}"


class Stopwatch:
    """Begins with its making; `stop` says what a run cost, processes that have ended included."""

    def __init__(self):
        self.began = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
        self.wall, self.cpu = time.perf_counter(), _cpu()

    def stop(self, *, processes: int) -> Run:
        """What was spent so far."""
        return Run(
            self.began, machine(), processes, time.perf_counter() - self.wall, _cpu() - self.cpu
        )


def _cpu() -> float:
    return sum(os.times()[:4])


def machine() -> str:
    """Processor, cores and system, without the name of the machine."""
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as file:
        model = next(
            (line.partition(":")[2].strip() for line in file if line.startswith("model name")),
            model,
        )
    return f"{model}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}"


def judge(
    setting: Setting, claims: tuple[Claim, ...], refutations: tuple[Refutation, ...] = ()
) -> Verdict:
    """Inside and on the boundary every claim must hold, and one be of the theorem.

    Outside every witness must, and some claim of the theorem be clearly violated.

    With refutations the verdict is `refuted`, provided that each is lower by its own evaluation
    and that every witness holds; a case outside has none.
    """
    theorem = [c for c in claims if not c.witness]
    if not claims or not all(c.holds for c in claims if c.witness):
        return Verdict.FAILS
    if refutations:
        return Verdict.REFUTED if all(r.is_lower for r in refutations) else Verdict.FAILS
    if setting is Setting.OUTSIDE:
        return Verdict.HOLDS if any(c.violated for c in theorem) else Verdict.FAILS
    return Verdict.HOLDS if theorem and all(c.holds for c in theorem) else Verdict.FAILS


def run_case(check: Check, case: Case, settings: dict[str, Any], *, prove: bool = False) -> Row:
    """One row. An exception, an unconverged solve included, becomes the verdict `error`.

    An interrupt passes through.

    `prove`: enclose what it certifies, and its refutations.
    """
    began = time.perf_counter()
    claims: list[Claim] = []
    records: list[Record] = []
    refutations: list[Refutation] = []
    message = ""
    proofs = () if prove else None
    try:
        setting = check.regime(case)
        where = f"the case is declared {case.setting} but its hypotheses say {setting}"
        require(setting is case.setting, where)
        for found in _yielded(check, case):
            if isinstance(found, Record):
                records.append(found)
            elif isinstance(found, Refutation):
                # (here, as one without a value is an error of this case)
                require(found.value == found.value, f"{found.name}: its value is not a number")
                # (outside the hypotheses it refutes nothing: not to be proved nor shown)
                refutations += [found] * (case.setting is not Setting.OUTSIDE)
            else:
                claims.append(found)
        if prove:
            proofs = proofs_of(claims)
            claims += width_claims(proofs)
            refutations = [enclosed(refutation) for refutation in refutations]
        verdict = judge(case.setting, tuple(claims), tuple(refutations))
    except Exception as error:
        verdict, message = Verdict.ERROR, f"{type(error).__name__}: {error}{_place(check, error)}"
    seconds = time.perf_counter() - began
    settings = {**settings, "seed": case.seed}
    kept = tuple(claim.without_points() for claim in claims)
    points = tuple(refutation.without_least() for refutation in refutations)
    return Row(
        check, case, kept, seconds, verdict, settings, tuple(records), points, message, proofs
    )


def _yielded(check: Check, case: Case) -> Iterator[Claim | Record | Refutation]:
    """What the check yields of a case; anything else is an error where it is yielded."""
    told = iter(check.function(case))
    for found in told:
        if not isinstance(found, Claim | Record | Refutation):
            kinds = "claims, records and refutations"
            error = TypeError(f"a check must yield {kinds}; got {reprlib.repr(found)}")
            if isinstance(told, types.GeneratorType):
                told.throw(error)
            raise error
        yield found


def _place(check: Check, error: Exception) -> str:
    """Where in the module of its check an error came up; nothing where it did not."""
    places = [
        f" ({'/'.join(Path(frame.f_code.co_filename).parts[-2:])}, line {line})"
        for frame, line in traceback.walk_tb(error.__traceback__)
        if frame.f_globals.get("__name__") == check.function.__module__
    ]
    return places[-1] if places else ""


def planned(checks: Iterable[Check], *, full: bool = False) -> list[tuple[Check, Case]]:
    """The cases of a run, in order."""
    return [(check, case) for check in checks for case in check.selected(full=full)]


# told of (number of cases done, number of all cases, a check, its case that begins)
OnCase = Callable[[int, int, Check, Case], None]


def run(
    checks: Iterable[Check],
    *,
    full: bool = False,
    prove: bool = False,
    on_case: OnCase | None = None,
) -> Generator[Row, None, None]:
    """Yield one row a case as it is done, so that what was done survives an interrupt.

    `on_case` is told of each case before it runs.

    Raises `ValueError` when the default dtype is float32, which verifies no theorem.
    """
    settings = measured_in_float64()
    plan = planned(checks, full=full)
    for done, (check, case) in enumerate(plan):
        if on_case is not None:
            on_case(done, len(plan), check, case)
        yield run_case(check, case, settings, prove=prove)


def in_order(rows: Iterable[Row], checks: Iterable[Check]) -> list[Row]:
    """The rows in the order of the checks and of their cases, whatever the order in which they were
    done."""
    place = {
        pair: number
        for number, pair in enumerate(
            (check.key, case.id) for check in checks for case in check.cases
        )
    }
    return sorted(rows, key=lambda row: place[row.check.key, row.case.id])


def measured_in_float64() -> dict[str, Any]:
    """The settings of a run.

    `ValueError` when the default dtype is float32, which verifies no theorem.
    """
    settings = measured_with()
    if settings["dtype"] != "float64":
        raise ValueError(
            f"`jax_enable_x64` must be on: a theorem is checked in float64; got a default dtype "
            f"of {settings['dtype']}"
        )
    return settings


def measured_with() -> dict[str, Any]:
    """What a reader needs to repeat a measurement: dtype, device, versions."""
    import jax

    versions = {"python": platform.python_version(), "ufm": ufm.__version__}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "dtype": str(jax.numpy.zeros(()).dtype),
        "device": jax.devices()[0].device_kind,
        "versions": versions,
    }
