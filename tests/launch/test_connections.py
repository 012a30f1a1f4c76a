"""Lost processes and machines: which connections are watched, and what the errors of torch mean."""

from __future__ import annotations

import socket
import sys

import pytest

from vireid.errors import Unavailable
from vireid.launch.connections import watched_connections
from vireid.runtime import processes
from vireid.runtime.processes import lost_process_errors


def limit(connection: socket.socket) -> tuple[int, int]:
    """Returns whether the system probes a connection, and the milliseconds that it waits for an answer."""
    probes = connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    return probes, connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)


@pytest.mark.skipif(sys.platform != 'linux', reason='only Linux lists the connections of a process')
def test_only_connections_opened_in_the_block_are_watched():
    with socket.create_server(('127.0.0.1', 0)) as server, socket.create_connection(server.getsockname()) as before:
        with watched_connections(silence=20):
            within = socket.create_connection(server.getsockname())
            local, _other = socket.socketpair()  # has no such options
        with within, local, _other:
            assert limit(within) == (1, 20_000)
            assert limit(before) == (0, 0)
            within.sendall(b'x')  # still open


GLOO = '[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:545] '


@pytest.mark.parametrize(
    ('text', 'fact', 'original'),
    [
        (
            f'{GLOO}Read error [10.0.0.2]:27327: Connection reset by peer. This is typically caused by bugs. Luck!',
            'exited',
            'Read error [10.0.0.2]:27327: Connection reset by peer',
        ),
        (f'{GLOO}Connection closed by peer [10.0.0.2]:5', 'exited', 'Connection closed by peer [10.0.0.2]:5'),
        (f'{GLOO}Read error [10.0.0.2]:5: Connection timed out', '60 seconds', '[10.0.0.2]:5: Connection timed out'),
        (f'{GLOO}Read error [10.0.0.2]:5: No route to host', '60 seconds', '[10.0.0.2]:5: No route to host'),
        (
            '[/pytorch/unbound_buffer.cc:81] Timed out waiting 600000ms for recv operation to complete',
            'suspended',
            'Timed out waiting 600000ms for recv operation to complete',
        ),
    ],
)
def test_errors_of_torch_are_explained(monkeypatch, text, fact, original):
    monkeypatch.setattr(processes, 'world', lambda: (1, 2))
    with pytest.raises(Unavailable) as caught, lost_process_errors():
        raise RuntimeError(text)
    assert fact in caught.value.given
    assert caught.value.given.endswith(f'{original})')
    assert '--resume' in caught.value.todo


@pytest.mark.parametrize(
    ('size', 'text'), [(2, 'shapes differ'), (2, 'the request timed out'), (1, 'Connection reset by peer')]
)
def test_other_errors_stay_as_they_are(monkeypatch, size, text):
    monkeypatch.setattr(processes, 'world', lambda: (0, size))
    with pytest.raises(RuntimeError, match=text), lost_process_errors():
        raise RuntimeError(text)
