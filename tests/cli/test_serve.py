"""`vireid serve`: what it says before it listens."""

from __future__ import annotations

import socket

import pytest

from vireid.cli import main
from vireid.cli.listening import _listen
from vireid.core.errors import VireidError


def test_a_port_in_use_is_named():
    with socket.socket() as other:
        other.bind(('127.0.0.1', 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(VireidError, match=f'cannot listen on 127.0.0.1, port {port}: Address already in use'):
            _listen('127.0.0.1', port)


@pytest.mark.parametrize(('host', 'port'), [('203.0.113.7', 8000), ('127.0.0.1', 70_000), ('no.such.host.invalid', 80)])
def test_an_address_that_is_not_of_this_machine(host, port):
    with pytest.raises(VireidError, match='cannot listen on'):
        _listen(host, port)


def test_no_index(tmp_path, capsys):
    assert main(['serve', str(tmp_path)]) == 2
    assert 'is not a finished index' in capsys.readouterr().err


def test_a_short_token(tmp_path, capsys):
    assert main(['serve', str(tmp_path), '--token', 'abc']) == 2
    assert 'at least 16 characters' in capsys.readouterr().err
