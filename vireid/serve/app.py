"""The web application: a page, images by number, and searches with an uploaded image or with a result."""

from __future__ import annotations

import csv
import hashlib
import io
import secrets
import threading
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, time
from importlib import resources
from pathlib import Path
from typing import Any

import anyio
import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from vireid.boundary.image_files import decode_pixels
from vireid.boundary.paths import inside
from vireid.boundary.reading import parse_json, reason
from vireid.boundary.showing import csv_cell, printable
from vireid.boundary.writing import open_to_append
from vireid.core.errors import VireidError
from vireid.core.types import MODALITIES, Modality
from vireid.reporting.markup import asset
from vireid.search.confidence import FALSE_ALARMS, judge, percent
from vireid.search.index import Hit, Index, Where
from vireid.search.modality import guess_modality
from vireid.search.times import parse_time

MOST_BYTES = 10 * 2**20  # of an uploaded image
MOST_PIXELS = 16_000_000
MOST_HITS = 200
AT_ONCE = 4  # uploads in memory, and images of the index; others wait
UPLOAD_SECONDS = 30
THUMBNAIL, LARGE = (128, 256), (512, 1024)
LABELS = 'labels.csv'
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


def create_app(
    index: Index,
    hosts: Sequence[str] = ('127.0.0.1', 'localhost'),
    token: str | None = None,
    false_alarms: float = FALSE_ALARMS,
) -> Starlette:
    """Returns the application.

    Args:
        index: the index to search.
        hosts: values of the Host header to answer, without the port, so that a foreign name that resolves to this
            machine gets no answer; `*` accepts all.
        token: what a browser has to know; None lets every browser in.
        false_alarms: see `vireid.search.confidence.judge`.
    """
    page = _Page(index, token, false_alarms)
    routes = [
        Route('/', page.home),
        Route('/base.css', page.asset),
        Route('/page.css', page.asset),
        Route('/page.js', page.asset),
        Route('/favicon.ico', lambda request: Response(status_code=204)),  # browsers ask for it
        Route('/image/{row:int}', page.image),
        Route('/search', page.search, methods=['POST']),
        Route('/similar/{row:int}', page.similar),
        Route('/label', page.label, methods=['POST']),
    ]
    middleware = [
        Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts)),
        Middleware(BaseHTTPMiddleware, dispatch=page.guard),
    ]
    return Starlette(routes=routes, middleware=middleware, exception_handlers={VireidError: _explain})


