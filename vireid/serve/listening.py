"""Serves a page until Ctrl-C: its address, its token, and what is printed about them."""

from __future__ import annotations

import errno
import os
import re
import secrets
import socket
import sys
import warnings
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from vireid.boundary.showing import error_text
from vireid.errors import InUse, MissingPackage, Unavailable, WrongValue

LAST_PORT = 65535
LOOPBACK = ('127.0.0.1', 'localhost', '::1')
ANY = ('0.0.0.0', '::', '')  # noqa: S104 - all addresses of this machine, recognized here and not bound


@dataclass(frozen=True)
class Address:
    """Where a page is served.

    Attributes:
        host: the address to listen on.
        port: the port; 0 is any free one.
        token: what other machines have to know; None draws one if they can reach the page.
        browser: whether to open the page in the browser.

    Raises:
        WrongValue: if the token is too short or has invalid characters.
    """

    host: str = '127.0.0.1'
    port: int = 8000
    token: str | None = None
    browser: bool = False

    def __post_init__(self) -> None:
        if self.token is not None and not re.fullmatch('[A-Za-z0-9_-]{16,}', self.token):
            raise WrongValue(
                '--token is too short or has invalid characters',
                allowed='at least 16 characters of A-Z, a-z, 0-9, _ and -',
            )


@contextmanager
def explained_imports() -> Iterator[None]:
    """Explains a package that a page needs and that is not installed."""
    try:
        import uvicorn  # noqa: F401

        yield
    except ImportError as error:
        raise MissingPackage(f'{error.name} is not installed', todo='pip install "vireid[serve]"') from error


def serve(address: Address, what: str, saved: str, make_app: Callable[[Sequence[str], str | None], Any]) -> None:
    """Serves a page until Ctrl-C.

    Args:
        address: where to serve it.
        what: what the page shows, printed before its address.
        saved: where answers are saved, printed after it.
        make_app: called with the hosts and the token; returns the application.

    Raises:
        VireidError: if the port is in use, or the address is not one of this machine.
    """
    import uvicorn

    warnings.filterwarnings('ignore', 'Image size', Warning, 'PIL')  # such uploads are refused and explained
    local = address.host in LOOPBACK
    token = address.token or (None if local else secrets.token_urlsafe(24))
    listening = _listen(address.host, address.port)
    app = make_app((*LOOPBACK, '[::1]') if local else ('*',), token)
    shown = socket.gethostname() if address.host in ANY else address.host
    page = f'http://{f"[{shown}]" if ":" in shown else shown}:{listening.getsockname()[1]}/'
    page += f'?token={token}' if token else ''
    print(f'{what}: {page}')
    if not local:
        print('The connection is not encrypted: use it in a network that you trust, or behind a proxy with TLS.')
    print(f'Answers are saved to {saved}. Ctrl-C stops the server.', flush=True)
    if address.browser:
        _open(page)
    config = uvicorn.Config(
        app, log_level='warning', access_log=False, server_header=False, timeout_keep_alive=5,
        timeout_graceful_shutdown=3,
    )  # fmt: skip
    with suppress(KeyboardInterrupt):  # uvicorn has shut down, and raises it again
        uvicorn.Server(config).run(sockets=[listening])


def _open(page: str) -> None:
    """Opens a page in the browser, unless that would be one in this terminal."""
    if sys.platform != 'linux' or os.environ.get('DISPLAY') or os.environ.get('WAYLAND_DISPLAY'):
        webbrowser.open(page)


def _listen(host: str, port: int) -> socket.socket:
    """Opens the port.

    Raises:
        InUse: if another process listens there.
        Unavailable: if the port cannot be opened for another reason, such as an address of another machine.
    """
    listening = None
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(128)
    except (OSError, OverflowError) as error:
        if listening is not None:
            listening.close()
        given = f'cannot listen on {host}, port {port}: {error_text(error)}'
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            raise InUse(given, todo=f'choose another port: --port {port + 1 if port < LAST_PORT else 8000}') from error
        todo = 'choose an address of this machine and a free port, such as --host 127.0.0.1 --port 8000'
        raise Unavailable(given, todo=todo) from error
    return listening
