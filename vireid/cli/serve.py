"""Open a page in the browser to search an index: drop an image, crop it, filter, compare."""

from __future__ import annotations

import argparse
import re
import secrets
import socket
import warnings
from pathlib import Path

from vireid.cli.search import add_index_arguments
from vireid.cli.startup import importing
from vireid.core.errors import VireidError

LOOPBACK = ('127.0.0.1', 'localhost', '::1')
ANY = ('0.0.0.0', '::', '')  # noqa: S104 - all addresses of this machine, recognized here and not bound


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `vireid serve`."""
    parser.add_argument('index', type=Path, help='folder of an index, written by `vireid index`')
    parser.add_argument('--port', type=int, default=8000, metavar='N', help='port (default: 8000)')
    parser.add_argument(
        '--host', default='127.0.0.1', metavar='ADDRESS', help='address to listen on (default: 127.0.0.1, this machine '
        'only); any other needs the token that is printed',
    )  # fmt: skip
    parser.add_argument('--token', metavar='TEXT', help='the token for other machines (default: a new random one)')
    add_index_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Serves the page until Ctrl-C."""
    with importing():
        try:
            import uvicorn

            from vireid.serve.app import create_app, label_file
        except ImportError as error:
            raise VireidError(f'{error.name} is not installed', todo="pip install 'vireid[serve]'") from error
        from vireid.search.index import Index
    if args.token is not None and not re.fullmatch('[A-Za-z0-9_-]{16,}', args.token):
        raise VireidError(
            '--token is too short or has other characters', allowed='at least 16 characters of A-Z, a-z, 0-9, _ and -'
        )
    index = Index.open(args.index, args.plugin, args.checkpoint, args.trust_config)
    warnings.filterwarnings('ignore', 'Image size', Warning, 'PIL')  # such uploads are refused and explained
    index.load()
    local = args.host in LOOPBACK
    token = args.token or (None if local else secrets.token_urlsafe(24))
    listening = _listen(args.host, args.port)
    app = create_app(index, (*LOOPBACK, '[::1]') if local else ('*',), token, args.false_alarms)
    shown = socket.gethostname() if args.host in ANY else args.host
    address = f'http://{f"[{shown}]" if ":" in shown else shown}:{listening.getsockname()[1]}/'
    print(f'{len(index):,} images: {address}{f"?token={token}" if token else ""}')
    if not local:
        print('The connection is not encrypted: use it in a network that you trust, or behind a proxy with TLS.')
    print(f'Answers are saved to {label_file(index)}. Ctrl-C stops the server.')
    config = uvicorn.Config(
        app, log_level='warning', access_log=False, server_header=False, timeout_keep_alive=5,
        timeout_graceful_shutdown=3,
    )  # fmt: skip
    uvicorn.Server(config).run(sockets=[listening])
    return 0


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
