"""The options of a mount."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, List, Mapping, TypedDict, Union

if TYPE_CHECKING:
    from typing import Literal

    from ._program import StrPath


class Options(TypedDict, total=False):
    """The long options of ``npzfs mount``, with underscores. The manual page describes them.

    A size is a number of bytes, or a string such as ``"500M"`` or ``"2G"``.
    """

    allow_other: bool
    allow_root: bool
    auto_unmount: bool
    cache_dir: StrPath
    deflated: Literal["inflate", "refuse"]
    inflate_limit: Union[int, str]
    log: StrPath
    max_open: int
    passthrough: Literal["auto", "on", "off"]
    passthrough_min: Union[int, str]
    poll_us: int
    prefetch: Literal["on", "off"]
    quiet: bool
    recursive: bool
    strict: bool
    strip_suffix: bool
    threads: int
    uid: int
    gid: int
    umask: int
    verbose: Union[bool, int]
    o: str


def to_arguments(options: Mapping[str, Any], function: str) -> List[str]:
    """Convert the keyword options of `function` to command-line arguments.

    Raises:
        TypeError: An option does not exist.
    """
    arguments: List[str] = []
    for name, value in options.items():
        if name not in Options.__annotations__:
            raise TypeError(f"{function}() got an unexpected keyword argument '{name}'")
        flag = "-o" if name == "o" else "--" + name.replace("_", "-")
        if value is None or value is False:
            continue
        if value is True or name == "verbose":
            arguments += [flag] * value
        elif name == "o":
            arguments += [flag, value]
        elif name == "umask":
            arguments.append(f"{flag}={value:o}")
        else:
            arguments.append(f"{flag}={os.fspath(value) if hasattr(value, '__fspath__') else value}")
    return arguments
