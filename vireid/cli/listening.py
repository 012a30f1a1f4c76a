"""Serves a page until Ctrl-C: the flags of the address and the token, and what is printed about them."""

from __future__ import annotations

import argparse
import os
import re
import secrets
import socket
import sys
import warnings
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from vireid.core.errors import VireidError

LOOPBACK = ('127.0.0.1', 'localhost', '::1')
ANY = ('0.0.0.0', '::', '')  # noqa: S104 - all addresses of this machine, recognized here and not bound


def add_listening_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of commands that serve a page."""
    parser.add_argument('--port', type=int, default=8000, metavar='N', help='port (default: 8000)')
    parser.add_argument(
        '--host', default='127.0.0.1', metavar='ADDRESS', help='address to listen on (default: 127.0.0.1, this machine '
        'only); any other needs the token that is printed',
    )  # fmt: skip
    parser.add_argument('--token', metavar='TEXT', help='the token for other machines (default: a new random one)')
    parser.add_argument('--open', action='store_true', help='open the page in the browser')


@contextmanager
def serving() -> Iterator[None]:
    """Explains a package that a page needs and that is not installed."""
    try:
        import uvicorn  # noqa: F401

        yield
    except ImportError as error:
        raise VireidError(f'{error.name} is not installed', todo="pip install 'vireid[serve]'") from error


def require_token(args: argparse.Namespace) -> None:
    """Checks that a given token is hard to guess.

    Raises:
        VireidError: if it is too short or has other characters.
    """
    if args.token is not None and not re.fullmatch('[A-Za-z0-9_-]{16,}', args.token):
        raise VireidError(
            '--token is too short or has other characters', allowed='at least 16 characters of A-Z, a-z, 0-9, _ and -'
        )


def serve(
    args: argparse.Namespace, what: str, saved: str, make_app: Callable[[Sequence[str], str | None], Any]
) -> None:
    """Serves a page until Ctrl-C.

    Args:
        args: the flags of `add_listening_arguments`.
        what: what the page shows, printed before its address.
        saved: where answers are saved, printed after it.
        make_app: called with the hosts and the token; returns the application.

    Raises:
        VireidError: if the port is in use, or the address is not one of this machine.
    """
    import uvicorn

    warnings.filterwarnings('ignore', 'Image size', Warning, 'PIL')  # such uploads are refused and explained
    local = args.host in LOOPBACK
    token = args.token or (None if local else secrets.token_urlsafe(24))
    listening = _listen(args.host, args.port)
    app = make_app((*LOOPBACK, '[::1]') if local else ('*',), token)
    shown = socket.gethostname() if args.host in ANY else args.host
    address = f'http://{f"[{shown}]" if ":" in shown else shown}:{listening.getsockname()[1]}/'
    print(f'{what}: {address}{f"?token={token}" if token else ""}')
    if not local:
        print('The connection is not encrypted: use it in a network that you trust, or behind a proxy with TLS.')
    print(f'Answers are saved to {saved}. Ctrl-C stops the server.', flush=True)
    if args.open:
        _open(f'{address}{f"?token={token}" if token else ""}')
    config = uvicorn.Config(
        app, log_level='warning', access_log=False, server_header=False, timeout_keep_alive=5,
        timeout_graceful_shutdown=3,
    )  # fmt: skip
    with suppress(KeyboardInterrupt):  # uvicorn has shut down, and raises it again
        uvicorn.Server(config).run(sockets=[listening])


def _open(address: str) -> None:
    """Opens a page in the browser, unless that would be one in this terminal."""
    if sys.platform != 'linux' or os.environ.get('DISPLAY') or os.environ.get('WAYLAND_DISPLAY'):
        webbrowser.open(address)


def _listen(host: str, port: int) -> socket.socket:
    """Opens the port.

    Raises:
        VireidError: if it is in use, or the address is not one of this machine.
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
        reason = getattr(error, 'strerror', None) or str(error)
        raise VireidError(
            f'cannot listen on {host}, port {port}: {reason}', todo='choose another one: --port 8001'
        ) from error
    return listening
