"""Plots as SVG: a row per case, a dot per contender, on a logarithmic axis.

The background is transparent, and every colour is visible on both white and black.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

TEXT = "#7d8590"
GRID = 'stroke="#7d8590" stroke-opacity=".3"'
# The first of these words that occurs in a contender's name selects the colour.
COLOURS = {
    "npzfs": "#f0600a",
    "native": "#2f9e44",
    "NpzFile": "#1c7ed6",
    "from_npz": "#1c7ed6",
    "ratarmount": "#ae3ec9",
    "mount-zip": "#0c8599",
    "archivemount": "#868e96",
    "fuse-zip": "#a07855",
    "mmnpz": "#e64980",
    "Parquet": "#9c36b5",
    "Feather": "#0c8599",
    "zipfile": "#1c7ed6",
    "crate": "#2f9e44",
}
# Of two contenders of the same colour, this one is drawn as an outline.
OUTLINED = ("from_npy,", "uncompressed", "mapped")

WIDTH, LABEL_WIDTH, BEST_WIDTH = 1000, 290, 240
ROW_HEIGHT, LEGEND_HEIGHT, AXIS_HEIGHT = 24, 20, 24
LETTER_WIDTH = 7


@dataclass(frozen=True)
class Dot:
    """The median of one contender, and the range of its samples."""

    contender: str
    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Row:
    """One case."""

    label: str
    dots: Sequence[Dot]


def colour(contender: str) -> str:
    """The colour of a contender, the same in every plot."""
    return next((COLOURS[word] for word in COLOURS if word in contender), TEXT)


def svg(rows: Sequence[Row], more_is_better: bool, show: Callable[[float], str]) -> str:
    """Draw a plot; `show` formats a value with its unit."""
    values = [value for row in rows for dot in row.dots for value in (dot.low, dot.high)]
    positive = [value for value in values if value > 0] or [1.0]
    axis = Axis(min(positive), max(positive))
    contenders = list(dict.fromkeys(dot.contender for row in rows for dot in row.dots))
    legend, top = draw_legend(contenders)
    bottom = top + ROW_HEIGHT * len(rows)
    parts = [legend, axis.draw(top, bottom, show)]
    for number, row in enumerate(rows):
        y = top + ROW_HEIGHT * (number + 0.5)
        parts.append(text(LABEL_WIDTH - 10, y + 4, row.label, "end"))
        # The best one is drawn last, on top of the others.
        ordered = sorted(row.dots, key=lambda dot: dot.median, reverse=not more_is_better)
        parts.extend(draw(dot, axis, y) for dot in ordered)
        best = ordered[-1]
        label = f"{best.contender}: {show(best.median)}"
        parts.append(text(WIDTH - BEST_WIDTH + 10, y + 4, label, fill=colour(best.contender)))
    arrow = "better →" if more_is_better else "← better"
    anchor, x = ("end", WIDTH - BEST_WIDTH) if more_is_better else ("start", LABEL_WIDTH)
    height = bottom + 2 * AXIS_HEIGHT
    parts.append(text(x, height - 8, arrow, anchor))
    parts.append(text(WIDTH - BEST_WIDTH + 10, top - 6, "best"))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" '
        f'font-family="sans-serif" font-size="12" fill="{TEXT}">\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


class Axis:
    """A logarithmic axis across the plot."""

    def __init__(self, low: float, high: float) -> None:
        self.low = math.log10(low) - 0.05
        self.high = max(math.log10(high) + 0.05, self.low + 0.3)

    def x(self, value: float) -> float:
        """The horizontal position of a value; zero is at the left end."""
        share = (math.log10(value) - self.low) / (self.high - self.low) if value > 0 else 0.0
        return LABEL_WIDTH + max(share, 0.0) * (WIDTH - LABEL_WIDTH - BEST_WIDTH)

    def ticks(self) -> list[float]:
        """Powers of ten; if these are few, also their doubles and quintuples."""
        decades = range(math.floor(self.low), math.ceil(self.high) + 1)
        span = self.high - self.low
        steps = (1, 2, 5) if span < 2.5 else (1,)
        every = math.ceil(span / 8)
        ticks = [step * 10.0**power for power in decades[::every] for step in steps]
        return [tick for tick in ticks if self.low <= math.log10(tick) <= self.high]

    def draw(self, top: float, bottom: float, show: Callable[[float], str]) -> str:
        """Draw the grid lines and their labels."""
        lines = []
        for tick in self.ticks():
            x = self.x(tick)
            lines.append(f'<path d="M{x:.1f} {top:g}V{bottom:g}" {GRID}/>')
            lines.append(text(x, bottom + 16, show(tick), "middle"))
        return "\n".join(lines)


def draw_legend(contenders: Sequence[str]) -> tuple[str, float]:
    """Draw the names beside their dots; returns the legend and its lower edge."""
    parts, x, y = [], 10.0, 14.0
    for name in contenders:
        width = 30 + LETTER_WIDTH * len(name)
        if x + width > WIDTH:
            x, y = 10.0, y + LEGEND_HEIGHT
        parts.append(circle(x, y - 4, 5, name))
        parts.append(text(x + 10, y, name))
        x += width
    return "\n".join(parts), y + LEGEND_HEIGHT


def draw(dot: Dot, axis: Axis, y: float) -> str:
    line = f"M{axis.x(dot.low):.1f} {y:g}H{axis.x(dot.high):.1f}"
    span = f'<path d="{line}" stroke="{colour(dot.contender)}" stroke-width="2" opacity=".6"/>'
    radius = 6.5 if "npzfs" in dot.contender else 4.5
    return span + circle(axis.x(dot.median), y, radius, dot.contender)


def circle(x: float, y: float, radius: float, contender: str) -> str:
    fill = "none" if any(word in contender for word in OUTLINED) else colour(contender)
    return (
        f'<circle cx="{x:.1f}" cy="{y:g}" r="{radius:g}" fill="{fill}" '
        f'stroke="{colour(contender)}" stroke-width="2"/>'
    )


def text(x: float, y: float, content: str, anchor: str = "start", fill: str = "") -> str:
    attributes = f' text-anchor="{anchor}"' if anchor != "start" else ""
    attributes += f' fill="{fill}"' if fill else ""
    return f'<text x="{x:.1f}" y="{y:g}"{attributes}>{escape(content)}</text>'