class _Page:
    """The handlers of an index."""

    def __init__(self, index: Index, token: str | None, false_alarms: float) -> None:
        self.index, self.token, self.false_alarms = index, token, false_alarms
        self.uploads, self.images = anyio.Semaphore(AT_ONCE), anyio.Semaphore(AT_ONCE)
        self.model = threading.Lock()  # one network pass at a time: it uses all cores anyway
        self.label_file = threading.Lock()
        environment = Environment(
            loader=PackageLoader('vireid.serve', 'static'), autoescape=True, undefined=StrictUndefined
        )
        self.template = environment.get_template('page.html')

    async def guard(self, request: Request, call_next: Next) -> Response:
        """Refuses requests without the token and those that another site makes, and sets the headers."""
        response = self._refusal(request) or await call_next(request)
        response.headers.update(HEADERS)
        return response

    def _refusal(self, request: Request) -> Response | None:
        origin = request.headers.get('origin')
        other = origin is not None and origin != f'{request.url.scheme}://{request.headers.get("host", "")}'
        if other or (request.url.path != '/' and request.headers.get('sec-fetch-site') in ('cross-site', 'same-site')):
            return _error(403, 'this request comes from another site')
        if self.token is None or _equal(request.cookies.get(COOKIE, ''), self.token):
            return None
        if request.url.path == '/' and _equal(request.query_params.get('token', ''), self.token):
            entered = RedirectResponse('/', status_code=303)  # so that the token is not in the address any more
            entered.set_cookie(COOKIE, self.token, httponly=True, samesite='strict')
            return entered
        return _error(401, 'the token is missing or wrong: open the address that `vireid serve` printed')

    async def home(self, request: Request) -> Response:
        """Returns the page."""
        about = await anyio.to_thread.run_sync(self._about)
        return HTMLResponse(self.template.render(**about))

    def _about(self) -> dict[str, Any]:
        span = self.index.span()
        return {
            'images': len(self.index),
            'label': printable(self.index.about['label']),
            'calibrated': self.index.embedder.calibration is not None,
            'cameras': [printable(camera) for camera in self.index.cameras()],
            'span': [f'{moment:%Y-%m-%dT%H:%M}' for moment in span] if span else None,
        }

    async def asset(self, request: Request) -> Response:
        """Returns the style sheet or the script."""
        name = request.url.path[1:]
        text = (
            asset('page.css')
            if name == 'base.css'
            else resources.files('vireid.serve').joinpath('static', name).read_text('utf-8')
        )
        return Response(str(text), media_type='text/css' if name.endswith('css') else 'text/javascript')

    async def image(self, request: Request) -> Response:
        """Returns an image of the index as JPEG, never the file itself."""
        size = LARGE if 'large' in request.query_params else THUMBNAIL
        row = request.path_params['row']
        async with self.images:
            jpeg = await anyio.to_thread.run_sync(lambda: _jpeg(self.index.image(row), size))
        return Response(jpeg, media_type='image/jpeg')

    async def search(self, request: Request) -> Response:
        """Searches with the image in the body of the request."""
        where, top = _filters(request, self.index)
        wanted = request.query_params.get('modality') or None
        if wanted not in (None, *MODALITIES):
            raise VireidError(f'modality is {wanted!r}', allowed=', '.join(MODALITIES))
        async with self.uploads:
            content = await _body(request)
            answer = await anyio.to_thread.run_sync(lambda: self._search(content, wanted, where, top))
        return JSONResponse(answer)

    def _search(self, content: bytes, wanted: str | None, where: Where, top: int) -> dict[str, Any]:
        settings = self.index.embedder.experiment.images
        pixels = _decoded(content, settings.scale_raw)
        guess = guess_modality(pixels)
        modality = wanted or guess
        warnings = []
        if modality != guess:
            looks = 'has colors' if guess == 'visible' else 'has no colors'
            warnings.append(f'The image {looks}, but was embedded as {modality}.')
        if set(self.index.modalities()) == {modality}:
            warnings.append(f'All images of the index are {modality}, as the query is.')
        with self.model:
            vector = self.index.embedder.embed(pixels, modality)
        (hits,) = self.index.search(vector, top, where)
        name = f'upload {hashlib.sha256(content).hexdigest()[:16]}'
        return {
            'query': name, 'modality': modality, 'guessed': wanted is None, 'warnings': warnings,
            **self._answer(modality, hits, where),
        }  # fmt: skip

    def _answer(self, modality: Modality, hits: Sequence[Hit], where: Where) -> dict[str, Any]:
        """Returns the hits, and how sure they are."""
        sure = judge(self.index, modality, hits, where, self.false_alarms)
        return {
            'absent': sure.text(self.false_alarms) if sure.absent else '',
            'hits': [_plain(hit, p) for hit, p in zip(hits, sure.probabilities, strict=True)],
        }

    async def similar(self, request: Request) -> Response:
        """Searches with an image of the index."""
        where, top = _filters(request, self.index)
        row = request.path_params['row']

        def find() -> dict[str, Any]:
            (hits,) = self.index.search(self.index.vector(row)[None], top + 1, where)
            own = self.index.entries.of([row])[row]
            found = [hit for hit in hits if hit.row != row][:top]
            return {
                'query': printable(own.path), 'modality': own.modality, 'guessed': False, 'warnings': [],
                **self._answer(own.modality, found, where),
            }  # fmt: skip

        return JSONResponse(await anyio.to_thread.run_sync(find))

    async def label(self, request: Request) -> Response:
        """Appends an answer to `labels.csv`: whether a result shows the person of the query."""
        content = await _body(request, most=10_000)
        try:
            given = parse_json(content)
        except ValueError as error:
            raise VireidError(f'the label cannot be read: {reason(error)}') from error
        fields = given if isinstance(given, dict) else {}
        query, row, same = (fields.get(name) for name in ('query', 'row', 'same'))
        if not isinstance(query, str) or type(row) is not int or type(same) is not bool:
            raise VireidError('a label needs query, row and same')
        await anyio.to_thread.run_sync(lambda: self._write_label(query[:1000], row, same))
        return JSONResponse({'saved': True})

    def _write_label(self, query: str, row: int, same: bool) -> None:
        entry = self.index.entries.of([row]).get(row)
        if entry is None:
            raise VireidError(f'the index has no image {row}')
        path = inside(self.index.folder, LABELS)
        answer = 'same' if same else 'different'
        now = datetime.now().isoformat(' ', 'seconds')
        try:
            with self.label_file, open_to_append(path) as file:
                lines = csv.writer(file, lineterminator='\n')
                if file.tell() == 0:
                    lines.writerow(['time', 'query', 'result', 'answer'])
                lines.writerow([now, csv_cell(query), csv_cell(entry.path), answer])
        except OSError as error:
            raise VireidError(
                f'the answer cannot be saved: {error.strerror}', todo=f'check {LABELS} of the index'
            ) from error


