"""The server processes behind mounts, each shared by all mounts of the same archives.

This process and the server hold the two ends of a socket pair; the server's end is its standard
input. When this process shuts its end down, or ends in any way, the server reads end-of-file and
unmounts (``npzfs mount --until-eof``). It closes its own end when the mount is gone.
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

_UNMOUNT_TIMEOUT_S = 10.0
"""How long a server may take to unmount, in seconds."""


class Server:
    """A server process, started for the first user of its mount and ended after the last.

    All methods are thread-safe, and reentrant, because the garbage collector can call `release`
    while another method runs in the same thread.
    """

    def __init__(
        self, sources: Sequence[str], mount_point: Optional[str], options: Sequence[str]
    ) -> None:
        self._sources = sources
        self._mount_point = mount_point
        self._options = options
        self._lock = threading.RLock()
        self._users = 0
        self._path = Path()
        self._device: Optional[int] = None
        self._sockets: Tuple[socket.socket, ...] = ()
        self._pid = os.getpid()

    def acquire(self) -> Path:
        """Add a user, and start the server for the first one.

        Returns:
            The mount point.

        Raises:
            Error: The mount failed.
        """
        with self._lock:
            if self._users == 0:
                self._start()
            self._users += 1
            return self._path

    def release(self) -> None:
        """Remove a user, and end the mount after the last one.

        Does nothing in a forked child, because the mount belongs to the parent.

        Raises:
            Error: The mount could not be ended.
        """
        if self._pid != os.getpid():
            return
        with self._lock:
            self._users -= 1
            if self._users == 0:
                self._end()

    def is_gone(self) -> bool:
        """Whether the mount has ended otherwise: it was unmounted, or the server was killed."""
        device = self._device
        if device is None:
            return False
        try:
            return self._is_eof() or os.stat(self._path).st_dev != device
        except OSError:
            return True

    def close_sockets(self) -> None:
        """Close the sockets without shutting the connection down, which a parent may still use."""
        for each in self._sockets:
            each.close()
        self._sockets = ()

    def _is_eof(self) -> bool:
        """Whether the server has closed its end of the socket pair."""
        try:
            return not all(each.recv(1, socket.MSG_DONTWAIT) for each in self._sockets)
        except BlockingIOError:
            return False

    def _start(self) -> None:
        # The program creates the directory, and removes it even if this process is killed. The
        # module `tempfile` is avoided: a process forked by another thread could inherit its lock.
        temporary = os.environ.get("TMPDIR") or "/tmp"
        random_path = os.path.join(temporary, f"npzfs-{secrets.token_hex(8)}")
        mount_point = self._mount_point or os.path.abspath(random_path)
        self._sockets = ours, theirs = socket.socketpair()
        for each in self._sockets:
            # A default timeout would make the socket non-blocking, which the server takes for EOF.
            each.setblocking(True)
        try:
            command = ["mount", *self._options, "--until-eof"]
            _program.run(command, self._sources, mount_point, stdin=theirs.fileno())
        except BaseException:
            # The program may have mounted already. It then reads end-of-file and unmounts.
            self.close_sockets()
            raise
        theirs.close()
        self._sockets = (ours,)
        self._path = Path(mount_point)
        if self._is_eof():
            # A process that ignores SIGCHLD does not learn the exit status of its children.
            self.close_sockets()
            raise Error(f"{mount_point}: the mount ended immediately")
        self._device = os.stat(mount_point).st_dev

    def _end(self) -> None:
        self._device = None
        (ours,) = self._sockets
        ours.shutdown(socket.SHUT_WR)
        ours.settimeout(_UNMOUNT_TIMEOUT_S)
        try:
            ours.recv(1)
        except OSError as error:
            message = f"{self._path}: the process behind the mount does not respond"
            raise Error(message) from error
        finally:
            self.close_sockets()
        if _is_dead(self._path):
            _program.run(["umount", "--lazy"], [str(self._path)])
            if self._mount_point is None:
                self._path.rmdir()


def _is_dead(path: Path) -> bool:
    """Whether the server of the mount at `path` was killed."""
    try:
        os.statvfs(path)
    except OSError as error:
        return error.errno in (errno.ENOTCONN, errno.ECONNABORTED)
    return False


_Key = Tuple[Any, ...]
_servers: WeakValueDictionary[_Key, Server] = WeakValueDictionary()
_lock = threading.Lock()


def server_for(
    sources: Sequence[str], mount_point: Optional[str], options: Sequence[str]
) -> Server:
    """Return the server of a mount: the same one for the same unchanged archives and options."""
    identities = tuple(_identity(source) for source in sources)
    key = (identities, mount_point, tuple(options))
    with _lock:
        server = _servers.get(key)
        if server is None or server.is_gone():
            server = _servers[key] = Server(sources, mount_point, options)
    return server


def _identity(source: str) -> _Key:
    """Return a key that differs if an archive was replaced or modified."""
    path = os.path.abspath(source)
    try:
        found = os.stat(path)
    except OSError:
        return (path,)  # the program reports the error
    if stat.S_ISDIR(found.st_mode):
        return (path, found.st_dev, found.st_ino)
    return (path, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


def _reset_after_fork() -> None:
    """Give up the parent's servers and locks in a forked child."""
    global _lock, _servers
    _lock = threading.Lock()
    inherited: List[Server] = list(_servers.values())
    _servers = WeakValueDictionary()
    for server in inherited:
        server.close_sockets()


os.register_at_fork(after_in_child=_reset_after_fork)
