"""The label page: one question at a time about the tracks of a folder of crops, and the people so far."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import anyio
from pydantic import ConfigDict, TypeAdapter, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from typing_extensions import TypedDict

from vireid.boundary.reading import parse_json, reason
from vireid.boundary.showing import printable
from vireid.errors import WrongValue
from vireid.labeling.journal import Kind
from vireid.labeling.labels import Labels
from vireid.labeling.people import Contradiction, Rows
from vireid.serve.web import AT_ONCE, LARGE, LOCAL, THUMBNAIL, explained, jpeg_response, make_app, page, read_body

MAX_BYTES = 2**20  # of an answer
MAX_PEOPLE = 500  # shown at once


class _Given(TypedDict):
    """An answer as the page sends it: tracks by number, and the version of the question."""

    __pydantic_config__ = ConfigDict(strict=True, extra='forbid')  # type: ignore[misc]
    version: int
    kind: Kind
    rows: list[int]
    same: list[list[int]]
    different: list[list[int]]
    name: str
    despite: bool


_GIVEN = TypeAdapter[Any](_Given)


def create_app(labels: Labels, hosts: Sequence[str] = LOCAL, token: str | None = None) -> Starlette:
    """Returns the application.

    Args:
        labels: the labels of a folder.
        hosts: see `make_app`.
        token: see `make_app`.
    """
    own = _Page(labels)
    routes = [
        Route('/', own.home),
        Route('/image/{row:int}', own.image),
        Route('/question', own.question),
        Route('/people', own.everybody),
        Route('/answer', own.answer, methods=['POST']),
    ]
    return make_app(routes, ('page.css', 'label.css', 'label.js'), hosts, token)


class _Page:
    """The handlers of a folder."""

    def __init__(self, labels: Labels) -> None:
        self.labels = labels
        self.images = anyio.Semaphore(AT_ONCE)
        self.one = threading.Lock()  # an answer belongs to the question before it
        self.template = page('label.html')

    async def home(self, request: Request) -> Response:
        """Returns the page."""
        return HTMLResponse(self.template.render(tracks=len(self.labels.tracks)))

    async def image(self, request: Request) -> Response:
        """Returns a crop as JPEG, never the file itself."""
        size = LARGE if 'large' in request.query_params else THUMBNAIL
        row = request.path_params['row']
        async with self.images:
            return await anyio.to_thread.run_sync(lambda: jpeg_response(self.labels.index.image(row), size))

    async def question(self, request: Request) -> Response:
        """Returns the next question."""
        return JSONResponse(await anyio.to_thread.run_sync(self._question))

    def _question(self) -> dict[str, Any]:
        with self.one:
            labels = self.labels
            asked, people = labels.question(), labels.people
            named = int((people.people > 0).sum())
            content = {
                'version': labels.version, 'tracks': len(labels.tracks), 'named': named,
                'people': labels.summary.people, 'summary': [printable(line) for line in labels.summary.lines()],
                'notes': [printable(line) for line in labels.notes()], 'undo': bool(labels.journal.held()),
            }  # fmt: skip
            if asked is None:
                return {**content, 'kind': 'done'}
            return {
                **content, 'kind': asked.kind, 'certainty': asked.certainty, 'group': self._group(asked.rows),
                'candidates': [{**self._group(c.rows), 'certainty': c.certainty} for c in asked.candidates],
            }  # fmt: skip

    def _group(self, rows: Rows) -> dict[str, Any]:
        """Returns a group with its tracks, each with three of its images."""
        tracks = [(row, self.labels.tracks[row]) for row in rows]
        return {
            'name': printable(self.labels.people.name(rows)),
            'modalities': sorted({track.modality for _, track in tracks}, reverse=True),
            'tracks': [
                {
                    'row': row, 'name': printable(track.name), 'camera': printable(track.camera),
                    'modality': track.modality, 'count': len(track.images),
                    'time': f'{track.span[0]:%Y-%m-%d %H:%M:%S}' if track.span else '',
                    'images': [track.images[place].row for place in _places(len(track.images))],
                }
                for row, track in tracks
            ],
        }  # fmt: skip

    async def everybody(self, request: Request) -> Response:
        """Returns the people so far."""

        def find() -> dict[str, Any]:
            with self.one:
                people = self.labels.people
                named = sorted((rows for rows in people.members() if people.name(rows)), key=people.name)
                groups = [self._group(rows) for rows in named[:MAX_PEOPLE]]
                return {'version': self.labels.version, 'people': groups, 'more': max(0, len(named) - MAX_PEOPLE)}

        return JSONResponse(await anyio.to_thread.run_sync(find))

    async def answer(self, request: Request) -> Response:
        """Accepts an answer, and returns the next question once the answer is saved."""
        content = await read_body(request, most=MAX_BYTES)
        try:
            given: _Given = _GIVEN.validate_python(parse_json(content))
        except (ValueError, ValidationError) as error:
            raise WrongValue(f'the answer cannot be read: {reason(error)}') from error
        try:
            late = await anyio.to_thread.run_sync(lambda: self._take(given))
        except Contradiction as error:
            return explained(409, error.given, error.todo or '', contradiction=True)
        if late:
            return explained(
                409, 'this question was answered in another window; here is the next one', contradiction=False
            )
        return await self.question(request)

    def _take(self, given: _Given) -> bool:
        """Applies an answer; returns whether it came too late, for a question that is no longer the current one."""
        with self.one:
            if given['version'] != self.labels.version:
                return True
            if given['kind'] == 'undo':
                self.labels.undo()
            else:
                self.labels.answer(
                    given['kind'], given['rows'], given['same'], given['different'], given['name'], given['despite']
                )  # fmt: skip
            return False


def _places(count: int) -> list[int]:
    """Returns the places of up to three images that are spread over a track."""
    return sorted({0, count // 2, count - 1})
