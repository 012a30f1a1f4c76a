"""A REST server with Qdrant's own engine for the requests that the index type `Qdrant` sends.

Qdrant's server cannot be installed with pip, but its engine can: `pip install qdrant-edge-py`. It stores the points in
a folder, with a log, so that they outlive a kill. Only benchmarks/qdrant_engine.py uses this server.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import qdrant_edge as edge
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

LIMIT = 32 * 2**20  # bytes of a request that Qdrant accepts
NAME = '/collections/{collection_name}'


def serve(folder: Path, port: int, key: str | None, record: Path) -> None:
    """Answers as Qdrant does, with one shard of its engine for each collection."""
    shards = {path.parent.name: edge.EdgeShard.load(str(path)) for path in folder.glob('*/shard')}

    def conditions(given: dict[str, Any] | None) -> Any:
        must = []
        for each in (given or {}).get('must', []):
            match, span = each.get('match'), each.get('range')
            if match:
                match = edge.MatchAny(match['any']) if 'any' in match else edge.MatchValue(match['value'])
            must.append(edge.FieldCondition(each['key'], match, edge.RangeFloat(**span) if span else None))
        return edge.Filter(must=must) if given else None

    def create(name: str, body: dict[str, Any]) -> Any:
        if name in shards:
            raise HTTPException(409, f'Wrong input: Collection `{name}` already exists!')
        params = edge.EdgeVectorParams(
            body['vectors']['size'], getattr(edge.Distance, body['vectors']['distance']),
            datatype=getattr(edge.VectorStorageDatatype, body['vectors']['datatype'].capitalize()),
        )  # fmt: skip
        # so low that a few thousand images get a graph
        config = edge.EdgeConfig(
            params, hnsw_config=edge.HnswIndexConfig(16, 100, full_scan_threshold=10),
            optimizers=edge.EdgeOptimizersConfig(indexing_threshold=10, default_segment_number=2),
        )  # fmt: skip
        own = folder / name
        (own / 'shard').mkdir(parents=True)
        (own / 'vectors.json').write_text(json.dumps(body['vectors']))
        shards[name] = edge.EdgeShard.create(str(own / 'shard'), config)
        return True

    def drop(name: str, body: Any) -> Any:
        shards.pop(name).close()
        shutil.rmtree(folder / name)
        return True

    def describe(name: str, body: Any) -> Any:
        info = shards[name].info()
        hnsw = {'m': 16, 'ef_construct': 100, 'full_scan_threshold': 10}
        optimizers = {'deleted_threshold': 0.2, 'vacuum_min_vector_number': 1000, 'default_segment_number': 2}
        params = {'vectors': json.loads((folder / f'{name}/vectors.json').read_text())}
        return {
            'status': 'green', 'optimizer_status': 'ok', 'segments_count': info.segments_count,
            'points_count': info.points_count, 'indexed_vectors_count': info.indexed_vectors_count,
            'config': {
                'params': params, 'hnsw_config': hnsw, 'optimizer_config': optimizers | {'flush_interval_sec': 5},
            },
            'payload_schema': {
                field: {'data_type': str(index.data_type).rpartition('.')[2].lower(), 'points': index.points}
                for field, index in info.payload_schema.items()
            },
        }  # fmt: skip

    def change(operation: Any) -> Callable[[str, Any], Any]:
        def apply(name: str, body: dict[str, Any]) -> Any:
            shards[name].update(operation(body))
            return {'operation_id': 0, 'status': 'completed'}

        return apply

    def index(body: dict[str, Any]) -> Any:
        kind = getattr(edge.PayloadSchemaType, body['field_schema'].capitalize())
        return edge.UpdateOperation.create_field_index(body['field_name'], kind)

    def upsert(body: dict[str, Any]) -> Any:
        batch = body['batch']
        points = zip(batch['ids'], batch['vectors'], batch['payloads'], strict=True)
        return edge.UpdateOperation.upsert_points([edge.Point(*point) for point in points])

    def scroll(name: str, body: dict[str, Any]) -> Any:
        request = edge.ScrollRequest(body.get('offset'), body['limit'], with_payload=False, with_vector=False)
        points, following = shards[name].scroll(request)
        return {'points': [{'id': point.id} for point in points], 'next_page_offset': following}

    def query(name: str, body: dict[str, Any]) -> Any:
        requests = []
        for each in body['searches']:
            nearest, params = edge.Query.Nearest(each['query']['nearest']), each.get('params') or {}
            params = edge.SearchParams(params.get('hnsw_ef'), params.get('exact') or False)
            requests.append(
                edge.QueryRequest(each['limit'], query=nearest, filter=conditions(each.get('filter')), params=params)
            )
        answers = shards[name].query_batch(edge.QueryBatchRequest(requests))
        return [
            {'points': [{'id': p.id, 'version': p.version, 'score': p.score} for p in points]} for points in answers
        ]

    answers: dict[tuple[str, str], Callable[[str, Any], Any]] = {
        ('GET', f'{NAME}/exists'): lambda name, body: {'exists': name in shards},
        ('PUT', NAME): create,
        ('GET', NAME): describe,
        ('DELETE', NAME): drop,
        ('PUT', f'{NAME}/index'): change(index),
        ('PUT', f'{NAME}/points'): change(upsert),
        ('POST', f'{NAME}/points/delete'): change(lambda body: edge.UpdateOperation.delete_points(body['points'])),
        ('POST', f'{NAME}/points/count'): lambda name, body: {'count': shards[name].count(edge.CountRequest())},
        ('POST', f'{NAME}/points/scroll'): scroll,
        ('POST', f'{NAME}/points/query/batch'): query,
        # not of Qdrant, which builds its graphs in the background
        ('POST', '/optimize/{collection_name}'): lambda name, body: shards[name].optimize(),
    }

    async def answer(request: Request) -> Response:
        name, route = request.path_params['collection_name'], request.scope['route'].path
        content = await request.body()
        if key and request.headers.get('api-key') != key:
            return PlainTextResponse('Invalid API key or JWT', 401)
        if len(content) > LIMIT:
            raise HTTPException(400, f'JSON payload has {len(content)} bytes; at most {LIMIT} are allowed')
        if name not in shards and not route.endswith('/exists') and request.method + route != f'PUT{NAME}':
            raise HTTPException(404, f"Not found: Collection `{name}` doesn't exist!")
        body = json.loads(content or b'null')
        try:
            found = {'result': answers[request.method, route](name, body), 'status': 'ok', 'time': 0.001}
        except Exception as error:  # of the engine
            raise HTTPException(400, f'Wrong input: {error!r}') from error
        # of the points of a collection only the first are recorded: checking thousands of embeddings takes long
        if not (points := route.endswith('/points')) or name not in recorded:
            with record.open('a') as out:
                out.write(json.dumps([request.method, route, dict(request.query_params), body, found]) + '\n')
        if points:
            recorded.add(name)
        return JSONResponse(found)

    async def refuse(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return JSONResponse({'status': {'error': error.detail}, 'time': 0.0}, error.status_code)

    recorded: set[str] = set()
    routes = [Route(path, answer, methods=[method]) for method, path in answers]
    app = Starlette(routes=routes, exception_handlers={HTTPException: refuse})
    uvicorn.run(app, host='127.0.0.1', port=port, log_level='error')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('folder', type=Path, help='where the points are stored')
    parser.add_argument('record', type=Path, help='where requests and answers are written, one a line')
    parser.add_argument('--port', type=int, default=6333)
    parser.add_argument('--key')
    args = parser.parse_args()
    serve(args.folder, args.port, args.key, args.record)


if __name__ == '__main__':
    main()