def _filters(request: Request, index: Index) -> tuple[Where, int]:
    """Returns the filters and the number of hits that a request asks for."""
    given = request.query_params
    after, before = (parse_time(given[name], name) if given.get(name) else None for name in ('after', 'before'))
    if before is not None and before.time() == time(0) and 'T' not in given['before']:
        before = before.replace(hour=23, minute=59, second=59)
    elif before is not None and len(given['before']) == len('2026-11-29T22:41'):
        before = before.replace(second=59, microsecond=999_999)  # the page asks for minutes: the last one counts
    shown = {printable(camera): camera for camera in index.cameras()}  # the page has the printable names
    where = Where(tuple(shown.get(name, name) for name in given.getlist('camera') if name), after, before)
    index.require_known(where)
    text = given.get('top', '40')
    if not (text.isascii() and text.isdecimal() and len(text) < 6 and 1 <= int(text) <= MOST_HITS):
        raise VireidError(f'top is {text[:20]!r}', allowed=f'1 to {MOST_HITS}')
    return where, int(text)


async def _body(request: Request, most: int = MOST_BYTES) -> bytes:
    """Reads the body of a request, and stops as soon as it is too large or too slow."""
    declared = request.headers.get('content-length', '0')
    too_large = VireidError(f'the upload has more than {most:,} bytes', todo='crop the person, or save as JPEG')
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
        raise VireidError(f'the upload took more than {UPLOAD_SECONDS} seconds') from error
    if not content:
        raise VireidError('the upload is empty')
    return bytes(content)


def _decoded(content: bytes, scale_raw: Any) -> np.ndarray:
    """Decodes an upload to (H, W, 3) uint8."""
    try:
        return decode_pixels(io.BytesIO(content), 'the image', MOST_PIXELS, scale_raw)
    except VireidError:
        raise
    except Exception as error:  # a damaged file may fail in any way
        raise VireidError(f'the image is damaged: {reason(error)}', todo='save it anew as JPEG or PNG') from error


def _plain(hit: Hit, probability: float | None) -> dict[str, Any]:
    return {
        'row': hit.row, 'score': round(hit.score, 4), 'path': printable(hit.path), 'camera': printable(hit.camera),
        'time': f'{hit.time:%Y-%m-%d %H:%M:%S}' if hit.time else '', 'time_from': hit.time_from,
        'modality': hit.modality, 'same': '' if probability is None else percent(probability),
    }  # fmt: skip


def _jpeg(pixels: np.ndarray, size: tuple[int, int]) -> bytes:
    image, file = Image.fromarray(pixels), io.BytesIO()
    image.thumbnail(size)
    image.save(file, 'JPEG', quality=85)
    return file.getvalue()


def _equal(given: str, token: str) -> bool:
    return secrets.compare_digest(given.encode(), token.encode())


def _error(status: int, text: str, todo: str = '') -> JSONResponse:
    return JSONResponse({'error': printable(text), 'todo': printable(todo)}, status_code=status, headers=HEADERS)


async def _explain(request: Request, error: Exception) -> Response:
    assert isinstance(error, VireidError)
    allowed = f'; allowed: {error.allowed}' if error.allowed else ''
    return _error(400, f'{error.given}{allowed}', error.todo or '')


def label_file(index: Index) -> Path:
    """Returns where the answers are saved."""
    return index.folder / LABELS
