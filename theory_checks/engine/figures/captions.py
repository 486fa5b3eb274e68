"""Captions in LaTeX, from the words of a docstring.

Characters that a paper's font may lack become commands, and a letter with an index a formula.
"""

from __future__ import annotations

import re

_COMMANDS = {
    "α": r"\alpha",
    "β": r"\beta",
    "γ": r"\gamma",
    "θ": r"\theta",
    "κ": r"\kappa",
    "λ": r"\lambda",
    "μ": r"\mu",
    "ξ": r"\xi",
    "ρ": r"\rho",
    "σ": r"\sigma",
    "Σ": r"\Sigma",
    "√": r"\surd",
    "≤": r"\le",
    "≥": r"\ge",
    "−": "-",
    "×": r"\times",
    "°": r"^\circ",
}
# as they are written in words: marks that combine with the letter before, raised and lowered ones
_MARKS = {"\u0304": r"\bar", "\u0302": r"\hat"}
_RAISED = {"ᵀ": r"\top", "⁺": "+", "²": "2", "³": "3"}
_LOWERED = {"₀": "0", "₁": "1", "₂": "2", "₃": "3"}
_SPECIAL = re.compile(r"([%&#$])")
# letters with an index, such as λ_W, F_kk and n_A
_INDEXED = re.compile(r"(?<![A-Za-z])(\w)_([A-Za-z0-9]+)")


def latex(words: str) -> str:
    """Words as LaTeX sets them in text."""
    text = _SPECIAL.sub(r"\\\1", words)
    text = _INDEXED.sub(lambda found: f"${_symbol(found[1])}_{{{found[2]}}}$", text)
    for mark, command in _MARKS.items():
        text = re.sub(rf"(\w){mark}", lambda found, c=command: f"${c} {found[1]}$", text)
    text = "".join(_set(character) for character in text)
    # an index that was no formula, and formulas that touch
    return re.sub(r"(?<!\\)_(?![^$]*\$)", r"\\_", text).replace("$$", "")


def _symbol(character: str) -> str:
    return _COMMANDS.get(character, character)


def _set(character: str) -> str:
    if character in _RAISED:
        return f"$^{{{_RAISED[character]}}}$"
    if character in _LOWERED:
        return f"$_{{{_LOWERED[character]}}}$"
    return f"${_COMMANDS[character]}$" if character in _COMMANDS else character
