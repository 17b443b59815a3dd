"""All samples of a run, by panel, and their file format.

Uses the standard library alone, so that a report can be written anywhere.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass
class Series:
    """The samples of one quantity of one contender, one per round."""

    case: str
    state: str
    contender: str
    quantity: str
    unit: str
    samples: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The median of the samples."""
        return statistics.median(self.samples)


@dataclass
class Failure:
    """An error of a contender in a case."""

    case: str
    contender: str
    error: str


@dataclass
class Panel:
    """The measurements for one question."""

    name: str
    title: str
    about: str
    seconds: float = 0.0
    error: str | None = None
    series: list[Series] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    def add(
        self, case: str, state: str, contender: str, quantity: str, unit: str, sample: float
    ) -> None:
        """Add one sample."""
        series = self.find(case, state, contender, quantity)
        if series is None:
            series = Series(case, state, contender, quantity, unit)
            self.series.append(series)
        series.samples.append(float(f"{sample:.5g}"))

    def find(self, case: str, state: str, contender: str, quantity: str) -> Series | None:
        """The samples of one quantity, if any."""
        key = (case, state, contender, quantity)
        for series in self.series:
            if (series.case, series.state, series.contender, series.quantity) == key:
                return series
        return None

    def interleave(
        self, rounds: int, case: str, contenders: Mapping[str, Callable[[], None]]
    ) -> None:
        """Measure every contender once per round, in an order that rotates by one each round.

        Other load on the machine thus affects all contenders alike. If one fails, its error is
        recorded, and the case continues without it.
        """
        names = list(contenders)
        for number in range(rounds):
            first = number % max(len(names), 1)
            for name in names[first:] + names[:first]:
                if any((it.case, it.contender) == (case, name) for it in self.failures):
                    continue
                try:
                    contenders[name]()
                except Exception as error:  # the other contenders are still to be measured
                    self.failures.append(Failure(case, name, summarize(error)))


@dataclass
class Results:
    """One run."""

    scale: str
    rounds: int
    began: str
    machine: dict[str, str]
    panels: list[Panel] = field(default_factory=list)

    def run(self, panel: Panel, measure: Callable[[Panel], None]) -> None:
        """Measure one panel; if it fails, its results so far and the error are kept."""
        self.panels.append(panel)
        start = time.monotonic()
        try:
            measure(panel)
        except Exception as error:  # the other panels are still to be measured
            panel.error = summarize(error)
        panel.seconds = round(time.monotonic() - start, 1)

    def save(self, path: Path) -> None:
        """Write the file atomically."""
        made = path.with_suffix(".part")
        made.write_text(one_line_per_series(asdict(self)))
        os.replace(made, path)

    @classmethod
    def load(cls, path: Path) -> Results:
        """Read a file that `save` wrote."""
        stored = json.loads(path.read_text())
        panels = []
        for panel in stored.pop("panels"):
            series = [Series(**it) for it in panel.pop("series")]
            failures = [Failure(**it) for it in panel.pop("failures")]
            panels.append(Panel(**panel, series=series, failures=failures))
        return cls(**stored, panels=panels)

    def panel(self, name: str) -> Panel | None:
        """The panel of that name, if it was run."""
        return next((panel for panel in self.panels if panel.name == name), None)


def summarize(error: Exception) -> str:
    """Format an error as one line of bounded length."""
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return " ".join(text.split())[:300]


def one_line_per_series(stored: dict) -> str:
    """Format JSON with one line per series, so that `diff` can compare two runs."""
    panels = stored.pop("panels")
    head = json.dumps(stored, indent=1)[:-2]
    texts = []
    for panel in panels:
        lists = {key: panel.pop(key) for key in ("series", "failures")}
        text = json.dumps(panel, indent=2)[:-2]
        for key, items in lists.items():
            lines = ",".join("\n    " + json.dumps(item) for item in items)
            text += f',\n  "{key}": [{lines}]'
        texts.append(text + "\n}")
    return head + ',\n "panels": [\n' + ",\n".join(texts) + "\n]}\n"
