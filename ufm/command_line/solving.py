"""`python -m ufm solve`: one problem, its certificate, and its closed form.

Nothing heavy is imported until the command runs.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, replace
from typing import Any

from ufm.command_line import catalogue, settings
from ufm.command_line.class_counts import counts_of
from ufm.command_line.making import SOLVERS, problem_of, solver_of
from ufm.command_line.printing import environment, plain
from ufm.command_line.values import require, seed_of


def add_solve(commands) -> argparse.ArgumentParser:
    """The command, its arguments and their help."""
    command = commands.add_parser(
        "solve",
        help="solve one problem",
        description="Solve one problem, certify it, and compare it with its closed form where "
        "there is one.",
    )
    _add_labels(command.add_argument)
    _add_factors(command.add_argument)
    _add_columns(command.add_argument)
    _add_domains(command.add_argument)
    _add_solver(command.add_argument)
    return command


def _add_labels(add) -> None:
    """Labels and loss."""
    add(
        "--class-counts",
        required=True,
        type=_counts,
        metavar="COUNTS",
        help="samples of each class: 100,50,10 or 10x100 or 5x500,5x5",
    )
    names = ", ".join(catalogue.losses())
    add(
        "--loss",
        default="cross-entropy",
        help=f'{names}, "package.module:Class", or a sum of these such as '
        '"cross-entropy+0.1*squared-error" (default: cross-entropy)',
    )
    for name, owners in catalogue.loss_parameters().items():
        add(
            f"--{name}",
            type=float,
            nargs="+",
            metavar="X",
            help=f"of loss {' and '.join(owners)}: a number, or one a class",
        )
    add(
        "--set",
        action="append",
        default=[],
        type=_setting,
        metavar="NAME=X",
        help="a parameter of a loss of your own: X, or X,X,…",
    )


def _add_factors(add) -> None:
    """Factors and their decay."""
    add(
        "--widths",
        type=int,
        nargs="+",
        metavar="D",
        help="d_1 … d_M, feature dimension first (default: one layer, d = K)",
    )
    add(
        "--lambda-W",
        dest="lambda_W",
        type=float,
        nargs="+",
        metavar="L",
        help="decay of the factors: one, or W_M … W_1 (default: 0 where a domain bounds them)",
    )
    add(
        "--lambda-H",
        dest="lambda_H",
        type=float,
        metavar="L",
        help="decay of the features, per sample (default: 0 where a domain bounds them)",
    )
    add("--bias", default="none", type=_bias, help='"none" (default), "free", or a penalty > 0')


def _add_columns(add) -> None:
    """Targets and their columns."""
    add("--smoothing", default=0.0, type=float, metavar="S", help="label smoothing in [0, 1)")
    add(
        "--columns",
        default="collapsed",
        choices=settings.COLUMNS,
        help="one column a class (default), or one a sample",
    )


def _add_domains(add) -> None:
    """Domains of the factors, and what stands between them."""
    domains = ", ".join(catalogue.domains())
    add(
        "--features",
        default="real",
        metavar="DOMAIN",
        help=f'of the columns of H: {domains}; "sphere,radius=2" (default: real)',
    )
    add(
        "--classifier",
        default="real",
        metavar="DOMAIN",
        help="of the rows of W_M, likewise (default: real)",
    )
    add(
        "--activation",
        default="none",
        metavar="NAME",
        help="between the factors: relu, leaky_relu, smooth_relu, softplus, gelu, tanh (default: "
        "none)",
    )


def _add_solver(add) -> None:
    """Starts, and what is run from them."""
    add("--seed", default=0, type=int, help="of the random start (default 0)")
    add(
        "--starts",
        default=1,
        type=int,
        metavar="N",
        help="random starts, of which the best is taken (default 1)",
    )
    add(
        "--solver",
        choices=SOLVERS,
        help="default: newton, or projected-newton for nonnegative features",
    )
    add(
        "--tolerance",
        type=float,
        metavar="T",
        help="on the relative gradient norm (default 1e-12 in float64)",
    )
    add(
        "--max-steps",
        type=int,
        metavar="N",
        help="budget of the solver named by --solver",
    )


def _setting(text: str) -> tuple[str, list[float]]:
    name, _, numbers = text.partition("=")
    try:
        return name, [float(number) for number in numbers.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be NAME=X or NAME=X,X,…; got {text!r}") from None


def _counts(text: str) -> tuple[int, ...]:
    return _argument(counts_of, text)


def _bias(text: str):
    try:
        number = float(text)
    except ValueError:
        return _argument(settings.bias_of, text)
    return _argument(settings.bias_of, number)


def _argument(check, value):
    try:
        return check(value)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def solve(options: argparse.Namespace) -> int:
    """Solve the problem of the options and print what came of it; the exit status."""
    given = {
        name: getattr(options, name)
        for name in settings.SETTINGS
        if getattr(options, name) is not None
    }
    given |= dict(options.set)
    # (a parameter of a loss of the library may come by --set too)
    for name in {"lambda_W", *catalogue.loss_parameters(), *dict(options.set)}:
        if len(given.get(name, ())) == 1:
            (given[name],) = given[name]
    checks = settings.checks_for(given.get("loss"))
    own = ", ".join(name for name in checks if name not in settings.SETTINGS) or "it has none"
    for name in dict(options.set):
        require(name in checks, "--set", f"a parameter of the loss ({own})", name)
    bias = given.pop("bias", None)
    wanted = settings.checked(given, "") | {"bias": bias}
    seed_of(options.seed, "--seed")
    report = _report(wanted, options)
    print(
        json.dumps(plain(report.document), indent=1, allow_nan=False)
        if options.json
        else report.text
    )
    return report.status


@dataclass(frozen=True, kw_only=True)
class _Report:
    """What `solve` found: for a program, for a reader, and for the shell."""

    document: dict[str, Any]
    text: str
    status: int


def _report(wanted: dict[str, Any], options: argparse.Namespace) -> _Report:
    """Solve, certify and compare; what is found by then where Ctrl-C comes after the solve."""
    import jax
    import numpy as np

    from ufm.solution import Result
    from ufm.solvers import minimise

    problem = problem_of(**wanted)
    solver = solver_of(options.solver, options.max_steps)
    solution = minimise(
        problem,
        key=jax.random.key(options.seed),
        solver=solver,
        starts=options.starts,
        tolerance=options.tolerance,
    )
    if solution.result is Result.INTERRUPTED:
        return _report_of(solution, solution.result)
    try:
        return _judged(problem, solution)
    except KeyboardInterrupt:
        solution = replace(solution, code=np.int64(Result.INTERRUPTED))
        return _report_of(solution, solution.result)


def _judged(problem, solution) -> _Report:
    """With certificate and closed form, or why there is none."""
    from ufm.certificates.bound import certify
    from ufm.comparison import compare
    from ufm.optima import NoClosedForm, closed_form

    certificate = comparison = None
    no_certificate = no_closed_form = ""
    try:
        certificate = certify(problem, solution.params)
    except ValueError as reason:
        no_certificate = str(reason)
    try:
        comparison = compare(solution, closed_form(problem))
    except NoClosedForm as reason:
        no_closed_form = str(reason)
    return _report_of(
        solution,
        solution.result,
        certificate=certificate,
        no_certificate=no_certificate,
        comparison=comparison,
        no_closed_form=no_closed_form,
    )


def _report_of(
    solution, result, *, certificate=None, no_certificate="", comparison=None, no_closed_form=""
) -> _Report:
    from ufm.solution import Result

    lines = [str(solution)]
    if certificate is not None or no_certificate:
        lines += [
            "",
            str(certificate) if certificate is not None else f"no certificate: {no_certificate}",
        ]
    if comparison is not None or no_closed_form:
        lines += [
            "",
            str(comparison) if comparison is not None else f"no closed form: {no_closed_form}",
        ]
    fields = ("value", "grad_norm", "num_steps", "num_evaluations", "values", "codes")
    document = {
        **environment(solution.value.dtype),
        "solution": {"result": result.name, "advice": solution.advice}
        | {name: getattr(solution, name) for name in fields},
        "certificate": None if certificate is None else vars(certificate),
        "no_certificate": no_certificate,
        "comparison": None if comparison is None else comparison.to_dict(),
        "no_closed_form": no_closed_form,
    }
    agrees = result.ok and (comparison is None or comparison.ok)
    status = 130 if result is Result.INTERRUPTED else 0 if agrees else 1
    return _Report(document={**document, "status": status}, text="\n".join(lines), status=status)
