"""Functions that run in a process of their own, with a time limit."""

import os
import pickle
import select
import signal
import time
from collections.abc import Callable
from typing import Any


class ChildFailed(Exception):
    """The function raised an exception, or its process died."""


class TimedOut(Exception):
    """The function was killed at its time limit."""


def run(timeout_s: float, work: Callable[..., Any], *arguments: Any) -> Any:
    """Call `work` in a fork of this process and return its result.

    The fork has all modules that are imported here, and no memory left over from earlier calls. If
    a file system hangs, the fork hangs with it, and is killed with all its children.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        os.setsid()
        send_result(writer, work, arguments)
        os._exit(0)
    os.close(writer)
    try:
        return receive_result(reader, timeout_s)
    finally:
        os.close(reader)
        kill(pid)


def send_result(writer: int, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    try:
        outcome = (True, work(*arguments))
    except BaseException as error:  # the child must not continue as a second benchmark run
        outcome = (False, f"{type(error).__name__}: {error}")
    with open(writer, "wb") as pipe:
        pipe.write(pickle.dumps(outcome))


def receive_result(reader: int, timeout_s: float) -> Any:
    deadline = time.monotonic() + timeout_s
    pickled = bytearray()
    while True:
        ready, _, _ = select.select([reader], [], [], max(deadline - time.monotonic(), 0))
        if not ready:
            raise TimedOut(f"more than {timeout_s:g} s")
        received = os.read(reader, 1 << 16)
        if not received:
            break
        pickled += received
    if not pickled:
        raise ChildFailed("the process died")
    succeeded, result = pickle.loads(pickled)
    if not succeeded:
        raise ChildFailed(result)
    return result


def kill(pid: int) -> None:
    """Kill a fork and its children, and wait up to about two seconds for it to exit.

    A process that waits for a page of a dead mount cannot exit before the server does, so the wait
    is bounded.
    """
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        os.kill(pid, signal.SIGKILL)
    for _ in range(2000):
        if os.waitpid(pid, os.WNOHANG)[0] == pid:
            return
        time.sleep(0.001)
