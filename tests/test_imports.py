"""The arrows of the design, read from the source.

Three witnesses that share code prove nothing by agreeing.
"""

from __future__ import annotations

import ast
import inspect
from dataclasses import dataclass
from pathlib import Path

import pytest

import ufm

# a module that one test plants something in stands for itself in the others
pytestmark = pytest.mark.whole

ROOT = Path(__file__).resolve().parents[1]

# From the ground up. A room (a module, or a package with all that is in it) imports from lower
# floors only; rooms of one floor do not know each other. A new room must be given a floor here.
FLOORS = (
    ("ufm._version",),
    ("ufm._system", "ufm._exact", "ufm._validate"),
    ("ufm._programs", "ufm._classes", "ufm.batch"),
    ("ufm._host", "ufm._numerics", "ufm.tolerances"),
    ("ufm.labels",),
    ("ufm.losses", "ufm.frames", "ufm.domains", "ufm.maps"),
    ("ufm.model",),
    ("ufm.solution",),
    ("ufm.optima", "ufm.certificates", "ufm.metrics"),
    ("ufm.solvers",),
    ("ufm.flows",),
    ("ufm.sweeping", "ufm.comparison"),
    ("ufm.analysis",),
    ("ufm.plotting",),
    ("ufm.command_line",),
    ("ufm.__main__",),
    ("ufm",),
    ("theory_checks",),
    ("tests", "notebooks"),
)


@dataclass(frozen=True)
class Rule:
    """What the modules of `rooms`, apart from those of `exempt`, may not import."""

    name: str
    why: str
    rooms: tuple[str, ...]
    forbidden: tuple[str, ...]
    exempt: tuple[str, ...] = ()


RULES = (
    Rule(
        "optima-without-solvers",
        "a prediction that ran a solver predicts nothing",
        ("ufm.optima",),
        ("ufm.solvers", "ufm.flows", "ufm.certificates"),
    ),
    Rule(
        "optima-in-numpy",
        "predictions are float64 on the host and share no numerics with the measurement",
        ("ufm.optima",),
        (
            "jax",
            "jaxlib",
            "optax",
            "diffrax",
            "equinox",
            "ufm.model.objective",
            "ufm.model.fit",
            "ufm.model.decay",
        ),
    ),
    Rule(
        "solvers-without-optima",
        "a measurement must know nothing of the prediction",
        ("ufm.solvers", "ufm.flows"),
        ("ufm.optima",),
    ),
    Rule(
        "certificate-alone",
        "it judges points and predictions of any origin",
        ("ufm.certificates",),
        ("ufm.optima", "ufm.solvers", "ufm.flows", "ufm.comparison"),
    ),
    Rule(
        "plots-in-one-room",
        "matplotlib takes a second to import and is for pictures only",
        ("ufm", "theory_checks"),
        ("matplotlib",),
        exempt=("ufm.plotting", "theory_checks.engine.figures.style"),
    ),
    Rule(
        "papers-on-top",
        "the engine finds them by walking, so that a paper is one new folder",
        ("theory_checks.engine", "theory_checks.formulas"),
        ("theory_checks.papers",),
    ),
)

# `theory_checks` is a user like any other: `import ufm`, and then names of `ufm.__all__`
PUBLIC_ONLY = ("theory_checks",)
PAPERS = "theory_checks.papers"
# a command configures JAX and shows progress as the library's own does
COMMANDS = (
    "theory_checks.__main__",
    "theory_checks.engine.command",
    "theory_checks.engine.options",
    "theory_checks.engine.printing",
)
COMMAND_ROOMS = ("ufm._system.command", "ufm._system.completion", "ufm._system.progress")
# … a proof is made of the balls of the library's own …
PROOFS, PROOF_ROOMS = (
    (
        "theory_checks.engine.proofs",
        "theory_checks.formulas.etf_bound",
        "theory_checks.formulas.etf_classifier",
        "theory_checks.papers.behnia2023.formulas",
    ),
    ("ufm._exact.fractions", "ufm.certificates.balls"),
)
# … and what writes files, or reads them back, does so as a store of the library does, compiles and
# is interrupted as the library is
ENGINE = ("theory_checks.engine",)
ENGINE_ROOMS = ("ufm._system.files", "ufm._system.interrupts", "ufm._programs")


def within(module: str, room: str) -> bool:
    return module == room or module.startswith(room + ".")


def _paper(module: str) -> str:
    return module.removeprefix(PAPERS + ".").partition(".")[0]


def room_of(module: str) -> tuple[int, str] | None:
    """Floor and room of a module of this project: the longest room that holds it.

    `ufm` itself is only the root module.
    """
    homes = [
        (floor, room)
        for floor, rooms in enumerate(FLOORS)
        for room in rooms
        if within(module, room) and (room != "ufm" or module == "ufm")
    ]
    return max(homes, key=lambda home: len(home[1]), default=None)


