"""`ufm`, or `python -m ufm`: solve one problem and judge it, run a sweep into a store, or measure
features in files.

Exit status: 0 solved, and it agrees with the closed form where there is one; 1 not converged, or it
does not agree, or a lane of the sweep failed; 2 bad input; 130 after Ctrl-C (a sweep and a
measurement can be resumed).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from dataclasses import dataclass
from typing import Any

from ufm._command import add_version, path_argument, run, started_as
from ufm._completion import add_completion
from ufm._version import __version__
from ufm.command_line import catalogue, measuring, settings


def _words() -> dict[str, tuple[str, ...]]:
    """What the options take whose values are checked later."""
    return {
        "--loss": tuple(catalogue.losses()),
        "--features": tuple(catalogue.domains()),
        "--classifier": tuple(catalogue.domains()),
        "--solver": settings.SOLVERS,
    }


def parser() -> argparse.ArgumentParser:
    """The command line. Nothing heavy is imported until it has been parsed."""
    top = argparse.ArgumentParser(
        prog=started_as("ufm", module="ufm"),
        description="Unconstrained features models: solve one problem, sweep over many, or "
        "measure features.",
        epilog="Exit status: 0 solved and in agreement, 1 not converged or in disagreement, 2 bad "
        "input, 130 interrupted.",
    )
    add_version(top)
    add_completion(top, "ufm", _words)
    commands = top.add_subparsers(dest="command", required=True)
    solve = commands.add_parser(
        "solve",
        help="solve one problem",
        description="Solve one problem, certify it, and compare it with its closed form where "
        "there is one.",
    )
    add = solve.add_argument
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
        help=f'{names}, or "package.module:Class" (default: cross-entropy)',
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
        required=True,
        type=float,
        nargs="+",
        metavar="L",
        help="decay of the factors: one, or W_M … W_1",
    )
    add(
        "--lambda-H",
        dest="lambda_H",
        required=True,
        type=float,
        metavar="L",
        help="decay of the features, per sample; 0 where a domain bounds them",
    )
    add("--bias", default="none", type=_bias, help='"none" (default), "free", or a penalty > 0')
    add("--smoothing", default=0.0, type=float, metavar="S", help="label smoothing in [0, 1)")
    add(
        "--columns",
        default="collapsed",
        choices=settings.COLUMNS,
        help="one column a class (default), or one a sample",
    )
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
        help="between the factors: relu, leaky_relu, softplus, gelu, tanh (default: none)",
    )
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
        choices=settings.SOLVERS,
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
    sweep = commands.add_parser(
        "sweep",
        help="run a sweep into a store",
        description="Solve the problems of SPEC.toml into a store, which ufm.open_sweep reads. "
        "ufm/command_line/spec.py has the format.",
    )
    sweep.add_argument(
        "spec", metavar="SPEC.toml", type=path_argument, help="what is shared, and what is swept"
    )
    sweep.add_argument(
        "--out", required=True, metavar="STORE", type=path_argument, help="folder of the results"
    )
    sweep.add_argument("--resume", action="store_true", help="go on with a store that is there")
    measuring.add_measure(commands)
    for command in (solve, sweep):
        command.add_argument("--json", action="store_true", help="print JSON")
        command.add_argument(
            "--float32", action="store_true", help="single precision, which verifies nothing"
        )
        command.add_argument(
            "--no-cache", action="store_true", help="keep no compiled programs between runs"
        )
    return top


def _setting(text: str) -> tuple[str, list[float]]:
    name, _, numbers = text.partition("=")
    try:
        return name, [float(number) for number in numbers.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be NAME=X or NAME=X,X,…; got {text!r}") from None


def _counts(text: str) -> tuple[int, ...]:
    return _argument(settings.counts_of, text)


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


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    options = parser().parse_args(argv)
    if options.command != "measure":
        # several threads turned small factorisations a hundred times slower; NumPy reads this once,
        # when it is first imported
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        if options.command == "measure":
            return measuring.measure(options)
        configure(double=not options.float32, cache=not options.no_cache)
        return (_solve if options.command == "solve" else _sweep)(options)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        raise
    except (ValueError, OSError) as error:
        print(f"{started_as('ufm', module='ufm')} {options.command}: {error}", file=sys.stderr)
        return 2


def configure(*, double: bool, cache: bool) -> None:
    """Double precision, and compiled programs kept between runs."""
    import jax

    jax.config.update("jax_enable_x64", double)
    if cache:
        from ufm._compilation import enable_compilation_cache

        enable_compilation_cache()


def _solve(options: argparse.Namespace) -> int:
    given = {
        name: getattr(options, name)
        for name in settings.SETTINGS
        if getattr(options, name) is not None
    }
    given |= dict(options.set)
    for name in ("lambda_W", *catalogue.loss_parameters(), *dict(options.set)):
        if len(given.get(name, ())) == 1:
            (given[name],) = given[name]
    bias = given.pop("bias", None)
    wanted = settings.checked(given, "") | {"bias": bias}
    settings.seed_of(options.seed, "--seed")
    report = _report(wanted, options)
    print(
        json.dumps(_plain(report.document), indent=1, allow_nan=False)
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
    """Solve, certify and compare."""
    import jax

    from ufm.certificates.bound import certify
    from ufm.comparison import compare
    from ufm.optima import NoClosedForm, closed_form
    from ufm.solution import Result
    from ufm.solvers import minimise

    problem = settings.problem_of(**wanted)
    solver = settings.solver_of(options.solver, options.max_steps)
    solution = minimise(
        problem,
        key=jax.random.key(options.seed),
        solver=solver,
        starts=options.starts,
        tolerance=options.tolerance,
    )
    if solution.result is Result.INTERRUPTED:
        return _report_of(solution, solution.result)
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
        **_environment(solution.value.dtype),
        "solution": {"result": result.name, "advice": str(result)}
        | {name: getattr(solution, name) for name in fields},
        "certificate": None if certificate is None else vars(certificate),
        "no_certificate": no_certificate,
        "comparison": None if comparison is None else comparison.to_dict(),
        "no_closed_form": no_closed_form,
    }
    agrees = result.ok and (comparison is None or comparison.ok)
    status = 130 if result is Result.INTERRUPTED else 0 if agrees else 1
    return _Report(document={**document, "status": status}, text="\n".join(lines), status=status)


def _sweep(options: argparse.Namespace) -> int:
    from ufm.command_line.spec import read_spec

    spec = read_spec(options.spec)
    if os.path.exists(options.out) and not options.resume:
        raise ValueError(
            f"--out {options.out}: there is something already; add --resume to go on with it"
        )
    dataset = spec.run(options.out)
    document = _summary(dataset) | {"store": options.out}
    if options.json:
        print(
            json.dumps(
                _plain(_environment(dataset["value"].dtype) | document), indent=1, allow_nan=False
            )
        )
    else:
        results = ", ".join(f"{number} {name}" for name, number in document["results"].items())
        gap = document["largest_gap"]
        certified = "" if gap is None else f"\nlargest relative duality gap {gap:.1e}"
        done, stored = f"{document['done']} of {document['lanes']} lanes done", document["stored"]
        if stored:
            done += f", {stored} of them stored before and {document['done'] - stored} solved now"
        print(
            f"{done}, {document['seconds']:.3g} s in this run: {results}{certified}\nstored in "
            f"{options.out}"
        )
    if not document["complete"]:
        print("interrupted: go on with --resume", file=sys.stderr)
    return document["status"]


def _summary(dataset) -> dict[str, Any]:
    """What a finished or interrupted sweep comes to."""
    import numpy as np

    from ufm.solution import Result

    codes, numbers = np.unique(dataset["code"].values, return_counts=True)
    gaps = dataset["gap"].values if "gap" in dataset else np.empty(0)
    gaps = gaps[~np.isnan(gaps)]
    complete, failed = bool(dataset.attrs["complete"]), int(dataset.attrs["failed"])
    return {
        "lanes": int(dataset.attrs["lanes"]),
        "done": int(dataset.attrs["done"]),
        "stored": int(dataset.attrs["stored"]),
        "failed": failed,
        "complete": complete,
        "results": {
            Result(int(code)).name: int(number) for code, number in zip(codes, numbers, strict=True)
        },
        "largest_gap": float(gaps.max()) if gaps.size else None,
        "seconds": float(dataset.attrs["seconds"]),
        "status": 130 if not complete else 1 if failed else 0,
    }


def _environment(dtype) -> dict[str, str]:
    import jax

    return {
        "ufm": __version__,
        "jax": jax.__version__,
        "backend": jax.default_backend(),
        "dtype": str(dtype),
    }


def _plain(value):
    """Numbers, strings, lists and tables only.

    What is not finite becomes null, because JSON has no word for it.
    """
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def script() -> int:
    """The command `ufm`."""
    return run(main)


if __name__ == "__main__":
    sys.exit(script())
