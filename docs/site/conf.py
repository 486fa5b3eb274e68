"""Sphinx: Markdown by MyST, the bibliography of `references.bib`, formulas as MathML.

Nothing of a page is fetched when it is read: formulas are MathML, which browsers typeset, in place
of MathJax from a network.
"""

from __future__ import annotations

import html
import re

from sphinx.util import logging

import ufm
from theory_checks.engine.typesetting import mathml

project = "ufm"
author = copyright = "The ufm authors"
release = ufm.__version__
extensions = ["myst_nb", "sphinxcontrib.bibtex"]
bibtex_bibfiles = ["references.bib"]
bibtex_default_style = "plain"
bibtex_reference_style = "author_year"
html_theme = "furo"
html_title = "ufm"
html_math_renderer = "mathml"
nb_execution_mode = "off"
# cells draw their pictures once, as files
nb_merge_streams = True
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3
# formulas in the names of papers and in docstrings are ours, and so is the wish for a word on each
suppress_warnings = ["myst.header", "myst.xref_missing"]
# a block without a language is what something prints
highlight_language = "none"
pygments_style = "friendly"
pygments_dark_style = "monokai"


def _typeset(formula: str) -> str:
    # (what MyST keeps of a docstring's line breaks)
    formula = re.sub(r"\s+", " ", formula).strip()
    try:
        return str(mathml(formula))
    except ValueError as error:
        logging.getLogger(__name__).warning(str(error))
        return f"<code>{html.escape(formula)}</code>"


def _inline(self, node) -> None:
    from docutils.nodes import SkipNode

    self.body.append(_typeset(node.astext()))
    raise SkipNode


def _displayed(self, node) -> None:
    from docutils.nodes import SkipNode

    self.body.append(f'<div class="math-displayed">{_typeset(node.astext())}</div>')
    raise SkipNode


def setup(app) -> None:
    """Formulas are typeset here, without a script that is fetched."""
    app.add_html_math_renderer("mathml", (_inline, None), (_displayed, None))
    app.add_css_file("ufm.css")


html_static_path = ["_static"]
