"""Serving a page until Ctrl-C, and what is said before."""

from __future__ import annotations

import os
import re
import signal
import socket
import threading

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from vireid.errors import InUse, Unavailable
from vireid.serve import listening
from vireid.serve.listening import Address, _listen


def test_a_port_in_use_is_named():
    with socket.socket() as other:
        other.bind(('127.0.0.1', 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(InUse, match=f'127.0.0.1, port {port}') as caught:
            _listen('127.0.0.1', port)
    assert f'--port {port}' not in caught.value.todo
    assert '--port ' in caught.value.todo


@pytest.mark.parametrize(('host', 'port'), [('203.0.113.7', 8000), ('127.0.0.1', 70_000), ('no.such.host.invalid', 80)])
def test_an_address_that_is_not_of_this_machine(host, port):
    with pytest.raises(Unavailable, match=f'{host}, port {port}') as caught:
        _listen(host, port)
    assert '--host' in caught.value.todo


@pytest.fixture
def served(monkeypatch, capsys):
    """Serves a page that says who may see it, asks for it once, and presses Ctrl-C; returns what happened."""

    def serve(host: str, token: str | None = None, browser: bool = False) -> dict:
        found: dict = {}

        def make_app(hosts, token):
            found.update(hosts=hosts, token=token)
            return Starlette(routes=[Route('/', lambda request: PlainTextResponse('the page'))])

        def ask(port: int) -> None:
            try:
                found['page'] = httpx.get(f'http://127.0.0.1:{port}/', timeout=20, trust_env=False).text
            finally:
                os.kill(os.getpid(), signal.SIGINT)

        def listen(host: str, port: int) -> socket.socket:
            opened = _listen(host, port)
            threading.Thread(target=ask, args=(opened.getsockname()[1],)).start()
            return opened

        monkeypatch.setattr(listening, '_listen', listen)
        listening.serve(Address(host, 0, token, browser), 'search', 'labels.csv', make_app)
        return {**found, 'printed': capsys.readouterr().out}

    return serve


@pytest.mark.skipif(os.name != 'posix', reason='Ctrl-C is a signal')
class TestServing:
    def test_on_this_machine_alone_there_is_no_token(self, served):
        found = served('127.0.0.1')
        assert found['page'] == 'the page'
        assert (found['hosts'], found['token']) == (('127.0.0.1', 'localhost', '::1', '[::1]'), None)
        first, last = found['printed'].splitlines()
        assert re.fullmatch(r'search: http://127\.0\.0\.1:\d+/', first)
        assert last == 'Answers are saved to labels.csv. Ctrl-C stops the server.'

    def test_for_other_machines_a_token_is_drawn_and_printed(self, served):
        found = served('0.0.0.0')
        assert found['page'] == 'the page'
        assert len(found['token']) >= 32
        first, second, _ = found['printed'].splitlines()
        assert first.startswith(f'search: http://{socket.gethostname()}:')
        assert first.endswith(f'/?token={found["token"]}')
        assert 'not encrypted' in second

    def test_the_browser_is_opened_where_there_is_one(self, served, monkeypatch):
        opened = []
        monkeypatch.setattr(listening.webbrowser, 'open', opened.append)
        monkeypatch.setattr(listening.sys, 'platform', 'linux')
        monkeypatch.delenv('WAYLAND_DISPLAY', raising=False)
        monkeypatch.delenv('DISPLAY', raising=False)
        served('127.0.0.1', browser=True)
        assert opened == []  # it would be one in this terminal
        monkeypatch.setenv('DISPLAY', ':0')
        served('127.0.0.1', 'a' * 16, browser=True)
        (address,) = opened
        assert re.fullmatch(r'http://127\.0\.0\.1:\d+/\?token=a{16}', address)
