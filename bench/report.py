"""The report on a run: docs/benchmarks.md, with its plots.

`python -m bench.report RESULTS DOCUMENT` writes it anew from a file; no package is needed for it.
"""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from . import cases
from .bars import bars
from .plot import Dot, Row, svg
from .results import Panel, Results, Series

DOCUMENT = Path("docs/benchmarks.md")

# What is worth a plot; tables have all.
PLOTTED = (cases.TIME, cases.RATE, cases.MEMORY, cases.ALLOCATED, cases.FAULT_TIME)

INTRODUCTION = """\
# Benchmarks

`make bench` takes these figures and writes this report; `make bench QUICK=1` takes minutes, and
`make bench FULL=1` measures the frames at a hundred million elements. Every sample is in
[bench/results.json](../bench/results.json).

The contenders of a case take turns, round by round, so that whatever else the machine does hits all
alike; compare figures of one run only. Shown are medians, with the least and the greatest sample
behind them; the best median of a row is bold. Each measurement is a process of its own. The states:

- *disk-cold*: neither the archive nor the file has a page in the cache, and the mount is fresh;
- *mount-cold*: the archive is in the page cache, and the mount is fresh;
- *warm*: the same once more. What has no mount has one figure for both, with all files cached.
"""


def write(results: Results, document: Path) -> None:
    """Write the document, and beside it the plots in a directory of the same name."""
    plots = document.with_suffix("")
    plots.mkdir(parents=True, exist_ok=True)
    for old in plots.glob("*.svg"):
        old.unlink()
    parts = [INTRODUCTION, described(results), "## Bars\n\n" + bars_table(results)]
    for panel in results.panels:
        parts.append("\n\n".join(section(panel, plots)) + "\n")
    document.write_text("\n".join(parts))


def described(results: Results) -> str:
    lines = [
        f"This was a run of the kind *{results.scale}*, {results.rounds} rounds, {results.began}."
    ]
    if results.scale == "quick":
        lines[0] += " Its samples are few and its files short: it shows orders, not bars."
    lines.append(table(["", ""], [[key, value] for key, value in results.machine.items()]))
    return "\n\n".join(lines) + "\n"


def bars_table(results: Results) -> str:
    verdicts = {True: "met", False: "**missed**", None: "not measured"}
    words = {">=": "at least", "<=": "at most", "<": "less than", ">": "more than"}
    rows = []
    for bar in bars(results):
        measured = "" if bar.measured is None else f"{bar.measured:.3g}"
        rows.append([bar.what, f"{words[bar.sign]} {bar.limit:g}", measured, verdicts[bar.is_met]])
    return table(["what", "required", "measured", ""], rows) + "\n"


def section(panel: Panel, plots: Path) -> Iterator[str]:
    """What there is to say of a panel, paragraph by paragraph."""
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
            yield folded(f"{heading} in figures", figures(chosen))
        else:
            yield folded(heading, figures(chosen))
    if panel.failures:
        yield "Failed:"
        yield "\n".join(failed(panel))


def failed(panel: Panel) -> Iterator[str]:
    """The errors, each once, with the cases that it came in."""
    found: dict[tuple[str, str], list[str]] = {}
    for failure in panel.failures:
        # The mount point is another one each time.
        error = re.sub(r"/\S*npzfs-bench-\w+/", "", failure.error).replace("`", "'")
        found.setdefault((failure.contender, error), []).append(failure.case)
    for (contender, error), names in found.items():
        yield f"- {contender} ({'; '.join(names)}): `{error}`"


def folded(summary: str, content: str) -> str:
    return f"<details><summary>{summary}</summary>\n\n{content}\n\n</details>"


def by_row(chosen: Sequence[Series]) -> dict[tuple[str, str], list[Series]]:
    """The contenders of each case and state; those without a mount stand beside each state."""
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
    drawn = []
    for (case, state), found in rows.items():
        dots = [Dot(it.contender, it.median, min(it.samples), max(it.samples)) for it in found]
        drawn.append(Row(f"{case}, {state}" if len(states) > 1 else case, dots))
    unit = chosen[0].unit
    return svg(drawn, more_is_better(unit), functools.partial(shown, unit=unit))


def more_is_better(unit: str) -> bool:
    return unit == "GB/s"


def figures(chosen: Sequence[Series]) -> str:
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
        shown(value, series.unit)
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


def shown(value: float, unit: str) -> str:
    """A figure with three digits and a unit that suits it."""
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
