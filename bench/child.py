"""Work in a process of its own, which a time limit can end."""

import os
import pickle
import select
import signal
import time
from collections.abc import Callable
from typing import Any


class WorkFailed(Exception):
    """The work raised an error, or its process died."""


class TookTooLong(Exception):
    """The work was ended at its time limit."""


def run(timeout_s: float, work: Callable[..., Any], *arguments: Any) -> Any:
    """The result of `work`, done in a fork of this process.

    The fork has all modules that are imported here, and none of what earlier work has left in
    memory. It is the one that hangs if a file system does, and is ended then with all its children.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        os.setsid()
        report(writer, work, arguments)
        os._exit(0)
    os.close(writer)
    try:
        return answer(reader, timeout_s)
    finally:
        os.close(reader)
        end(pid)


def report(writer: int, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    try:
        outcome = (True, work(*arguments))
    except BaseException as error:  # it must not go on as a second runner
        outcome = (False, f"{type(error).__name__}: {error}")
    with open(writer, "wb") as pipe:
        pipe.write(pickle.dumps(outcome))


def answer(reader: int, timeout_s: float) -> Any:
    deadline = time.monotonic() + timeout_s
    pickled = bytearray()
    while True:
        ready, _, _ = select.select([reader], [], [], max(deadline - time.monotonic(), 0))
        if not ready:
            raise TookTooLong(f"more than {timeout_s:g} s")
        received = os.read(reader, 1 << 16)
        if not received:
            break
        pickled += received
    if not pickled:
        raise WorkFailed("the process died")
    done, result = pickle.loads(pickled)
    if not done:
        raise WorkFailed(result)
    return result


def end(pid: int) -> None:
    """End a fork and its children, and wait for a while until it is gone.

    One that waits for a page of a dead mount is gone only after its server is; it is left to that.
    """
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        os.kill(pid, signal.SIGKILL)
    for _ in range(2000):
        if os.waitpid(pid, os.WNOHANG)[0] == pid:
            return
        time.sleep(0.001)
