"""The connections between the processes of a run: noticing that a machine is lost."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator

from vireid.runtime.processes import SILENCE


@contextlib.contextmanager
def watched_connections(silence: int = SILENCE) -> Iterator[None]:
    """Makes the system check connections opened in the block (TCP keepalive), so that a lost machine ends them.

    A process that dies closes its connections, but a machine without power or network cannot. Without this, the others
    wait for it until the timeout of the process group. The kernel of a machine answers even if its processes are busy
    or suspended, and an interruption of the network that is shorter than `silence` does no harm. Linux only; elsewhere
    nothing changes.

    Args:
        silence: seconds without an answer after which a connection is broken.
    """
    before = _sockets()
    yield
    every = max(1, silence // 4)
    for name, descriptor in _sockets().items():
        if name in before:
            continue
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as connection:
            if connection.family not in (socket.AF_INET, socket.AF_INET6) or connection.type != socket.SOCK_STREAM:
                continue
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, every)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, every)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
            # keepalive covers idle connections; this covers sent data that is never acknowledged
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * silence)


def _sockets() -> dict[str, int]:
    """Returns a descriptor of each open socket of this process, by its name in the system; none except on Linux."""
    descriptors = {}
    with contextlib.suppress(OSError):
        for descriptor in os.listdir('/proc/self/fd'):
            with contextlib.suppress(OSError):  # closed in the meantime
                name = os.readlink(f'/proc/self/fd/{descriptor}')
                if name.startswith('socket:'):
                    descriptors[name] = int(descriptor)
    return descriptors
