"""The report on a run: docs/benchmarks.md, with its plots.

`python -m comparison.report RESULTS DOCUMENT` writes it from a file of results, with the standard
library alone.
"""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from . import cases
from .plot import Dot, Row, svg
from .results import Panel, Results, Series
from .targets import targets

DOCUMENT = Path("docs/benchmarks.md")

# The quantities with a plot; all quantities have a table.
PLOTTED = (cases.TIME, cases.RATE, cases.MEMORY, cases.ALLOCATED, cases.TIME_PER_FAULT)

INTRODUCTION = """\
# Benchmarks

`make bench` runs these benchmarks and writes this report; `make bench QUICK=1` takes minutes, and
`make bench FULL=1` measures the frames at a hundred million elements. Every sample is in
[comparison/results.json](../comparison/results.json).

The contenders of a case take turns, round by round, so that other load on the machine affects all
of them alike; compare figures of one run only. The tables show medians, with the smallest and the
largest sample in parentheses; the best median of a row is bold. Each measurement runs in a process
of its own. The states:

- *disk-cold*: no page of the archive or the file is in the page cache, and the mount is fresh;
- *mount-cold*: the archive is in the page cache, and the mount is fresh;
- *warm*: the same measurement repeated on that mount. A contender without a mount has one value for
  both, with all files in the page cache.
"""


def write(results: Results, document: Path) -> None:
    """Write the document, and its plots in the directory of the same name beside it."""
    plots = document.with_suffix("")
    plots.mkdir(parents=True, exist_ok=True)
    for old in plots.glob("*.svg"):
        old.unlink()
    parts = [INTRODUCTION, describe_run(results), "## Targets\n\n" + targets_table(results)]
    for panel in results.panels:
        parts.append("\n\n".join(section(panel, plots)) + "\n")
    document.write_text("\n".join(parts))


def describe_run(results: Results) -> str:
    lines = [f"A *{results.scale}* run of {results.rounds} rounds, {results.began}."]
    if results.scale == "quick":
        lines[0] += " Its samples are few and its files short: it shows orders of magnitude."
    lines.append(table(["", ""], [[key, value] for key, value in results.machine.items()]))
    return "\n\n".join(lines) + "\n"


def targets_table(results: Results) -> str:
    verdicts = {True: "met", False: "**missed**", None: "not measured"}
    words = {">=": "at least", "<=": "at most", "<": "less than", ">": "more than"}
    rows = []
    for target in targets(results):
        measured = "" if target.measured is None else f"{target.measured:.3g}"
        rows.append(
            [
                target.description,
                f"{words[target.sign]} {target.limit:g}",
                measured,
                verdicts[target.is_met],
            ]
        )
    return table(["quantity", "target", "measured", ""], rows) + "\n"


def section(panel: Panel, plots: Path) -> Iterator[str]:
    """Yields the paragraphs on a panel."""
    yield f"## {panel.title}"
    yield panel.about
    if panel.error:
        yield f"This panel failed: `{panel.error}`"
    for quantity in dict.fromkeys(series.quantity for series in panel.series):
        chosen = [series for series in panel.series if series.quantity == quantity]
        heading = quantity[0].upper() + quantity[1:]
        if quantity in PLOTTED:
            plot = plots / f"{panel.name}-{quantity.replace(' ', '-')}.svg"
            plot.write_text(plot_of(chosen))
            yield f"### {heading}"
            yield f"![{heading}: {panel.title}]({plots.name}/{plot.name})"
            yield folded(f"{heading}, table", samples_table(chosen))
        else:
            yield folded(heading, samples_table(chosen))
    if panel.failures:
        yield "Failed:"
        yield "\n".join(failures(panel))


def failures(panel: Panel) -> Iterator[str]:
    """Yields each error once, with the cases in which it occurred."""
    found: dict[tuple[str, str], list[str]] = {}
    for failure in panel.failures:
        # The mount point differs each time.
        error = re.sub(r"/\S*npzfs-comparison-\w+/", "", failure.error).replace("`", "'")
        found.setdefault((failure.contender, error), []).append(failure.case)
    for (contender, error), names in found.items():
        yield f"- {contender} ({'; '.join(names)}): `{error}`"


def folded(summary: str, content: str) -> str:
    return f"<details><summary>{summary}</summary>\n\n{content}\n\n</details>"


def by_row(chosen: Sequence[Series]) -> dict[tuple[str, str], list[Series]]:
    """Group the contenders by case and state; one without a mount is part of both states."""
    rows: dict[tuple[str, str], list[Series]] = {}
    for series in chosen:
        rows.setdefault((series.case, series.state), []).append(series)
    for (case, state), found in list(rows.items()):
        beside = [(case, cases.MOUNT_COLD), (case, cases.WARM)]
        if state == cases.CACHED and any(key in rows for key in beside):
            del rows[case, state]
            for key in beside:
                if key in rows:
                    rows[key] = found + rows[key]
    order = {state: at for at, state in enumerate((cases.DISK_COLD, cases.MOUNT_COLD, cases.WARM))}
    first = {case: at for at, case in enumerate(dict.fromkeys(series.case for series in chosen))}
    return dict(sorted(rows.items(), key=lambda it: (first[it[0][0]], order.get(it[0][1], 9))))


def plot_of(chosen: Sequence[Series]) -> str:
    rows = by_row(chosen)
    states = {state for _, state in rows}
    drawn_rows = []
    for (case, state), found in rows.items():
        dots = [Dot(it.contender, it.median, min(it.samples), max(it.samples)) for it in found]
        drawn_rows.append(Row(f"{case}, {state}" if len(states) > 1 else case, dots))
    unit = chosen[0].unit
    return svg(drawn_rows, more_is_better(unit), functools.partial(format_value, unit=unit))


def more_is_better(unit: str) -> bool:
    return unit == "GB/s"


def samples_table(chosen: Sequence[Series]) -> str:
    contenders = list(dict.fromkeys(series.contender for series in chosen))
    rows = []
    for (case, state), found in by_row(chosen).items():
        medians = [series.median for series in found]
        best = max(medians) if more_is_better(chosen[0].unit) else min(medians)
        cells = {series.contender: cell(series, best) for series in found}
        rows.append([case, state, *(cells.get(name, "") for name in contenders)])
    return table(["", "", *contenders], rows)


def cell(series: Series, best: float) -> str:
    low, middle, high = (
        format_value(value, series.unit)
        for value in (min(series.samples), series.median, max(series.samples))
    )
    if series.median == best:
        middle = f"**{middle}**"
    return middle if low == high else f"{middle} ({low} - {high})"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


SCALES = {
    "s": [(1.0, "s"), (1e-3, "ms"), (1e-6, "µs")],
    "B": [(1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B")],
}


def format_value(value: float, unit: str) -> str:
    """Format a value with three digits and a suitable unit."""
    for factor, name in SCALES.get(unit, []):
        if value >= factor:
            return f"{digits(value / factor)} {name}"
    if unit in SCALES and value:
        factor, name = SCALES[unit][-1]
        return f"{digits(value / factor)} {name}"
    return f"{digits(value)} {unit}".strip()


def digits(value: float) -> str:
    if value >= 100 or value == 0:
        return f"{value:,.0f}"
    return f"{value:.3g}"


if __name__ == "__main__":
    write(Results.load(Path(sys.argv[1])), Path(sys.argv[2]))
