"""LaTeX and plain words as HTML.

MathML, which browsers draw and screen readers read, and the font it is drawn in.
"""

from __future__ import annotations

import base64
import functools
import html
import io
import re
import unicodedata
from importlib import metadata

import math_core
from fontTools import subset
from fontTools.ttLib import TTFont
from markupsafe import Markup

# browsers draw <mi>x</mi> with the mathematical italic letter, which no text of the page contains
_ITALIC = tuple(map(chr, (0x210E, *range(0x1D434, 0x1D468), *range(0x1D6E2, 0x1D71C))))
_RADICAL = "\u221a"
# what opens and closes a group in which a formula must not be cut
_TOKENS = re.compile(
    r"\\left(?![a-z])|\\right(?![a-z])|\\begin(?![a-z])|\\end(?![a-z])|\\q?quad(?![a-z])|\\.|[{}]"
)
_GAPS = ("\\quad", "\\qquad")
_DEPTH = {"\\left": 1, "\\begin": 1, "{": 1, "\\right": -1, "\\end": -1, "}": -1}
_SCRIPT = re.compile(r"((?<![A-Za-z0-9])d?\w|\))(_|\^)(\{[^{}]*\}|\w+)")


@functools.cache
def _converter() -> math_core.LatexToMathML:
    # \widetilde is called unreliable because some fonts cannot stretch a tilde; the embedded one
    # can
    return math_core.LatexToMathML(
        annotation=True, allow_unreliable_rendering=True, fancy_error=False
    )


def mathml(latex: str) -> Markup:
    r"""A formula as inline MathML, one element for each part between `\quad` or `\qquad`.

    A long one can then be broken.

    Raises `ValueError` with the command that is not known.
    """
    try:
        parts = [
            _converter().convert_with_local_state(part, displaystyle=True) for part in _parts(latex)
        ]
    except math_core.LatexError as error:
        raise ValueError(
            f"`formula` must be LaTeX that can be typeset ({error}); got {latex!r}"
        ) from error
    # sums with their limits below, but in the flow of the line
    return Markup(
        " ".join(part.replace('display="block"', 'displaystyle="true"', 1) for part in parts)
    )


def _parts(latex: str) -> list[str]:
    depth, start, parts = 0, 0, []
    for token in _TOKENS.finditer(latex):
        depth += _DEPTH.get(token.group(), 0)
        if token.group() in _GAPS and depth == 0:
            parts.append(latex[start : token.start()])
            start = token.end()
    return [part.strip() for part in (*parts, latex[start:]) if part.strip()]


def words(text: str) -> Markup:
    """A docstring's sentence as HTML: backticks as code, λ_W and e^{−t} as indices, <= as ≤."""
    pieces = text.split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(p) if i % 2 else _indexed(p) for i, p in enumerate(pieces)
    )


def _indexed(text: str) -> Markup:
    safe = str(Markup.escape(text.replace("<=", "≤").replace(">=", "≥")))

    def script(match):
        tag = "sub" if match[2] == "_" else "sup"
        return f"{match[1]}<{tag}>{_SCRIPT.sub(script, match[3].strip('{}'))}</{tag}>"

    return Markup(_SCRIPT.sub(script, safe))


def font_face(formulas: str) -> Markup:
    """The CSS rule that embeds a mathematical font, reduced to what these formulas need.

    Many systems have none, and accents and brackets come out wrong without one.
    """
    return Markup(
        "@font-face{font-family:'Embedded Math';src:url(data:font/woff;base64,"
        f"{_font(_characters(formulas))})}}"
    )


def _characters(formulas: str) -> str:
    text = set(html.unescape(re.sub(r"<annotation.*?</annotation>|<[^>]*>", "", formulas))) | {
        _RADICAL
    }
    return "".join(
        sorted(
            text | {letter for letter in _ITALIC if unicodedata.normalize("NFKC", letter) in text}
        )
    )


@functools.cache
def _font(characters: str) -> str:
    # the package is wanted for its font alone, and is not imported
    source = metadata.distribution("ziamath").locate_file("ziamath/fonts/STIXTwoMath-Regular.ttf")
    # ssty: letters drawn for use as indices. The names kept are those of the font, its authors and
    # its licence
    options = subset.Options(
        layout_features=["ssty"], hinting=False, notdef_outline=True, name_IDs=[0, 1, 2, 13, 14]
    )
    cutter = subset.Subsetter(options)
    cutter.populate(text=characters)
    buffer = io.BytesIO()
    # the time of writing is no part of the font: the same rows give the same page
    with TTFont(str(source), recalcTimestamp=False) as font:
        cutter.subset(font)
        font.flavor = "woff"
        font.save(buffer)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
