"""The common part of all pages of vireid: access control, response headers, uploads, static files and images."""

from __future__ import annotations

import io
import secrets
from collections.abc import Awaitable, Callable, Sequence
from importlib import resources

import anyio
import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from PIL import Image
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from vireid.boundary.showing import printable
from vireid.errors import UnsafeFile, VireidError, WrongValue
from vireid.reporting.markup import asset

LOCAL = ('127.0.0.1', 'localhost')
MAX_BYTES = 10 * 2**20  # of an uploaded image
UPLOAD_SECONDS = 30
THUMBNAIL, LARGE = (128, 256), (512, 1024)
AT_ONCE = 4  # uploads in memory, and images of an index; others wait
COOKIE = 'vireid'
HEADERS = {
    'Content-Security-Policy': "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    'X-Content-Type-Options': 'nosniff',
    'Referrer-Policy': 'no-referrer',
    'Cross-Origin-Resource-Policy': 'same-origin',
    'Cache-Control': 'no-store',
}
Next = Callable[[Request], Awaitable[Response]]


def make_app(routes: Sequence[BaseRoute], assets: Sequence[str], hosts: Sequence[str], token: str | None) -> Starlette:
    """Returns an application that answers only its own page.

    Args:
        routes: its routes, besides the style sheet that all pages share.
        assets: its style sheet and script, names of files in `vireid/serve/static`.
        hosts: values of the Host header to answer, without the port, so that a foreign name that resolves to this
            machine gets no answer; `*` accepts all.
        token: the token that a browser must present; None admits every browser.
    """
    guard = _Guard(token)
    files = [Route(f'/{name}', _asset) for name in ('base.css', *assets)]
    icon = Route('/favicon.ico', lambda request: Response(status_code=204))  # browsers ask for it
    middleware = [
        Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts)),
        Middleware(BaseHTTPMiddleware, dispatch=guard.dispatch),
    ]
    return Starlette(routes=[*routes, *files, icon], middleware=middleware, exception_handlers={VireidError: _explain})


class _Guard:
    """Refuses requests without the token and those that another site makes, and sets the headers."""

    def __init__(self, token: str | None) -> None:
        self.token = token

    async def dispatch(self, request: Request, call_next: Next) -> Response:
        response = self._refusal(request) or await call_next(request)
        response.headers.update(HEADERS)
        return response

    def _refusal(self, request: Request) -> Response | None:
        origin = request.headers.get('origin')
        other = origin is not None and origin != f'{request.url.scheme}://{request.headers.get("host", "")}'
        if other or (request.url.path != '/' and request.headers.get('sec-fetch-site') in ('cross-site', 'same-site')):
            return explained(403, 'this request comes from another site')
        if self.token is None or _equal(request.cookies.get(COOKIE, ''), self.token):
            return None
        if request.url.path == '/' and _equal(request.query_params.get('token', ''), self.token):
            entered = RedirectResponse('/', status_code=303)  # so that the token is not in the address any more
            entered.set_cookie(COOKIE, self.token, httponly=True, samesite='strict')
            return entered
        return explained(401, 'the token is missing or wrong: open the address that vireid printed')


def page(name: str) -> Template:
    """Returns the template of a page, a file in `vireid/serve/static`."""
    loader = PackageLoader('vireid.serve', 'static')
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined).get_template(name)


async def _asset(request: Request) -> Response:
    """Returns a style sheet or a script."""
    name = request.url.path[1:]
    text = (
        asset('page.css')
        if name == 'base.css'
        else resources.files('vireid.serve').joinpath('static', name).read_text('utf-8')
    )
    return Response(str(text), media_type='text/css' if name.endswith('css') else 'text/javascript')


async def read_body(request: Request, most: int = MAX_BYTES) -> bytes:
    """Reads the body of a request, and stops as soon as it is too large or too slow.

    Raises:
        VireidError: if it is, or is empty.
    """
    declared = request.headers.get('content-length', '0')
    too_large = UnsafeFile(f'the upload has more than {most:,} bytes', todo='crop the person, or save as JPEG')
    if declared.isdecimal() and int(declared) > most:
        raise too_large
    content = bytearray()
    try:
        with anyio.fail_after(UPLOAD_SECONDS):
            async for chunk in request.stream():
                content += chunk
                if len(content) > most:
                    raise too_large
    except TimeoutError as error:
        raise UnsafeFile(f'the upload took more than {UPLOAD_SECONDS} seconds') from error
    if not content:
        raise WrongValue('the upload is empty')
    return bytes(content)


def jpeg_response(pixels: np.ndarray, size: tuple[int, int]) -> Response:
    """Returns an image, (H, W, 3) uint8, as JPEG of at most this width and height."""
    image, file = Image.fromarray(pixels), io.BytesIO()
    image.thumbnail(size)
    image.save(file, 'JPEG', quality=85)
    return Response(file.getvalue(), media_type='image/jpeg')


def explained(status: int, text: str, todo: str = '', **more: object) -> JSONResponse:
    """Returns an error response that says what went wrong, and what to do about it.

    Args:
        status: the HTTP status.
        text: what went wrong.
        todo: what to do about it, if anything.
        **more: other values of the response.
    """
    content = {'error': printable(text), 'todo': printable(todo), **more}
    return JSONResponse(content, status_code=status, headers=HEADERS)


async def _explain(request: Request, error: Exception) -> Response:
    assert isinstance(error, VireidError)
    allowed = f'; allowed: {error.allowed}' if error.allowed else ''
    return explained(400, f'{error.given}{allowed}', error.todo or '')


def _equal(given: str, token: str) -> bool:
    return secrets.compare_digest(given.encode(), token.encode())