def imported_names(module: str, tree: ast.Module, *, is_package: bool) -> list[str]:
    """Everything that a module imports, at its top or inside a function, as absolute dotted
    names."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            source = node.module or ""
            if node.level:
                above = module.split(".")
                above = above[: len(above) - node.level + is_package]
                source = ".".join([*above, source]) if source else ".".join(above)
            names += [f"{source}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in (
            "import_module",
            "__import__",
        ):
            names += [
                a.value
                for a in node.args
                if isinstance(a, ast.Constant) and isinstance(a.value, str)
            ]
    return names


def violations(module: str, source: str, *, is_package: bool = False) -> list[str]:
    """What a module's source breaks, as `module -> name: rule`."""
    tree = ast.parse(source)
    public = frozenset(ufm.__all__)
    names = imported_names(module, tree, is_package=is_package)
    home = room_of(module)
    found = []
    if home is None:
        found.append(f"{module}: has no floor in tests/test_imports.py")
    for name in names:
        for rule in RULES:
            inside = any(within(module, room) for room in rule.rooms) and not any(
                within(module, room) for room in rule.exempt
            )
            if inside and any(within(name, bad) for bad in rule.forbidden):
                found.append(f"{module} -> {name}: {rule.name}, because {rule.why}")
        if within(module, PAPERS) and within(name, PAPERS) and _paper(name) != _paper(module):
            found.append(
                f"{module} -> {name}: papers-alone, because what two share is in "
                f"theory_checks.formulas"
            )
        # `from ufm import x` names ufm.x: a room of its own if there is one, else the root module
        target = room_of(name) or (room_of("ufm") if within(name, "ufm") else None)
        if any(within(module, room) for room in PUBLIC_ONLY):
            allowed = module in COMMANDS and any(within(name, room) for room in COMMAND_ROOMS)
            allowed |= module in PROOFS and any(within(name, room) for room in PROOF_ROOMS)
            if any(within(module, room) for room in ENGINE):
                allowed |= any(within(name, room) for room in ENGINE_ROOMS)
            if (
                within(name, "ufm")
                and name != "ufm"
                and name.removeprefix("ufm.") not in public
                and not allowed
            ):
                found.append(f"{module} -> {name}: public-names-only")
        elif home and target and target != home and target[0] >= home[0]:
            found.append(f"{module} -> {name}: downwards-only")
    if any(within(module, room) for room in PUBLIC_ONLY):
        found += [
            f"{module} -> ufm.{node.attr}: public-names-only"
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "ufm"
            and node.attr not in public
        ]
    return found


def modules_of(package: str) -> dict[str, Path]:
    """Dotted name → file, of every module of a package of this project.

    Of a stub, which has the imports, in place of its module.
    """
    modules = {}
    for path in sorted((ROOT / package).rglob("*.py*"), key=lambda path: path.suffix):
        if path.suffix not in (".py", ".pyi"):
            continue
        parts = path.relative_to(ROOT).with_suffix("").parts
        modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return modules


MODULES = {**modules_of("ufm"), **modules_of("theory_checks")}


