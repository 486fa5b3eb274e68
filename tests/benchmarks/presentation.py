"""The figure and the README's table of a benchmark run, both from the file that the run wrote."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from ufm._system.files import write_whole

RESULTS = Path(__file__).parent / "results"
# The lines between these in README.md are made here.
BEGIN, END = "<!-- benchmarks: begin -->", "<!-- benchmarks: end -->"


# What a user cares about: rows of the README. The other rows are on the page.
CHOSEN = (
    ("minimise, full, equal accuracy", "L-BFGS-B, full"),
    ("minimise, collapsed, equal accuracy", "L-BFGS-B, full"),
    ("cross-entropy, bias, to 1e-06", "scipy L-BFGS-B"),
    ("cross-entropy, bias, to 1e-06", "torch momentum 0.9, step 0.1"),
    ("cross-entropy, bias, to 1e-06", "torch momentum, best step"),
    ("squared error, four layers, to 1e-06", "torch momentum, best step"),
    ("long tail, K=10, 1e-12", "cvxpy (Clarabel), nuclear norm"),
    ("long tail, K=100, gap 1e-09", "L-BFGS-B, (W, H)"),
    ("flow_batch, 256 flows, cross-entropy, K = 4, d = 8", "loop over solve_ivp, DOP853"),
    (
        "fit_features, 100000 mixed labels, K = 100, d = 100, simplex ETF",
        "loop over L-BFGS-B to 1e-10, scaled up",
    ),
    ("sweep of long tails, gap 1e-8", "scipy L-BFGS-B loop"),
    ("first minimise of a process, cache", "first minimise, no cache"),
)
_HEAD = "| ours | rival | ours ms | first call ms | rival ms | ratio | wanted |"


def markdown(document: dict, chosen: tuple[tuple[str, str], ...] | None = None) -> str:
    """The rows of a run as a table, all of them or those that are chosen; machine and versions.

    "first call": ours, with what it compiles, where it was measured.
    """
    lines = [_HEAD, "|---|---|--:|--:|--:|--:|--:|"]
    for group in document.values():
        for row in group["rows"]:
            if chosen is not None and (row["name"], row["rival_name"]) not in chosen:
                continue
            data = row.get("data", {})
            # a budget that did not suffice bounds the ratio from below
            bound = "" if data.get("reached", True) else "> "
            wanted = "" if row["required"] is None else f"{row['required']:g}"
            cold = data.get("ours, first call s")
            first = "" if cold is None else f"{1e3 * cold:.3g}"
            times = (
                f"{1e3 * row['ours']['wall']:.3g} | {first} | "
                f"{bound}{1e3 * row['rival']['wall']:.3g} | {bound}{row['ratio']:.3g}"
            )
            lines.append(f"| {row['name']} | {row['rival_name']} | {times} | {wanted} |")
    about = next(iter(document.values()))["environment"]
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    dates = sorted({group["environment"]["date"] for group in document.values()})
    lines += [
        "",
        f"{about['processor']}, float64, {' to '.join(dict.fromkeys((dates[0], dates[-1])))}; "
        f"Python {about['python']}, {versions}.",
    ]
    return "\n".join(lines)


def in_readme(readme: str, document: dict) -> str:
    """The README with its table replaced."""
    assert -1 < readme.find(BEGIN) < readme.find(END), (
        f"README.md must hold {BEGIN} and, after it, {END}"
    )
    before, after = readme.partition(BEGIN)[0], readme.partition(END)[2]
    return f"{before}{BEGIN}\n{markdown(document, CHOSEN)}\n{END}{after}"


def page(document: dict) -> str:
    """All rows, as a page of the documentation."""
    return (
        "# Benchmarks\n\nAll rows of the last run of `python -m tests.benchmarks`. Both sides of a "
        "row have the same start, accuracy\nand threads, and our own slower ways are rivals too. "
        '"wanted" is what was promised: a row that misses it stays.\n\n'
        f"{markdown(document)}\n"
    )


def figure(document: dict):
    """Time to accuracy, one panel a problem, and below it the growth of the time with each size.

    Needs the groups accuracy and scaling.
    """
    import matplotlib.pyplot as plt

    rows = document["accuracy"]["rows"]
    settings = list(dict.fromkeys(row["data"]["setting"] for row in rows))
    sizes = document["scaling"]["rows"]
    axes_names = list(dict.fromkeys(row["data"]["axis"] for row in sizes))
    drawing, grid = plt.subplots(
        2,
        max(len(settings), len(axes_names)),
        figsize=(11, 6.5),
        layout="constrained",
        squeeze=False,
    )
    for ax, setting in zip(grid[0], settings, strict=False):
        _accuracy_panel(ax, setting, [row for row in rows if row["data"]["setting"] == setting])
    for ax in grid[0][len(settings) :]:
        ax.axis("off")
    grid[0][0].set_ylabel("seconds, one thread")
    handles, labels = grid[0][0].get_legend_handles_labels()
    grid[0][-1].legend(
        handles,
        labels,
        loc="center",
        fontsize=8,
        frameon=False,
        title="open: budget spent short of it",
        title_fontsize=8,
    )
    for ax, name in zip(grid[1], axes_names, strict=False):
        mine = [row for row in sizes if row["data"]["axis"] == name]
        at = [row["data"]["size"] for row in mine]
        ax.loglog(
            at, [row["ours"]["wall"] for row in mine], "o-", color="black", label="ufm Newton"
        )
        ax.loglog(
            at,
            [row["rival"]["wall"] for row in mine],
            "s--",
            color="#D55E00",
            label="scipy L-BFGS-B",
        )
        ax.set_xlabel(
            {
                "n": "n, samples a class",
                "d": "d, feature dimension",
                "K": "K, classes",
                "M": "M, layers",
            }[name]
        )
        ax.set_xticks(at, [str(size) for size in at])
        ax.minorticks_off()
    grid[1][0].set_ylabel("seconds to Gram error 1e-6")
    grid[1][0].legend(fontsize=8, frameon=False)
    return drawing


# Okabe and Ito's colours, with a marker each for print in grey
_LOOK = {
    "ufm Newton": ("black", "o"),
    "ufm Newton, collapsed": ("#0072B2", "o"),
    "ufm L-BFGS": ("#56B4E9", "^"),
    "scipy L-BFGS-B": ("#D55E00", "s"),
    "torch L-BFGS": ("#E69F00", "v"),
    "torch momentum, best step": ("#009E73", "D"),
    "torch momentum 0.9, step 0.1": ("#009E73", "P"),
    "torch GD, best step": ("#CC79A7", "<"),
    "torch GD, step 0.1": ("#CC79A7", "X"),
    "torch Adam, best step": ("#777777", "*"),
}


def _accuracy_panel(ax, setting: str, rows: list[dict]) -> None:
    contestants: dict[str, list[tuple[float, float, bool]]] = {"ufm Newton": []}
    for row in rows:
        data = row["data"]
        contestants.setdefault(data["contestant"], []).append(
            (data["accuracy"], row["rival"]["wall"], data["reached"])
        )
        if (data["accuracy"], row["ours"]["wall"], True) not in contestants["ufm Newton"]:
            contestants["ufm Newton"].append((data["accuracy"], row["ours"]["wall"], True))
    accuracies = sorted({accuracy for accuracy, _, _ in contestants["ufm Newton"]}, reverse=True)
    for index, (name, points) in enumerate(contestants.items()):
        colour, marker = _LOOK[name]
        # side by side, or markers at one accuracy would hide each other
        at = [
            accuracies.index(accuracy) + 0.06 * (index - len(contestants) / 2)
            for accuracy, _, _ in points
        ]
        style = dict(color=colour, marker=marker, linestyle="none", markersize=6)
        ax.plot(at, [seconds for _, seconds, _ in points], color=colour, linewidth=0.6, alpha=0.5)
        for x, (_, seconds, reached) in zip(at, points, strict=True):
            ax.plot(x, seconds, **style, markerfacecolor=colour if reached else "none")
        ax.plot([], [], **style, label=name)
    ax.set_yscale("log")
    ax.set_xticks(range(len(accuracies)), [f"{accuracy:g}" for accuracy in accuracies])
    ax.set_xlabel("relative Gram error")
    ax.set_title(setting, fontsize=10)


def main(argv: list[str] | None = None) -> int:
    """Draw the figure of a results file, write its page, put its main rows into the README."""
    arguments = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.presentation", description=main.__doc__
    )
    arguments.add_argument(
        "results",
        nargs="?",
        default=str(RESULTS / "cpu.json"),
        help="what python -m tests.benchmarks --json wrote",
    )
    arguments.add_argument("--readme", metavar="FILE", help="the README to put the table into")
    arguments.add_argument("--page", metavar="FILE", help="the page with all rows, to write")
    arguments.add_argument("--figure", metavar="FILE", help="a PNG or PDF to draw")
    options = arguments.parse_args(argv)
    document = json.loads(Path(options.results).read_text(encoding="utf-8"))
    if options.readme:
        readme = Path(options.readme)
        write_whole(readme, in_readme(readme.read_text(encoding="utf-8"), document))
    if options.page:
        write_whole(Path(options.page), page(document))
    if options.figure:
        figure(document).savefig(options.figure, dpi=150)
    if not (options.readme or options.page or options.figure):
        print(markdown(document))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
