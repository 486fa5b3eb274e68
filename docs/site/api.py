"""The pages of the API, one a namespace: signatures and docstrings as `help()` has them, with
their formulas typeset."""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Iterator

import ufm

# the headings of NumPy's sections, each underlined
_SECTION = re.compile(r"^([A-Z][A-Za-z ]+)\n-{3,}$", re.MULTILINE)
# an entry of a section: what is described at the margin, the description indented
_TERM = re.compile(r"^(\S[^\n]*)\n((?: {4}[^\n]*(?:\n|$))+)", re.MULTILINE)
_DISPLAYED = re.compile(r"\$\$(.+?)\$\$", re.DOTALL)


def namespaces() -> dict[str, types.ModuleType]:
    """Name → module of the public namespaces, that of the top first."""
    inner = {
        name: getattr(ufm, name)
        for name in ufm.__all__
        if isinstance(getattr(ufm, name), types.ModuleType)
    }
    return {"ufm": ufm, **{f"ufm.{name}": module for name, module in sorted(inner.items())}}


def pages() -> dict[str, str]:
    """File name → page, in Markdown for MyST; `index.md` lists them."""
    found = {name: _page(name, module) for name, module in namespaces().items()}
    lines = ["# API", "", "By namespace; `ufm` holds what the examples use.", ""]
    lines += ["```{toctree}", ":maxdepth: 1", "", *found, "```", ""]
    return {"index.md": "\n".join(lines)} | {f"{name}.md": text for name, text in found.items()}


def _page(name: str, module: types.ModuleType) -> str:
    parts = [f"# {name}\n", f"{inspect.getdoc(module) or ''}\n"]
    for public in public_names(module):
        parts += _entry(f"{name}.{public}", getattr(module, public))
    return "\n".join(parts)


def public_names(module: types.ModuleType) -> list[str]:
    """What a namespace exports, modules aside."""
    names = getattr(module, "__all__", None) or [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and str(getattr(value, "__module__", "")).startswith("ufm")
    ]
    return sorted(n for n in names if not isinstance(getattr(module, n), types.ModuleType))


def _entry(name: str, value) -> Iterator[str]:
    yield f"## {name.rpartition('.')[2]}\n"
    if not callable(value):
        yield f"`{value!r}`\n" if len(repr(value)) < 200 else ""
        return
    try:
        signature = re.sub(r" at 0x[0-9a-f]+", "", str(inspect.signature(value)))
        signature = re.sub(r"<class '([\w.]+)'>", r"\1", signature)
        # (annotations are strings in the modules of today)
        signature = re.sub(r"(: |-> )'([^']*)'", r"\1\2", signature)
    except (TypeError, ValueError):
        signature = "(…)"
    call = f"{name}{signature}"
    if len(call) > 88:
        call = call.replace(", ", ",\n    ")
    yield f"```python\n{call}\n```\n"
    yield f"{as_markdown(inspect.getdoc(value) or '')}\n"


def as_markdown(text: str) -> str:
    """A docstring, whose sections are NumPy's and whose formulas are LaTeX's, as Markdown."""
    # a formula on lines of its own
    text = _DISPLAYED.sub(lambda found: f"\n\n$$\n{found[1].strip()}\n$$\n\n", text)
    head, *rest = _SECTION.split(text)
    parts = [head]
    for title, body in zip(rest[::2], rest[1::2], strict=True):
        parts.append(f"**{title}**\n\n{_TERM.sub(_item, body.strip() + chr(10))}")
    return "\n".join(parts)


def _item(found: re.Match) -> str:
    described = " ".join(line.strip() for line in found[2].splitlines())
    return f"- `{found[1]}`: {described}\n"