def test_the_modules_were_found():
    assert MODULES["ufm"].name == "__init__.pyi"
    assert {"ufm", "ufm.model", "ufm.solvers", "ufm.solvers.newton"} <= MODULES.keys()
    assert any(within(module, "theory_checks") for module in MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_imports_follow_the_design(module):
    path = MODULES[module]
    assert (
        violations(module, path.read_text(encoding="utf-8"), is_package=path.stem == "__init__")
        == []
    )


# (id, module that is pretended, its source, the rule that must catch it)
PLANTED = (
    (
        "optima-import-solvers",
        "ufm.optima.mse",
        "from ufm.solvers.newton import Newton",
        "optima-without-solvers",
    ),
    (
        "optima-import-package",
        "ufm.optima.mse",
        "from ufm import solvers",
        "optima-without-solvers",
    ),
    (
        "optima-import-certificate",
        "ufm.optima.mse",
        "import ufm.certificates as c",
        "optima-without-solvers",
    ),
    ("optima-relative", "ufm.optima.mse", "from ..solvers import newton", "optima-without-solvers"),
    (
        "optima-package-relative",
        "ufm.optima",
        "from ..solvers import newton",
        "optima-without-solvers",
    ),
    (
        "optima-by-string",
        "ufm.optima.mse",
        "import importlib\nimportlib.import_module('ufm.solvers.newton')",
        "optima-without-solvers",
    ),
    ("optima-jax", "ufm.optima.mse", "import jax.numpy as jnp", "optima-in-numpy"),
    (
        "optima-jax-inside-a-function",
        "ufm.optima.mse",
        "def f():\n    from jax import grad",
        "optima-in-numpy",
    ),
    ("optima-objective", "ufm.optima.mse", "from ufm.model import objective", "optima-in-numpy"),
    (
        "solvers-import-optima",
        "ufm.solvers.loop",
        "from ufm.optima import closed_form",
        "solvers-without-optima",
    ),
    (
        "flows-import-optima",
        "ufm.flows.gradient_flow",
        "from ufm.optima import closed_form",
        "solvers-without-optima",
    ),
    (
        "certificate-imports-solvers",
        "ufm.certificates",
        "from ufm.solvers.coordinates import Flat",
        "certificate-alone",
    ),
    ("certificate-imports-optima", "ufm.certificates", "import ufm.optima", "certificate-alone"),
    (
        "matplotlib-in-metrics",
        "ufm.metrics",
        "def draw():\n    import matplotlib.pyplot as plt",
        "plots-in-one-room",
    ),
    (
        "matplotlib-in-checks",
        "theory_checks.papers.dang.figures",
        "from matplotlib import pyplot",
        "plots-in-one-room",
    ),
    ("upwards", "ufm.labels", "from ufm.model import Problem", "downwards-only"),
    ("upwards-root", "ufm.solvers.loop", "import ufm", "downwards-only"),
    ("upwards-root-name", "ufm.solvers.loop", "from ufm import Problem", "downwards-only"),
    (
        "upwards-out-of-the-package",
        "ufm.comparison",
        "import theory_checks.engine.registry",
        "downwards-only",
    ),
    ("sideways", "ufm.metrics", "from ufm.solvers import minimise", "downwards-only"),
    (
        "checks-reach-inside",
        "theory_checks.dang",
        "from ufm.model import Problem",
        "public-names-only",
    ),
    (
        "checks-import-a-module",
        "theory_checks.dang",
        "import ufm.solvers.newton",
        "public-names-only",
    ),
    (
        "checks-import-progress",
        "theory_checks.dang",
        "from ufm._system.progress import Progress",
        "public-names-only",
    ),
    (
        "a-paper-knows-another",
        "theory_checks.papers.a.checks",
        "from theory_checks.papers.b import formulas",
        "papers-alone",
    ),
    (
        "the-engine-knows-a-paper",
        "theory_checks.engine.runner",
        "import theory_checks.papers.a.checks",
        "papers-on-top",
    ),
    (
        "papers-import-files",
        "theory_checks.papers.dang",
        "from ufm._system.files import opened",
        "public-names-only",
    ),
    (
        "commands-reach-inside",
        "theory_checks.engine.command",
        "from ufm.model import Problem",
        "public-names-only",
    ),
    (
        "checks-private-attribute",
        "theory_checks.dang",
        "import ufm\nufm._validate.require(True, '', 0)",
        "public-names-only",
    ),
    ("homeless", "ufm.misc", "import numpy", "no floor"),
)


@pytest.mark.parametrize(
    ("module", "source", "rule"), [pytest.param(*case[1:], id=case[0]) for case in PLANTED]
)
def test_a_planted_violation_is_found(module, source, rule):
    found = violations(module, source, is_package=module == "ufm.optima")
    assert any(rule in violation for violation in found), found


def test_every_rule_has_a_planted_violation():
    assert {rule.name for rule in RULES} <= {case[3] for case in PLANTED}


@pytest.mark.parametrize(
    ("module", "source"),
    [
        pytest.param(
            "ufm.optima.mse",
            "import numpy as np\nfrom ufm.model import Problem\nfrom ufm.optima.optimum import "
            "Optimum",
            id="optima",
        ),
        pytest.param(
            "ufm.solvers.loop",
            "import jax\nfrom ufm._validate import require\nfrom .solver import State",
            id="solvers",
        ),
        pytest.param(
            # to stop when the gap closes
            "ufm.solvers.loop",
            "from ufm.certificates import certify",
            id="solvers-ask-certificates",
        ),
        pytest.param(
            "ufm.plotting.charts",
            "import matplotlib.pyplot as plt\nfrom ufm.comparison import Comparison",
            id="plot",
        ),
        pytest.param(
            "theory_checks.dang",
            "import ufm\nfrom ufm import Problem\nufm.Problem\nfrom "
            "theory_checks.engine.registry import check",
            id="checks",
        ),
    ],
)
def test_what_the_design_allows_is_allowed(module, source):
    assert violations(module, source) == []


def test_no_module_bears_the_name_of_a_public_function():
    # `import ufm.sweep` would then replace the function by the module
    functions = {name for name in ufm.__all__ if not inspect.ismodule(getattr(ufm, name))}
    stems = {module.rpartition(".")[2] for module in MODULES if within(module, "ufm")}
    assert functions & stems == set()


def test_the_public_names_exist_once():
    assert [name for name in ufm.__all__ if not hasattr(ufm, name)] == []
    assert len(ufm.__all__) == len(set(ufm.__all__))
