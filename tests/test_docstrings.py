"""Docstrings say in sections what the signature says: every parameter by name, and no other."""

from __future__ import annotations

import ast
import itertools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1] / "ufm"
FILES = sorted(
    path
    for path in ROOT.rglob("*.py")
    if not any(part.startswith("_") for part in path.relative_to(ROOT).parts)
)
SECTIONS = ("Parameters", "Returns", "Yields", "Raises", "References", "Notes", "Examples")
# A function of so many arguments has sections (`self` counts: what it is asked of is one).
FEW = 2

Definition = ast.FunctionDef | ast.AsyncFunctionDef


def sections_of(docstring: str) -> dict[str, list[str]]:
    """Heading → its lines; a heading is underlined from end to end."""
    lines, found, current = docstring.splitlines(), {}, None
    for number, line in enumerate(lines):
        under = lines[number + 1] if number + 1 < len(lines) else ""
        if line and re.fullmatch("-+", under) and len(under) == len(line):
            current = found.setdefault(line, [])
        elif current is not None and not re.fullmatch("-+", line):
            current.append(line)
    return found


def named(lines: list[str]) -> list[str]:
    """The parameters that a section names: its lines without indentation, at commas."""
    heads = [line for line in lines if line and not line.startswith(" ")]
    return [name.strip().lstrip("*") for head in heads for name in head.split(",")]


def arguments(node: Definition) -> list[str]:
    given = node.args
    several = [arg for arg in (given.vararg, given.kwarg) if arg is not None]
    names = [arg.arg for arg in given.posonlyargs + given.args + given.kwonlyargs + several]
    return [name for name in names if name not in ("self", "cls")]


def functions(tree: ast.AST, owner: ast.ClassDef | None = None):
    """Every definition below a node, and the class that it is a method of."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, Definition):
            yield node, owner
            yield from functions(node)
        else:
            yield from functions(node, node if isinstance(node, ast.ClassDef) else owner)


TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in FILES}
CLASSES = {
    node.name: node
    for tree in TREES.values()
    for node in ast.walk(tree)
    if isinstance(node, ast.ClassDef)
}


def overridden(node: Definition, owner: ast.ClassDef | None) -> bool:
    """Whether a class above says what the parameters are: an override may leave that to it."""
    for base in owner.bases if owner is not None else ():
        above = CLASSES.get(ast.unparse(base).split("[")[0].split(".")[-1])
        if above is None:
            continue
        methods = [m for m in above.body if isinstance(m, Definition) and m.name == node.name]
        told = [m for m in methods if "Parameters" in sections_of(ast.get_docstring(m) or "")]
        if any(arguments(m) == arguments(node) for m in told) or overridden(node, above):
            return True
    return False


def faults(node: Definition, owner: ast.ClassDef | None = None) -> list[str]:
    """What is wrong with the docstring of a function."""
    sections = sections_of(ast.get_docstring(node) or "")
    wrong = [f"no such section: {name}" for name in sections if name not in SECTIONS]
    if "Parameters" in sections:
        told, taken = named(sections["Parameters"]), arguments(node)
        wrong += [f"not in the docstring: {name}" for name in taken if name not in told]
        wrong += [f"not in the signature: {name}" for name in told if name not in taken]
        wrong += [f"told twice: {name}" for name in set(told) if told.count(name) > 1]
    public = not node.name.startswith("_")
    if public and len(node.args.args) + len(node.args.kwonlyargs) > FEW:
        if "Parameters" not in sections and not overridden(node, owner):
            wrong.append("no section Parameters")
        nothing = isinstance(node.returns, ast.Constant) and node.returns.value is None
        if not nothing and not {"Returns", "Yields"} & sections.keys():
            wrong.append("no section Returns")
    return wrong


def torn(docstring: str) -> list[str]:
    """Paragraphs that go on with the sentence of the one before, which has ended."""
    paragraphs = docstring.split("\n\n")
    return [
        after.strip()
        for before, after in itertools.pairwise(paragraphs)
        if re.match("[a-z]", after.lstrip("\n")) and before.rstrip().endswith(".")
    ]


@pytest.mark.parametrize("root", [ROOT, ROOT.parent / "theory_checks"], ids=lambda root: root.name)
def test_a_paragraph_begins_with_a_sentence(root):
    found = [
        f"{path.relative_to(root)}: {paragraph}"
        for path in sorted(root.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Module | ast.ClassDef | Definition)
        for paragraph in torn(ast.get_docstring(node) or "")
    ]
    assert found == []


def test_a_torn_sentence_is_found():
    assert torn("The value.\n\na witness.\n\n    code = 1\n\nAnother.") == ["a witness."]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_parameter_is_named_and_no_other(path):
    found = [
        f"{node.name}: {fault}"
        for node, owner in functions(TREES[path])
        for fault in faults(node, owner)
    ]
    assert found == []


def told(signature: str, *sections: tuple[str, str]) -> Definition:
    """A function whose docstring has these sections, a heading and an entry each."""
    body = [f"{head}\n{'-' * len(head)}\n{entry}\n    It.\n" for head, entry in sections]
    (node,) = ast.parse(f"def f{signature}:\n    pass").body
    assert isinstance(node, ast.FunctionDef)
    node.body = [ast.Expr(ast.Constant("\n".join(["Say.\n", *body])))]
    return node


@pytest.mark.parametrize(
    ("node", "fault"),
    [
        pytest.param(told("(a, b, c)"), "no section Parameters", id="none"),
        pytest.param(
            told("(a, b)", ("Parameters", "a")), "not in the docstring: b", id="forgotten"
        ),
        pytest.param(
            told("(a)", ("Parameters", "a, b")), "not in the signature: b", id="left-over"
        ),
        pytest.param(told("(a)", ("Parameters", "a, a")), "told twice: a", id="twice"),
        pytest.param(
            told("(a, b, c) -> int", ("Parameters", "a, b, c")), "no section Returns", id="nothing"
        ),
        pytest.param(
            told("(a)", ("Arguments", "a")), "no such section: Arguments", id="another-heading"
        ),
    ],
)
def test_a_planted_fault_is_found(node, fault):
    assert fault in faults(node)


def test_what_is_told_in_full_has_no_fault():
    node = told("(a, *b, c=0, **d) -> int", ("Parameters", "a, *b, c, **d"), ("Returns", "int"))
    assert faults(node) == []


def test_an_override_may_leave_the_parameters_to_its_base():
    loss, squared = CLASSES["AbstractLoss"], CLASSES["MeanSquaredError"]
    (method,) = [m for m in squared.body if isinstance(m, Definition) and m.name == "best_bias"]
    assert overridden(method, squared)
    assert not overridden(method, None)
    assert not overridden(method, loss)
