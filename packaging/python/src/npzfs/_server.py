"""The processes that serve mounts, one for each archive and for as long as it is wanted.

A server holds one end of a pair of sockets as its standard input, and this process the other. It
unmounts when that is shut down or this process has ended, however it has: the kernel closes
descriptors in any case. When it closes its own end, the mount is gone.
"""

from __future__ import annotations

import errno
import os
import secrets
import socket
import stat
import threading
from pathlib import Path
from typing import Any, List, Optional, Sequence, Tuple
from weakref import WeakValueDictionary

from . import _program
from ._errors import Error

_PATIENCE_S = 10.0
"""How long a server may take to unmount."""


class Server:
    """The process behind a mount, started for its first user and ended by its last one.

    All of its methods may be called by any thread, and, since the garbage collector may call
    `leave`, also while another one runs in the same thread.
    """

    def __init__(self, sources: Sequence[str], at: Optional[str], options: Sequence[str]) -> None:
        self._sources = sources
        self._at = at
        self._options = options
        self._lock = threading.RLock()
        self._users = 0
        self._path = Path()
        self._device: Optional[int] = None
        self._ends: Tuple[socket.socket, ...] = ()
        self._owner = os.getpid()

    def enter(self) -> Path:
        """Have one user more. Returns where the mount is.

        Raises:
            Error: There was none before, and the mount fails.
        """
        with self._lock:
            if self._users == 0:
                self._start()
            self._users += 1
            return self._path

    def leave(self) -> None:
        """Have one user less. In a process that was forked nothing happens: the mount is not its.

        Raises:
            Error: It was the last one, and the mount stays.
        """
        if self._owner != os.getpid():
            return
        with self._lock:
            self._users -= 1
            if self._users == 0:
                self._end()

    def has_gone(self) -> bool:
        """Whether the mount has gone by itself: somebody has unmounted, or killed the server."""
        device = self._device
        if device is None:
            return False
        try:
            return self._has_ended() or os.stat(self._path).st_dev != device
        except OSError:
            return True

    def disown(self) -> None:
        """Close this process's end, without a word to the server where others have it open."""
        for end in self._ends:
            end.close()
        self._ends = ()

    def _has_ended(self) -> bool:
        """Whether the process has closed its end."""
        try:
            return not all(end.recv(1, socket.MSG_DONTWAIT) for end in self._ends)
        except BlockingIOError:
            return False

    def _start(self) -> None:
        # The program makes the directory, and removes it again also when this process is killed.
        # Not asked of `tempfile`: a process that is forked meanwhile would find its lock taken.
        temporary = os.environ.get("TMPDIR") or "/tmp"
        at = self._at or os.path.abspath(os.path.join(temporary, f"npzfs-{secrets.token_hex(8)}"))
        self._ends = ours, theirs = socket.socketpair()
        for end in self._ends:
            # There may be a timeout for all new sockets, which the server would take for the end.
            end.setblocking(True)
        try:
            command = ["mount", *self._options, "--until-eof"]
            _program.run(command, self._sources, at, stdin=theirs.fileno())
        except BaseException:
            # It may have come as far as to mount: then it sees that nobody is there.
            self.disown()
            raise
        theirs.close()
        self._ends = (ours,)
        self._path = Path(at)
        if self._has_ended():
            # A process that ignores its children, as SIGCHLD allows, does not learn how they end.
            self.disown()
            raise Error(f"{at}: the mount has gone at once")
        self._device = os.stat(at).st_dev

    def _end(self) -> None:
        self._device = None
        (ours,) = self._ends
        ours.shutdown(socket.SHUT_WR)
        ours.settimeout(_PATIENCE_S)
        try:
            ours.recv(1)
        except OSError as error:
            message = f"{self._path}: the process behind the mount does not answer"
            raise Error(message) from error
        finally:
            self.disown()
        if _is_dead(self._path):
            _program.run(["umount", "--lazy"], [str(self._path)])
            if self._at is None:
                self._path.rmdir()


def _is_dead(path: Path) -> bool:
    """Whether the server of the mount at this place was killed."""
    try:
        os.statvfs(path)
    except OSError as error:
        return error.errno in (errno.ENOTCONN, errno.ECONNABORTED)
    return False


_Key = Tuple[Any, ...]
_servers: WeakValueDictionary[_Key, Server] = WeakValueDictionary()
_lock = threading.Lock()


def server(sources: Sequence[str], at: Optional[str], options: Sequence[str]) -> Server:
    """The server of a mount: the same one for the same archives, as they are now, and options."""
    identities = tuple(_identity(source) for source in sources)
    key = (identities, at, tuple(options))
    with _lock:
        found = _servers.get(key)
        if found is None or found.has_gone():
            found = _servers[key] = Server(sources, at, options)
    return found


def _identity(source: str) -> _Key:
    """What tells an archive from another one that has taken its place, or that it has become."""
    path = os.path.abspath(source)
    try:
        found = os.stat(path)
    except OSError:
        return (path,)  # for the program to complain about
    if stat.S_ISDIR(found.st_mode):
        return (path, found.st_dev, found.st_ino)
    return (path, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


def _leave_to_parent() -> None:
    """In a process that was forked: what it has inherited is its parent's."""
    global _lock, _servers
    _lock = threading.Lock()
    inherited: List[Server] = list(_servers.values())
    _servers = WeakValueDictionary()
    for server in inherited:
        server.disown()


os.register_at_fork(after_in_child=_leave_to_parent)
