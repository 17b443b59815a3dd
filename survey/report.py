"""docs/writers.md, made of survey/results.json.

python -m survey.report RESULTS DOCUMENT
"""

import json
import sys
from pathlib import Path

from .arrays import ARRAYS

HEAD = """# Who writes and reads archives, and how

Each row was made by a run of `make survey`: the writer wrote an archive of the same three arrays (or the same three
`.npy` files), whose records were then read byte by byte; each reader was given the same files. Nothing is taken from
documentation. No row is an endorsement, and an empty cell means that there is nothing to say.

npzfs {npzfs}. Every archive below was also read by NumPy, by unzip 6.0 and by 7-Zip, mounted by npzfs and compared byte
by byte with what Python's `zipfile` reads, and checked by `npzfs verify`. Where one of them fails, a last column says so.

- **Sizes**: where a reader that goes through the file from its start finds the length of a member: in its local
  header, in the ZIP64 field there, or only behind the data, in a *descriptor*. npzfs takes them from the central directory.
- **Data at**: the largest power of two, up to 4096, at which every stored array's own bytes start. Where it is less
  than the element, a mapping of the whole archive gives unaligned arrays; at 4096 pages can be shared with the
  archive. `npzfs repack` makes it so.
- **Header**: the versions of the npy headers, and the power of two, up to 64, that their lengths are multiples of; *Fortran*
  where they say `'fortran_order': True`.
- **Dates**: *1980* is what a writer puts that has none; *none* is zero, which is no date; *now*; or *the file's*.
"""

READERS_HEAD = """
## Readers of archives

*yes*: all three members, byte for byte. *no*: it failed and said so. **wrong**: it ended with success and gave something
else, or nothing. NumPy writes a ZIP64 field into every local header where it can seek, and where it cannot a data descriptor
with sizes of 64 bits: both are within the specification, and both are where readers fall.
"""

ARRAYS_HEAD = """
## Readers of arrays

*yes*: shape and values are those that NumPy wrote, with Fortran order undone or stated. *no*: it failed and
said so. In bold: it ended with success and gave something else. *as float32*: right, but for the digits.
"""


def markdown(results):
    parts = [HEAD.format(npzfs=results["npzfs"])]
    parts.append("\n## Writers of arrays\n\n" + writers(results["array_writers"], headers=True))
    parts.append("\n## Writers of archives\n\n" + writers(results["archivers"], headers=False))
    parts.append(READERS_HEAD + "\n" + archive_readers(results["archive_readers"]))
    parts.append(ARRAYS_HEAD + "\n" + array_readers(results["array_readers"]))
    return "".join(parts)


def table(heads, rows):
    lines = ["| " + " | ".join(heads) + " |", "| " + " | ".join("---" for _ in heads) + " |"]
    lines += ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def writers(results, headers):
    heads = ["Writer", "Version", "Method", "Sizes", "Data at", *(["Header"] if headers else []), "Dates", "Fields, flags"]
    if any(row["readers"] for row in results):
        heads.append("Not taken by")
    rows = []
    for row in results:
        also = [f"ZIP64 in {' and '.join(row['zip64'])}"] if row["zip64"] and row["sizes"] != ["ZIP64 field"] else []
        also += row["fields"] + row["notes"]
        rows.append([
            row["name"],
            row["version"],
            ", ".join(row["method"]),
            ", ".join(row["sizes"]),
            row["align"] or "",
            *([", ".join(row["headers"])] if headers else []),
            ", ".join(row["dates"]),
            ", ".join(also),
            "; ".join(f"{reader}: {said}" for reader, said in row["readers"].items()),
        ])
    return table(heads, [row[:len(heads)] for row in rows])


def archive_readers(results):
    headings = list(results[0]["answers"])
    rows = [[row["name"], row["version"], *(bold(answer) for answer in row["answers"].values())] for row in results]
    return table(["Reader", "Version", *headings], rows)


def array_readers(results):
    heads = ["Array", *(f"{column['name']} {column['version']}" for column in results)]
    rows = [[what, *(bold(column["answers"][name]) for column in results)] for name, what in ARRAYS.items()]
    return table(heads, rows)


def bold(answer):
    return f"**{answer}**" if answer.startswith("wrong") else answer


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(markdown(json.loads(Path(sys.argv[1]).read_text())))
