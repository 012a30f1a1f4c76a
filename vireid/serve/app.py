"""The web application: a page, images by number, and searches with an uploaded image or with a result."""

from __future__ import annotations

import csv
import hashlib
import io
import threading
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import anyio
import numpy as np
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from vireid.boundary.image_files import RawImage, decode_pixels
from vireid.boundary.paths import inside
from vireid.boundary.reading import parse_json, reason
from vireid.boundary.showing import csv_cell, printable
from vireid.boundary.writing import open_to_append
from vireid.core.types import MODALITIES, Modality
from vireid.errors import DamagedFile, UnknownName, VireidError, WriteFailed, WrongValue
from vireid.search.confidence import FALSE_ALARMS, judge, percent
from vireid.search.index import Hit, Index, Where
from vireid.search.modality import guess_modality
from vireid.search.times import parse_end, parse_time
from vireid.serve.web import AT_ONCE, LARGE, LOCAL, THUMBNAIL, jpeg_response, make_app, page, read_body

MAX_PIXELS = 16_000_000
MAX_HITS = 200
LABELS = 'labels.csv'


def create_app(
    index: Index,
    hosts: Sequence[str] = LOCAL,
    token: str | None = None,
    false_alarms: float = FALSE_ALARMS,
) -> Starlette:
    """Returns the application.

    Args:
        index: the index to search.
        hosts: see `make_app`.
        token: see `make_app`.
        false_alarms: see `vireid.search.confidence.judge`.
    """
    own = _Page(index, false_alarms)
    routes = [
        Route('/', own.home),
        Route('/image/{row:int}', own.image),
        Route('/search', own.search, methods=['POST']),
        Route('/similar/{row:int}', own.similar),
        Route('/label', own.label, methods=['POST']),
    ]
    return make_app(routes, ('page.css', 'page.js'), hosts, token)


class _Page:
    """The handlers of an index."""

    def __init__(self, index: Index, false_alarms: float) -> None:
        self.index, self.false_alarms = index, false_alarms
        self.uploads, self.images = anyio.Semaphore(AT_ONCE), anyio.Semaphore(AT_ONCE)
        self.model = threading.Lock()  # one network pass at a time: it uses all cores anyway
        self.label_file = threading.Lock()
        self.template = page('page.html')

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

    async def image(self, request: Request) -> Response:
        """Returns an image of the index as JPEG, never the file itself."""
        size = LARGE if 'large' in request.query_params else THUMBNAIL
        row = request.path_params['row']
        async with self.images:
            return await anyio.to_thread.run_sync(lambda: jpeg_response(self.index.image(row), size))

    async def search(self, request: Request) -> Response:
        """Searches with the image in the body of the request."""
        where, top = _filters(request, self.index)
        chosen = _modality(request, 'modality')
        async with self.uploads:
            content = await read_body(request)
            answer = await anyio.to_thread.run_sync(lambda: self._search(content, chosen, where, top))
        return JSONResponse(answer)

    def _search(self, content: bytes, chosen: str | None, where: Where, top: int) -> dict[str, Any]:
        settings = self.index.embedder.experiment.images
        pixels = _decoded(content, settings.scale_raw)
        guess = guess_modality(pixels)
        modality = chosen or guess
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
            'query': name, 'modality': modality, 'guessed': chosen is None, 'warnings': warnings,
            **self._answer(modality, hits, where),
        }  # fmt: skip

    def _answer(self, modality: Modality, hits: Sequence[Hit], where: Where) -> dict[str, Any]:
        """Returns the hits and their confidence."""
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
            others = [hit for hit in hits if hit.row != row][:top]
            return {
                'query': printable(own.path), 'modality': own.modality, 'guessed': False, 'warnings': [],
                **self._answer(own.modality, others, where),
            }  # fmt: skip

        return JSONResponse(await anyio.to_thread.run_sync(find))

    async def label(self, request: Request) -> Response:
        """Appends an answer to `labels.csv`: whether a result shows the person of the query."""
        content = await read_body(request, most=10_000)
        try:
            given = parse_json(content)
        except ValueError as error:
            raise WrongValue(f'the label cannot be read: {reason(error)}') from error
        fields = given if isinstance(given, dict) else {}
        query, row, same = (fields.get(name) for name in ('query', 'row', 'same'))
        if not isinstance(query, str) or type(row) is not int or type(same) is not bool:
            raise WrongValue('a label needs query, row and same')
        await anyio.to_thread.run_sync(lambda: self._write_label(query[:1000], row, same))
        return JSONResponse({'saved': True})

    def _write_label(self, query: str, row: int, same: bool) -> None:
        entry = self.index.entries.of([row]).get(row)
        if entry is None:
            raise UnknownName(f'the index has no image {row}')
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
            raise WriteFailed(
                f'the answer cannot be saved: {error.strerror}', todo=f'check {LABELS} of the index'
            ) from error


def _modality(request: Request, name: str) -> Modality | None:
    """Returns a modality that a request names, None if it names none."""
    given = request.query_params.get(name) or None
    if given not in (None, *MODALITIES):
        raise WrongValue(f'{name} is {given[:20]!r}', allowed=', '.join(MODALITIES))
    return given


def _filters(request: Request, index: Index) -> tuple[Where, int]:
    """Returns the filters and the number of hits that a request asks for."""
    given = request.query_params
    after = parse_time(given['after'], 'after') if given.get('after') else None
    before = parse_end(given['before'], 'before') if given.get('before') else None
    shown = {printable(camera): camera for camera in index.cameras()}  # the page has the printable names
    cameras = tuple(shown.get(name, name) for name in given.getlist('camera') if name)
    where = Where(cameras, after, before, _modality(request, 'among'))
    index.require_known(where)
    text = given.get('top', '40')
    if not (text.isascii() and text.isdecimal() and len(text) < 6 and 1 <= int(text) <= MAX_HITS):
        raise WrongValue(f'top is {text[:20]!r}', allowed=f'1 to {MAX_HITS}')
    return where, int(text)


def _decoded(content: bytes, scale_raw: Any) -> np.ndarray:
    """Decodes an upload to (H, W, 3) uint8."""
    try:
        return decode_pixels(io.BytesIO(content), 'the image', MAX_PIXELS, scale_raw)
    except RawImage as error:  # its advice names flags, which the page does not have
        todo = 'save it as a gray PNG of 8 bits; raw images need an index built with --cfg-options images.scale_raw=...'
        given = 'the image has raw {}, {:g} to {:g}'.format(*error.values) if scale_raw is None else error.given
        raise error.reworded(given, todo=todo) from error
    except VireidError:
        raise
    except Exception as error:  # a damaged file may fail in any way
        raise DamagedFile(f'the image is damaged: {reason(error)}', todo='save it again as JPEG or PNG') from error


def _plain(hit: Hit, probability: float | None) -> dict[str, Any]:
    return {
        'row': hit.row, 'score': round(hit.score, 4), 'path': printable(hit.path), 'camera': printable(hit.camera),
        'time': f'{hit.time:%Y-%m-%d %H:%M:%S}' if hit.time else '', 'time_from': hit.time_from,
        'modality': hit.modality, 'same': '' if probability is None else percent(probability),
    }  # fmt: skip


def label_file(index: Index) -> Path:
    """Returns where the answers are saved."""
    return index.folder / LABELS
