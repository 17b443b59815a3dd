"""Take the figures: `make bench`, with `QUICK=1` for a few minutes, with `FULL=1` for hours.

`python -m bench [PANEL...]` takes those of some panels only.
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
RESULTS = Path("bench/results.json")
WORK = Path("target")


def main(wanted: list[str]) -> int:
    """Measure, and write what was found after each panel."""
    # A memory-mapped frame holds one descriptor an array.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    # So that all that is mounted is unmounted.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))

    chosen = scale.chosen()
    began = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    results = Results(chosen.name, chosen.rounds, began, machine.described(WORK))
    for module in PANELS:
        name = module.__name__.rpartition(".")[2]
        if wanted and name not in wanted:
            continue
        panel = Panel(name, module.TITLE, module.ABOUT)
        with tempfile.TemporaryDirectory(prefix="bench-", dir=WORK) as directory:
            folder = Path(directory).absolute()
            results.run(panel, lambda panel: module.measure(panel, chosen, folder))
        results.save(RESULTS)
        print(f"{name}: {panel.seconds:.0f} s", panel.error or "", flush=True)
    report.write(results, report.DOCUMENT)
    print(f"written: {RESULTS}, {report.DOCUMENT}")
    return 1 if any(panel.error for panel in results.panels) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
