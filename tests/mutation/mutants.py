"""Every single change of a module that a slip of the pen could have made."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

_ARITHMETIC = {ast.Add: "-", ast.Sub: "+", ast.Mult: "/", ast.Div: "*", ast.FloorDiv: "/"}
_EDGE = {ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">"}
_FLIP = {
    ast.Lt: ">=",
    ast.LtE: ">",
    ast.Gt: "<=",
    ast.GtE: "<",
    ast.Eq: "!=",
    ast.NotEq: "==",
    ast.Is: "is not",
    ast.IsNot: "is",
    ast.In: "not in",
    ast.NotIn: "in",
}
_SWAPPED = {"sum": "mean", "mean": "sum", "max": "min", "min": "max"} | {
    "maximum": "minimum",
    "minimum": "maximum",
}
# Messages, assertions, annotations and decorators: nothing that a result depends on.
_SILENT = (ast.JoinedStr, ast.Assert, ast.Raise, ast.arg)


@dataclass(frozen=True)
class Mutant:
    """`text` in place of the bytes from `start` to `end` of a file, in `function` (a dotted
    name)."""

    path: str
    line: int
    column: int
    function: str
    kind: str
    old: str
    new: str
    start: int
    end: int
    nth: int
    key: str

    @property
    def change(self) -> tuple[str, str, str, str, str, int]:
        """What it is, wherever its function stands; `nth` of those that read alike."""
        return self.path, self.function, self.kind, self.old, self.new, self.nth

    def __str__(self) -> str:
        return (
            f"{self.path}:{self.line}:{self.column} ({self.function}) {self.kind}: `{self.old}` "
            f"→ `{self.new}`"
        )

    def applied(self, source: bytes) -> bytes:
        """The file with the change."""
        return source[: self.start] + self.new.encode() + source[self.end :]


def mutants_of(path: str, source: bytes) -> list[Mutant]:
    """The mutants of a file that still are Python, in its order."""
    tree = ast.parse(source)
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    found: list[Mutant] = []
    seen: dict[tuple[str, ...], int] = {}
    for node, function, scope in _nodes(tree):
        begin = starts[node.lineno - 1] + node.col_offset
        end = starts[node.end_lineno - 1] + node.end_col_offset
        # a mutant stays what it is when the code around its function changes
        home = starts[scope.lineno - 1]
        body = source[home : starts[scope.end_lineno]]
        for kind, new in _changes(node):
            old, new = source[begin:end].decode(), f"({new})"
            where = f"{path} {function} {begin - home} {kind} {new}"
            key = hashlib.sha256(where.encode() + body).hexdigest()[:16]
            alike = path, function, kind, old, new
            seen[alike] = nth = seen.get(alike, 0) + 1
            place = node.lineno, node.col_offset + 1
            found.append(Mutant(path, *place, *alike[1:], begin, end, nth, key))
    plain = ast.dump(tree)
    return [mutant for mutant in found if _differs(mutant.applied(source), plain)]


def _differs(source: bytes, plain: str) -> bool:
    try:
        return ast.dump(ast.parse(source)) != plain
    except SyntaxError:
        return False


def _nodes(tree: ast.Module) -> Iterator[tuple]:
    """Expressions that matter, each with the dotted name of its function and the top-level node."""

    def walk(node, names, scope):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.ClassDef):
                parts = child.body
                if isinstance(child, ast.FunctionDef):
                    defaults = [*child.args.defaults, *child.args.kw_defaults]
                    parts = [*(ast.Expr(d) for d in defaults if d is not None), *parts]
                yield from walk(ast.Module(parts, []), (*names, child.name), scope or child)
            elif not isinstance(child, _SILENT):
                # at the top of a file, the constant that is set
                home = names or tuple(n.id for n in ast.walk(child) if isinstance(n, ast.Name))[:1]
                if isinstance(child, ast.expr):
                    yield child, ".".join(home), scope
                # an annotation says nothing, the value beside it does
                inner = child
                if isinstance(child, ast.AnnAssign):
                    inner = ast.Module([ast.Expr(child.value)] if child.value else [], [])
                yield from walk(inner, home, scope or child)

    yield from walk(tree, (), None)


def _changes(node: ast.expr) -> Iterator[tuple[str, str]]:
    """(kind, what stands there instead)."""
    text = ast.unparse
    match node:
        case ast.BinOp(left, op, right):
            if type(op) in _ARITHMETIC:
                yield "arith", f"({text(left)}) {_ARITHMETIC[type(op)]} ({text(right)})"
            if isinstance(op, ast.Add | ast.Sub):
                yield "drop-term", text(left)
                yield "drop-term", text(right) if isinstance(op, ast.Add) else f"-({text(right)})"
            if isinstance(op, ast.Mult | ast.Div | ast.Pow | ast.MatMult):
                yield "drop-factor", text(left)
            if isinstance(op, ast.Mult | ast.MatMult):
                yield "drop-factor", text(right)
        case ast.UnaryOp(ast.USub(), operand):
            yield "sign", text(operand)
        case ast.UnaryOp(ast.Not(), operand):
            yield "flip-condition", text(operand)
        case ast.Compare(left, [op], [right]):
            for kind, table in (("edge-compare", _EDGE), ("flip-compare", _FLIP)):
                if type(op) in table:
                    yield kind, f"({text(left)}) {table[type(op)]} ({text(right)})"
        case ast.BoolOp(op, values):
            other = " and " if isinstance(op, ast.Or) else " or "
            yield "and/or", other.join(f"({text(value)})" for value in values)
        case ast.IfExp(test, body, orelse):
            yield "flip-condition", f"({text(orelse)}) if ({text(test)}) else ({text(body)})"
        case ast.Constant(bool()):
            return
        case ast.Constant(float(value)):
            yield "const×1.01", repr(1.01 * value if value else 0.01)
            yield "const×100", repr(100 * value if value else 1.0)
            if value:
                yield "const→0", "0.0"
        case ast.Constant(int(value)):
            yield "const+1", repr(value + 1)
            if value:
                yield "const→0", "0"
        case ast.Call(ast.Attribute(of, name), args, keywords) if name in _SWAPPED:
            swapped = ast.Call(ast.Attribute(of, _SWAPPED[name], ast.Load()), args, keywords)
            yield f"{name}/{_SWAPPED[name]}", text(swapped)
        case ast.Call(ast.Name(("max" | "min") as name), args, keywords):
            yield (
                f"{name}/{_SWAPPED[name]}",
                text(ast.Call(ast.Name(_SWAPPED[name]), args, keywords)),
            )
