"""Which tests name a function.

In their own text, or through helpers, fixtures and constants of their file.
"""

from __future__ import annotations

import ast
import functools
from pathlib import Path

# Tests of commands that run for minutes, and name all there is.
_APART = ("mutation", "benchmarks", "theory_checks")


def names_in(node: ast.AST) -> frozenset[str]:
    """The names, attributes, arguments and imports of some code, and constants that it asks for
    by a text, as of modules that are found by walking."""
    found = set()
    for child in ast.walk(node):
        match child:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
                found.add(name)
            case ast.alias(name=name):
                found.add(name.rpartition(".")[2])
            case ast.Constant(value=str(name)) if name.isidentifier() and name.isupper():
                found.add(name)
    return frozenset(found)


@functools.cache
def definitions(path: Path) -> dict[str, frozenset[str]]:
    """Top-level name of a file → the names in what defines it. Imports define nothing."""
    found: dict[str, frozenset[str]] = {}
    for node in ast.parse(path.read_bytes()).body:
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                targets = [name]
            case ast.Assign(targets=assigned):
                targets = [n.id for t in assigned for n in ast.walk(t) if isinstance(n, ast.Name)]
            case ast.AnnAssign(target=ast.Name(id=name)):
                targets = [name]
            case _:
                continue
        for name in targets:
            found[name] = found.get(name, frozenset()) | names_in(node)
    return found


@functools.cache
def imports(path: Path) -> frozenset[str]:
    """The names that a file imports, from anywhere and at any depth."""
    tree = ast.parse(path.read_bytes())
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    modules = {
        n.module.rpartition(".")[2] for n in found if isinstance(n, ast.ImportFrom) and n.module
    }
    return frozenset(modules.union(*(names_in(node) for node in found)))


def subjects(function: str, path: Path, root: Path) -> list[str]:
    """What stands for a function (dotted) in a test, nearest first: itself, and whatever uses it.

    A private name is used in its own file, another one wherever it is imported. The users of a
    public name are not followed: it has tests of its own.
    """
    public = imports(root / "ufm" / "__init__.pyi")
    sources = sorted((root / "ufm").rglob("*.py"))
    found = queue = [(path, function.split(".")[0])]
    while queue:
        following = []
        for home, name in queue:
            if name in public:
                continue
            for file in sources if not name.startswith("_") else [home]:
                # a package that walks through its own modules names what they hold, and imports
                # nothing
                walked = file.name == "__init__.py" and file.parent in home.parents
                if file == home or walked or imports(file) & {name, home.stem}:
                    users = [n for n, inside in definitions(file).items() if name in inside]
                    following += [(file, n) for n in users]
        queue = [pair for pair in dict.fromkeys(following) if pair not in found]
        found = found + queue
    return list(dict.fromkeys(name for home, name in found if home == path or name[0] != "_"))


def methods(function: str, path: Path, root: Path) -> frozenset[str]:
    """The methods, of classes anywhere, by which a function is used: `enclose`, not its class."""
    name = function.split(".")[0]
    found = set()
    for file in [path] if name.startswith("_") else sorted((root / "ufm").rglob("*.py")):
        if file != path and imports(file).isdisjoint({name, path.stem}):
            continue
        for node in ast.parse(file.read_bytes()).body:
            inside = node.body if isinstance(node, ast.ClassDef) else []
            found |= {
                method.name
                for method in inside
                if isinstance(method, ast.FunctionDef) and name in names_in(method)
            }
    return frozenset(m for m in found if not m.startswith("_"))


def mirrored(path: Path, root: Path) -> list[Path]:
    """The test files that bear the name of a module or, where there is none, of its room."""
    room = path.relative_to(root / "ufm").with_suffix("").parts
    stems = [part.strip("_") for part in room if part != "__init__"]
    # the room of certificates is tested by test_certificate.py
    stem = stems[-1].removesuffix("s")
    above = [root.joinpath("tests", *stems[:depth]) for depth in reversed(range(len(stems)))]
    found = [file for folder in above for file in sorted(folder.glob(f"test_{stem}*.py"))]
    return found or (mirrored(path.parent.with_suffix(".py"), root) if len(stems) > 1 else [])


def selected(function: str, path: Path, root: Path) -> list[str]:
    """Node ids of the tests of a function.

    Those that call a method which uses it, those of the mirrored files, then all that name it.
    """
    own = mirrored(path, root)
    files = sorted((root / "tests").rglob("test_*.py"))
    files = own + [
        f for f in files if f not in own and f.relative_to(root / "tests").parts[0] not in _APART
    ]
    found = []
    for name in subjects(function, path, root):
        found += [test for file in files for test in _tests(file, name, root)]
    first = [test for file in own for test in _tests(file, None, root)]
    called = {t for m in methods(function, path, root) for f in files for t in _tests(f, m, root)}
    both = [test for test in found if test in called]
    return list(dict.fromkeys([*both, *[t for t in found if t in first], *first, *found]))


@functools.cache
def _tests(path: Path, name: str | None, root: Path) -> list[str]:
    """The tests of a file that mention a name, or all of them."""
    defined = definitions(path)
    mention = {n for n, inside in defined.items() if name is None or name in inside}
    before = -1
    while len(mention) > before:
        before = len(mention)
        mention |= {n for n, inside in defined.items() if inside & mention}
    there = [n for n in defined if n in mention and n.startswith("test_")]
    return [f"{path.relative_to(root)}::{n}" for n in there]
