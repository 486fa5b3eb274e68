"""The driver of mutants, on a library of one line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutation.__main__ import ROOMS, ROOT, _files, _Judge, _State
from tests.mutation.equivalent import REASONS
from tests.mutation.mutants import mutants_of
from tests.mutation.selection import methods, mirrored, selected, subjects


def changes(source):
    return {
        (m.kind, m.applied(source.encode()).decode()) for m in mutants_of("x.py", source.encode())
    }


@pytest.mark.parametrize(
    ("source", "kind", "wanted"),
    [
        ("y = a + b", "arith", ["y = ((a) - (b))"]),
        ("y = a / b", "arith", ["y = ((a) * (b))"]),
        ("y = a - b", "drop-term", ["y = (a)", "y = (-(b))"]),
        ("y = a * b", "drop-factor", ["y = (a)", "y = (b)"]),
        ("y = a ** b", "drop-factor", ["y = (a)"]),
        ("y = -a", "sign", ["y = (a)"]),
        ("y = a < b", "edge-compare", ["y = ((a) <= (b))"]),
        ("y = a < b", "flip-compare", ["y = ((a) >= (b))"]),
        ("y = a is None", "flip-compare", ["y = ((a) is not (None))"]),
        ("y = a and b", "and/or", ["y = ((a) or (b))"]),
        ("y = not a", "flip-condition", ["y = (a)"]),
        ("y = a if c else b", "flip-condition", ["y = ((b) if (c) else (a))"]),
        ("y = 2.0", "const×1.01", ["y = (2.02)"]),
        ("y = 2.0", "const×100", ["y = (200.0)"]),
        ("y = 2.0", "const→0", ["y = (0.0)"]),
        ("y = 0.0", "const×1.01", ["y = (0.01)"]),
        ("y = 2", "const+1", ["y = (3)"]),
        ("y = np.sum(a)", "sum/mean", ["y = (np.mean(a))"]),
        ("y = a.max()", "max/min", ["y = (a.min())"]),
        ("y = max(a, b)", "max/min", ["y = (min(a, b))"]),
        # a column counts bytes, not characters
        ("y = 'λ', -a", "sign", ["y = 'λ', (a)"]),
        ("y: int = -a", "sign", ["y: int = (a)"]),
        ("def f(x=-a): pass", "sign", ["def f(x=(a)): pass"]),
    ],
)
def test_changes(source, kind, wanted):
    assert {new for k, new in changes(source) if k == kind} == set(wanted)


@pytest.mark.parametrize(
    "source",
    [
        '"""Of 2.0 + 2.0."""',
        'def f(x: "Float[Array, 3]") -> Array[3 + 3]: pass',
        "y: Array[3]",
        "y = f'{a + 1}'",
        "assert a < b",
        "raise ValueError(-a)",
        "@cache(maxsize=96)\ndef f(): pass",
        "y = True",
    ],
)
def test_what_no_result_depends_on_is_left(source):
    assert changes(source) == set()


def test_a_mutant_is_the_same_until_its_function_changes():
    source = b"def f(x):\n    return 2.0 * x\n"
    before = {str(m.key) for m in mutants_of("x.py", source)}
    assert {m.key for m in mutants_of("x.py", b"import y\n\n" + source)} == before
    assert (
        not {m.key for m in mutants_of("x.py", source.replace(b"x\n", b"x  # changed\n"))} & before
    )
    assert {m.function for m in mutants_of("x.py", b"EDGE = 1e-3\n" + source)} == {"EDGE", "f"}
    assert len(before) == len(mutants_of("x.py", source))


TREE = {
    "ufm/__init__.py": "",
    "ufm/__init__.pyi": "from ufm.shapes import area as area\n",
    "ufm/round.py": "EDGE = 0.5\n\ndef _square(r):\n    return r**2\n\ndef disc(r):\n    return "
    "3.0 * "
    "_square(r)\n",
    "ufm/shapes.py": "from ufm.round import disc\n\ndef area(r):\n    return disc(r)\n\ndef "
    "other(r):\n   "
    " "
    "return r\n",
    "tests/test_round.py": "R = 1.0\n\ndef test_itself():\n    assert R == 1.0\n",
    "tests/test_all.py": "from ufm import shapes\nAREA = shapes.area(1.0)\n\ndef test_area():\n    "
    "assert "
    "AREA == "
    "3.0\n\n"
    "def test_other():\n    assert shapes.other(1.0) == 1.0\n",
}


@pytest.fixture
def tree(tmp_path):
    for name, text in TREE.items():
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "tree"


def test_a_private_function_is_tested_by_the_public_ones_that_use_it(tree):
    first = "tests/test_round.py::test_itself"
    for function in ("_square", "disc"):
        assert selected(function, tree / "ufm/round.py", tree) == [
            first,
            "tests/test_all.py::test_area",
        ]
    assert selected("EDGE", tree / "ufm/round.py", tree) == [first]
    assert selected("other", tree / "ufm/shapes.py", tree) == ["tests/test_all.py::test_other"]


def test_the_mirrored_file_of_a_module_or_of_its_room():
    assert mirrored(ROOT / "ufm/optima/focal.py", ROOT) == [ROOT / "tests/optima/test_focal.py"]
    assert mirrored(ROOT / "ufm/optima/forms/focal.py", ROOT) == [
        ROOT / "tests/optima/test_focal.py"
    ]
    assert mirrored(ROOT / "ufm/metrics/moments.py", ROOT)[0] == ROOT / "tests/test_metrics.py"


def test_a_module_that_its_package_finds_by_walking_is_used_by_it():
    path = ROOT / "ufm/optima/forms/focal.py"
    assert {"FORM", "known", "closed_form"} <= set(subjects("FocalETF.accepts", path, ROOT))


def test_tests_of_a_method_that_calls_a_function_of_a_module_come_first():
    path = ROOT / "ufm/losses/enclosures.py"
    assert "enclose" in methods("cross_entropy", path, ROOT)
    order = selected("squared_error_conjugate", path, ROOT)
    touching = "tests/test_loss_enclosures.py::test_value_and_conjugate_touch"
    assert order.index(touching) < order.index("tests/test_losses.py::test_squared_error_by_hand")


@pytest.mark.thorough
def test_survivors_are_told_and_tried_again_when_their_tests_change(tree, tmp_path):
    state = tmp_path / "state.jsonl"

    def run():
        code = "import sys; from pathlib import Path; from tests.mutation.__main__ import main;"
        code += "sys.exit(main(['round', '--state', sys.argv[2]], root=Path(sys.argv[1])))"
        command = [sys.executable, "-c", code, str(tree), str(state)]
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300)

    found = run()
    assert "score" in found.stdout, found.stderr
    # at a radius of one neither a power says anything nor a product, and nobody reads the constant
    assert found.stdout.splitlines() == [
        "survived: ufm/round.py:1:8 (EDGE) const×1.01: `0.5` → `(0.505)`",
        "survived: ufm/round.py:1:8 (EDGE) const×100: `0.5` → `(50.0)`",
        "survived: ufm/round.py:1:8 (EDGE) const→0: `0.5` → `(0.0)`",
        "survived: ufm/round.py:4:12 (_square) drop-factor: `r**2` → `(r)`",
        "survived: ufm/round.py:4:15 (_square) const+1: `2` → `(3)`",
        "survived: ufm/round.py:4:15 (_square) const→0: `2` → `(0)`",
        "survived: ufm/round.py:7:12 (disc) arith: `3.0 * _square(r)` → `((3.0) / (_square(r)))`",
        "survived: ufm/round.py:7:12 (disc) drop-factor: `3.0 * _square(r)` → `(3.0)`",
        "12 of 12 mutants: 4 killed, 8 survived; score 33.3 %",
    ]
    assert found.returncode == 1
    assert (tree / "ufm/round.py").read_text() == TREE["ufm/round.py"]
    # what is known is not tried again
    size = len(state.read_text())
    assert run().stdout == found.stdout
    assert len(state.read_text()) == size
    better = (
        TREE["tests/test_all.py"]
        .replace("1.0)\n\ndef test_area", "2.0)\n\ndef test_area")
        .replace("3.0", "12.0")
    )
    (tree / "tests/test_all.py").write_text(better)
    assert "9 killed, 3 survived" in run().stdout
    entries = [json.loads(line) for line in state.read_text().splitlines()]
    assert "tests/test_all.py::test_area" in {entry.get("by") for entry in entries}


def test_a_new_test_is_timed_although_old_ones_fill_the_budget(tmp_path, monkeypatch):
    judge = _Judge.__new__(_Judge)
    judge.state, judge.budget, judge.failing = _State(tmp_path / "state.jsonl"), 10.0, set()
    for name in ("old", "older"):
        judge.state.add({"tests": name, "seconds": 8.0})
    asked = []

    def forked(self, tests, *, limit, writing):
        asked.extend(tests)
        return 0, {test: (1.0, True) for test in tests}

    monkeypatch.setattr(_Judge, "_forked", forked)
    assert judge._affordable(["new", "old", "older"]) == ["new", "old"]
    assert asked == ["new"]
    # what comes after a full budget is not timed
    assert judge._affordable(["old", "older", "newer"]) == ["old"]
    assert asked == ["new"]


def test_a_room_that_is_none_is_named():
    for room in ROOMS:
        assert _files(room, ROOT)
    with pytest.raises(ValueError, match="`ROOM` must be a file or a room of ufm; got nowhere"):
        _files("nowhere", ROOT)


@pytest.mark.thorough
def test_what_is_called_equivalent_is_a_mutant_that_exists():
    files = {Path(entry[0]) for entry in REASONS}
    mutants = [m for f in files for m in mutants_of(str(f), (ROOT / f).read_bytes())]
    assert set(REASONS) <= {mutant.change for mutant in mutants}
    assert all(len(reason) > 20 for reason in REASONS.values())


def test_what_is_found_by_walking_is_tried_on_the_tests_of_who_walks():
    """`THRESHOLDS` of a module of statements is named by a text alone where it is used."""
    path = ROOT / "ufm" / "optima" / "statements" / "cross_entropy_decay.py"
    assert "thresholds" in subjects("_mixture", path, ROOT)
    tests = selected("_mixture", path, ROOT)
    assert any("test_closed_forms_change_their_rank_at_the_thresholds" in test for test in tests)
