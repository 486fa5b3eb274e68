"""The checker of refutations that readers get.

It shares nothing with the library and believes nothing touched.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
import io
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.theory_checks.refuted import refutation
from theory_checks.engine.proofs import enclosed

CHECKER = Path(__file__).resolve().parents[2] / "docs" / "check_refutation.py"
_SPEC = importlib.util.spec_from_file_location("check_refutation", CHECKER)
checker = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(checker)


@functools.cache
def written(bias: float | None = None) -> bytes:
    return enclosed(refutation(bias=bias)).as_npz()


def arrays(bias: float | None = None) -> dict[str, np.ndarray]:
    """What a reader of the file has."""
    with np.load(io.BytesIO(written(bias)), allow_pickle=False) as file:
        return dict(file)


def test_it_is_short_and_knows_nothing_of_the_library():
    source = CHECKER.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 100
    nodes = list(ast.walk(ast.parse(source)))
    modules = {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    modules |= {name.name for node in nodes if isinstance(node, ast.Import) for name in node.names}
    assert modules == {"fractions", "mpmath", "numpy", "sys"}


def test_as_a_command(tmp_path):
    good, bad = tmp_path / "good.npz", tmp_path / "bad.npz"
    good.write_bytes(written())
    changed = arrays()
    np.savez(bad, **{**changed, "upper": changed["value"] * (1 - 1e-12)})
    for path, status in ((good, 0), (bad, 1)):
        run = subprocess.run(
            [sys.executable, "-O", CHECKER, path], capture_output=True, text=True, check=False
        )
        assert run.returncode == status, run.stderr
        assert ("verified, " in run.stdout) == (status == 0)
    assert "NOT proved" in run.stderr


@pytest.mark.parametrize("bias", [None, 0.1])
def test_what_is_written_is_verified(bias):
    c = arrays(bias)
    assert (
        checker.verify(c)
        == f"{float(c['upper'])!r} < {float(c['claimed_lower'])!r} <= the value of every "
        f"simplex ETF"
    )


def scaled(**factors):
    def change(c):
        for name, factor in factors.items():
            c[name] = c[name] * factor

    return change


def upper(c):
    """One float lower."""
    c["upper"] = np.nextafter(c["upper"], -np.inf)


def ends(c):
    c["upper"] = c["claimed_lower"]


def another_point(c):
    c["W_2"][0, 0] += 1e-6


def a_bias(c):
    c["b"][1] = 1e-6


def another_mass(c):
    c["masses"][0] *= 1 + 1e-9


def another_target(c):
    c["targets"][:, 0] = [1 - 1e-9, 1e-9, 0, 0]


def another_class(c):
    c["targets"][:, 0] = [0, 1, 0, 0]


def infinite(c):
    c["claimed"] = np.float64(math.inf)


def without_ends(c):
    del c["upper"], c["claimed_lower"]


def fewer_columns(c):
    c["H"] = c["H"][:, :-1]


def an_offset(c):
    c["offsets"] = np.zeros_like(c["targets"])


CHANGES = {
    "upper-end-too-low": (upper, "the value"),
    "lower-end-too-high": (scaled(claimed_lower=1 + 4e-15), "may be lower"),
    "lower-end-far-too-high": (scaled(claimed_lower=2.0), "may be lower"),
    "ends-that-touch": (ends, "a value that is not lower"),
    "another-point": (another_point, "the value"),
    "another-bias": (a_bias, "the value"),
    "less-decay": (scaled(lambda_W=1 - 1e-9), "may be lower"),
    "more-decay": (scaled(lambda_H=1 + 1e-9), "the value"),
    "no-decay": (scaled(lambda_H=0.0), "masses or decay"),
    "negative-decay": (scaled(lambda_W=-1.0), "masses or decay"),
    "fewer-samples": (scaled(masses=1 - 1e-9), "may be lower"),
    "negative-masses": (scaled(masses=-1.0), "masses or decay"),
    "one-mass": (another_mass, "equally large"),
    "soft-targets": (another_target, "one-hot"),
    "other-labels": (another_class, "equally large"),
    "not-finite": (infinite, "not finite"),
    "without-ends": (without_ends, "without --prove"),
    "fewer-columns": (fewer_columns, "do not fit"),
    "another-loss": (an_offset, "another kind"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_has_been_touched_is_refused(name):
    change, reason = CHANGES[name]
    c = arrays(0.1)
    change(c)
    with pytest.raises(SystemExit, match=f"NOT proved: .*{reason}"):
        checker.verify(c)


def test_a_layer_too_few_is_refused():
    c = arrays()
    c["lambda_W"] = c["lambda_W"][:-1]
    with pytest.raises(SystemExit, match="NOT proved"):
        checker.verify(c)
