"""`python -m docs.site OUT`: build the site from this tree, without a network.

`--write` makes the pages that are kept in the tree anew, and builds nothing; `--no-notebooks`
leaves the notebooks out, and `--small` runs them at the size of the tests.
"""

from __future__ import annotations

import argparse
import importlib.resources
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax

ROOT = Path(__file__).resolve().parents[2]
DOCS, HERE = ROOT / "docs", Path(__file__).resolve().parent
FONT = "STIXTwoMath-Regular.ttf"
KEPT = DOCS / "what_can_be_put_in.md"


def main(arguments: list[str] | None = None) -> int:
    """The exit status: 0, or that of Sphinx."""
    parser = argparse.ArgumentParser(prog="python -m docs.site", description=__doc__)
    parser.add_argument("out", nargs="?", type=Path, metavar="OUT", help="folder of the site")
    parser.add_argument("--write", action="store_true", help="only write the pages that are kept")
    parser.add_argument("--no-notebooks", action="store_true", help="leave the notebooks out")
    parser.add_argument("--strict", action="store_true", help="warnings of Sphinx are errors")
    parser.add_argument("--small", action="store_true", help="notebooks at the size of the tests")
    options = parser.parse_args(arguments)
    jax.config.update("jax_enable_x64", True)
    if options.write:
        from docs.site.support import page

        KEPT.write_text(page(), encoding="utf-8")
        return 0
    if options.out is None:
        parser.error("OUT is the folder of the site")
    if importlib.util.find_spec("sphinx") is None:
        parser.error("the site needs Sphinx: pip install 'ufm[docs]', or -e '.[docs]' in a clone")
    source = options.out.resolve() / "source"
    stage(source)
    notebooks = [] if options.no_notebooks else sorted((ROOT / "notebooks").glob("*.ipynb"))
    gallery(notebooks, source / "notebooks", small=options.small)
    strict = ["--fail-on-warning"] if options.strict else []
    command = [sys.executable, "-m", "sphinx", *strict, "-q", "-b", "html"]
    command += [str(source), str(options.out.resolve() / "html")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(HERE)])}
    status = subprocess.run(command, env=environment, check=False).returncode
    if status == 0:
        print(f"the site is {options.out / 'html' / 'index.html'}")
    return status


def stage(source: Path) -> None:
    """All that Sphinx reads, in one folder: the pages of `docs/`, and those that are made."""
    from docs.site import api, theorems

    shutil.rmtree(source, ignore_errors=True)
    (source / "_static").mkdir(parents=True)
    (source / "api").mkdir()
    (source / "notebooks").mkdir()
    for path in sorted(DOCS.glob("*.md")):
        text = path.read_text(encoding="utf-8")
        # beside the pages lie the notebooks, and the sources only in the tree
        (source / path.name).write_text(text.replace("](../notebooks/", "](notebooks/"), "utf-8")
    shutil.copy(DOCS / "references.bib", source)
    shutil.copy(DOCS / "phase-diagram.png", source)
    shutil.copy(DOCS / "phase.toml", source)
    shutil.copy(HERE / "conf.py", source)
    shutil.copy(HERE / "ufm.css", source / "_static")
    # a font for formulas, which few machines have
    shutil.copy(importlib.resources.files("ziamath") / "fonts" / FONT, source / "_static")
    (source / "start.md").write_text(start(), encoding="utf-8")
    made = theorems.page(DOCS / "references.bib")
    (source / "theorems.md").write_text(made, encoding="utf-8")
    for name, text in api.pages().items():
        (source / "api" / name).write_text(text, encoding="utf-8")


def start() -> str:
    """The first two parts of the README: the example, and how to install."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    first = readme.partition("\n## What else there is")[0]
    for name in ("CHANGELOG.md", "CITATION.cff"):
        first = first.replace(f"[{name}]({name})", f"`{name}`")
    return first.replace("# ufm\n", "# Start\n", 1).replace("](docs/", "](")


def gallery(notebooks: list[Path], target: Path, *, small: bool) -> None:
    """Every notebook, with its pictures, in the folder, and the page that lists them."""
    from docs.site.notebooks import store

    if small:
        os.environ["UFM_NOTEBOOK_SIZE"] = "small"
    for path in notebooks:
        number = store(path, target / path.name, root=ROOT)
        print(f"{path.name}: {number} pictures", flush=True)
        assert number, f"{path.name} draws nothing"
    lines = ["# Notebooks", "", "Run, and stored with their pictures.", ""]
    if notebooks:
        lines += ["```{toctree}", ":maxdepth: 1", "", *(path.stem for path in notebooks), "```", ""]
    (target / "index.md").write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
