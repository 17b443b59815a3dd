"""Run the benchmarks: `make bench`, with `QUICK=1` for a few minutes, with `FULL=1` for hours.

`python -m comparison [PANEL...]` runs the named panels only.
"""

import datetime
import resource
import signal
import sys
import tempfile
from pathlib import Path

from . import (
    big,
    cloned,
    folders,
    frames,
    loads,
    lookup,
    machine,
    memory,
    mounting,
    report,
    scale,
    throughput,
)
from .results import Panel, Results

PANELS = (frames, memory, loads, folders, big, lookup, throughput, mounting, cloned)
RESULTS = Path("comparison/results.json")
WORK = Path("target")


def main(selected: list[str]) -> int:
    """Run the panels, and save the results after each of them."""
    # A memory-mapped frame needs one descriptor per array.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    # Exit by an exception, so that every mount is unmounted.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))

    size = scale.from_environment()
    began = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    results = Results(size.name, size.rounds, began, machine.describe(WORK))
    for module in PANELS:
        name = module.__name__.rpartition(".")[2]
        if selected and name not in selected:
            continue
        panel = Panel(name, module.TITLE, module.ABOUT)
        with tempfile.TemporaryDirectory(prefix="comparison-", dir=WORK) as directory:
            folder = Path(directory).absolute()
            results.run(panel, lambda panel: module.measure(panel, size, folder))
        results.save(RESULTS)
        print(f"{name}: {panel.seconds:.0f} s", panel.error or "", flush=True)
    report.write(results, report.DOCUMENT)
    print(f"written: {RESULTS}, {report.DOCUMENT}")
    return 1 if any(panel.error for panel in results.panels) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
