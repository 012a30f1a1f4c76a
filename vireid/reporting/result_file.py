"""Reads `result.json` and `queries.npz`, and checks that they agree."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Required

import numpy as np
from annotated_types import Ge, Le, Len, MaxLen
from pydantic import ConfigDict, NonNegativeInt, PositiveInt, TypeAdapter
from typing_extensions import TypedDict

from vireid.boundary.malformed import BeyondLimit, Malformed
from vireid.boundary.paths import inside
from vireid.boundary.reading import RECORD, load_arrays, parse_json, read_text, reads
from vireid.core.scoring.results import FILE, QUERIES, described
from vireid.errors import Mismatch, UnsupportedFile
from vireid.statistics.interval import add_intervals
from vireid.statistics.scores import METRICS, metric_values

AGAIN = 'score the checkpoint again: vireid test CONFIG CHECKPOINT --work-dir DIR'
CLOSE = 1e-6  # tolerance between a mean and that of the queries: both are float64 sums
Share = Annotated[float, Ge(0), Le(1 + 1e-9)]
Range = Annotated[list[NonNegativeInt], Len(2, 2)]
Name = Annotated[str, MaxLen(1000)]  # tables would be as wide


COLUMNS = ('row', 'trial', 'identity', 'ahead', 'ap', 'inp')
# rows of a result, and queries of all its rows, trials and models: five seeds of LLCM, both directions and three
# variants have 2.4 million
ROWS, QUERY_ROWS = 1000, 3_000_000


class Metric(TypedDict, total=False):
    """A metric of a row, as a fraction."""

    mean: Required[Share]
    std: Required[Share]
    low: Share
    high: Share


class _Row(TypedDict, total=False):
    __pydantic_config__ = ConfigDict(extra='allow', strict=True)  # type: ignore[misc]
    name: Required[Name]
    variant: Required[Name]
    trials: Required[PositiveInt]
    queries: Required[Range]
    valid: Required[Range]
    R1: Required[Metric]
    R5: Required[Metric]
    R10: Required[Metric]
    R20: Required[Metric]
    mAP: Required[Metric]
    mINP: Required[Metric]
    identities: PositiveInt
    tied: Share
    ties: str


class _Identical(TypedDict):
    images: PositiveInt
    equal: NonNegativeInt
    distinct: PositiveInt
    queries: PositiveInt
    found: NonNegativeInt


class _Result(TypedDict, total=False):
    __pydantic_config__ = ConfigDict(extra='allow', strict=True)  # type: ignore[misc]
    rows: Required[Annotated[list[_Row], Len(1, ROWS)]]
    identical: _Identical
    data: str
    protocol: Name
    weights: str | list[str]
    select: Name
    split: Name
    precision: Name
    identities: NonNegativeInt
    steps: NonNegativeInt
    models: list[int]


_SCHEMA, _ROWS = TypeAdapter(_Result), TypeAdapter(list[_Row])


def read(folder: Path) -> dict[str, Any] | None:
    """Returns what `results.write` wrote into a folder, or None if there is no complete result.

    Raises:
        VireidError: if it is damaged, an earlier vireid wrote it in another form, or its queries give other metrics.
    """
    result = read_result(inside(folder, FILE))
    if result is not None and has_queries(folder):
        _require_same(result, inside(folder, QUERIES))
    return result


def has_queries(folder: Path) -> bool:
    """Returns whether the metrics of the queries lie beside a result, so that `read` can compare the two."""
    return inside(folder, QUERIES).is_file()


def which_weights(result: Mapping[str, Any]) -> str:
    """Returns a description of the weights that were scored; of several models, each distinct one once."""
    weights = result.get('weights') or ''
    return weights if isinstance(weights, str) else '; '.join(dict.fromkeys(weights))


@reads('a result of an evaluation', FILE, todo=AGAIN)
def read_result(path: Path) -> dict[str, Any] | None:
    """Reads a `result.json`; None if it is missing or incomplete.

    Raises:
        VireidError: if it is damaged, or was written by an earlier vireid.
    """
    try:
        content = parse_json(read_text(path, RECORD))
    except (OSError, ValueError):
        return None
    if not isinstance(content, dict) or not isinstance(content.get('rows'), list):
        return None
    old = 'steps' in content and 'identities' not in content
    if old or any(isinstance(r, dict) and not _is_current(r) for r in content['rows']):
        raise UnsupportedFile(
            f'{path} was written by an earlier vireid', todo='choose another --work-dir, or move that folder away'
        )
    _SCHEMA.validate_python(content)
    require_rows(content['rows'])
    return content


def require_rows(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the rows of a result unchanged; raises ValueError if they are invalid or inconsistent."""
    _ROWS.validate_python(rows)
    for row in rows:
        _require_order(row)
    return rows


def _require_order(row: Mapping[str, Any]) -> None:
    """Raises Malformed if the metrics of a row are inconsistent."""
    for key in METRICS:
        mean, low, high = (row[key].get(part, row[key]['mean']) for part in ('mean', 'low', 'high'))
        if not low - CLOSE <= mean <= high + CLOSE:
            raise Malformed(f'{key} of {row["name"]} is {mean}, outside its interval from {low} to {high}')
    hits = [row[key]['mean'] for key in METRICS if key.startswith('R')]
    if any(b < a - CLOSE for a, b in pairwise(hits)):
        raise Malformed(f'the CMC of {row["name"]} decreases: {", ".join(map(str, hits))}')
    for fewest, most in (row['valid'], row['queries'], *zip(row['valid'], row['queries'], strict=True)):
        if fewest > most:
            raise Malformed(f'{row["name"]} has {row["valid"]} valid queries of {row["queries"]}')


def _is_current(row: Mapping[str, Any]) -> bool:
    return 'variant' in row and all(isinstance(row.get(key), dict) for key in METRICS)


@reads('the metrics of the queries of an evaluation', QUERIES, todo=AGAIN)
def read_queries(path: Path) -> dict[str, np.ndarray]:
    """Returns the columns of a `queries.npz`, all of one length Q; see `Results.queries`.

    If several models are averaged, `model` is a column too.
    """
    return _columns(load_arrays(path))


def _columns(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    hits = [key for key in METRICS if key.startswith('R')]
    columns = {name: arrays[name] for name in (*COLUMNS, *(n for n in ('model', *hits) if n in arrays))}
    length = len(columns['row'])
    if length > QUERY_ROWS:
        raise BeyondLimit(f'it has {length:,} rows; at most {QUERY_ROWS:,} are read')
    for name in (*COLUMNS, *({'model'} & columns.keys())):
        kinds = 'iuf' if name in ('ahead', 'ap', 'inp') else 'iu'
        if columns[name].shape != (length,) or columns[name].dtype.kind not in kinds or not length:
            raise Malformed(f'{name} is {columns[name].dtype} of shape {columns[name].shape}')
    for name, values in metric_values(columns).items():
        if values.shape != (length,) or not ((values >= 0) & (values <= 1 + 1e-9)).all():
            raise Malformed(f'{name} is not between 0 and 1')
    if not (np.isfinite(columns['ahead']) & (columns['ahead'] >= 0)).all():
        raise Malformed('ahead has values that are negative or not finite')
    return columns


@reads('the metrics of the queries of an evaluation', QUERIES, todo=AGAIN)
def read_rows(path: Path) -> tuple[dict[int, dict[str, Any]], dict[str, Any]]:
    """Returns the rows of a result computed from a `queries.npz`, by their index, and what identifies them.

    The latter is what `described` returns; empty for a file of an earlier vireid.
    """
    arrays = load_arrays(path)
    columns = _columns(arrays)
    about = parse_json(str(arrays['about']), RECORD) if 'about' in arrays else {}
    if not isinstance(about, dict):
        raise Malformed('about is not an object')
    order = np.argsort(columns['row'], kind='stable')
    numbers, starts = np.unique(columns['row'][order], return_index=True)
    if len(numbers) > ROWS:
        raise BeyondLimit(f'it has queries of {len(numbers):,} rows; at most {ROWS:,} are read')
    parts = zip(numbers.tolist(), np.split(order, starts[1:]), strict=True)
    return {n: _row({name: values[own] for name, values in columns.items()}) for n, own in parts}, about


def _require_same(result: Mapping[str, Any], path: Path) -> None:
    """Raises Mismatch if a metric of a result differs from what its queries give."""
    every, about = read_rows(path)

    def differs(what: str, stored: Any, here: Any) -> Mismatch:
        given = f'{path} does not match {FILE} beside it: {what} is {stored} there'
        return Mismatch(f'{given}, but {here} from its queries', todo=AGAIN)

    rows = result['rows']
    for key, here in described(result).items() if about else ():
        if about.get(key) != here:
            raise differs('names of the rows' if key == 'rows' else key, here, about.get(key))
    if list(every) != list(range(len(rows))):
        raise differs('the number of rows', len(rows), len(every))
    for row, computed in zip(rows, every.values(), strict=True):
        for key in METRICS:
            for part in ('mean', 'std', 'low', 'high'):
                stored, here = row[key].get(part), computed[key].get(part)
                if (stored is None) != (here is None) or (stored is not None and abs(stored - here) > CLOSE):
                    what = key if part == 'mean' else f'{key} ({part})'
                    raise differs(f'{what} of {row["name"]}', _percent(stored), _percent(here))
        for key in ('trials', 'valid', 'identities'):
            stored, here = (list(v) if isinstance(v, (list, tuple)) else v for v in (row.get(key), computed.get(key)))
            if stored != here:
                raise differs(f'{key} of {row["name"]}', stored, here)
        if row.get('tied', 0) < computed['tied'] - CLOSE:
            least = f'at least {_percent(computed["tied"])}'
            raise differs(f'tied of {row["name"]}', _percent(row.get('tied', 0)), least)


def _row(columns: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Returns the row of a result that its queries give; see `Results.rows`.

    `tied` is the share of queries with a metric that is a mean over orders; the true share may be larger.
    """
    values = metric_values(columns)
    counted = [columns['ahead'], *(v for key, v in values.items() if key.startswith('R'))]
    values['tied'] = np.any([v % 1 > 0 for v in counted], axis=0)
    # the mean over trials; with several models, the mean over theirs
    _, trial = np.unique(columns['trial'], return_inverse=True)
    _, model = np.unique(columns.get('model', columns['trial']), return_inverse=True)
    pairs, place, counts = np.unique(model * (trial.max() + 1) + trial, return_inverse=True, return_counts=True)
    of_model = pairs // (trial.max() + 1)
    means = {
        key: np.bincount(of_model, np.bincount(place, v) / counts) / np.bincount(of_model) for key, v in values.items()
    }
    row: dict[str, Any] = {
        'trials': len(means['mAP']),
        'valid': (int(counts.min()), int(counts.max())),
        'tied': float(means['tied'].mean()),
        **{key: {'mean': float(means[key].mean()), 'std': float(means[key].std())} for key in METRICS},
    }
    add_intervals(row, {key: values[key] for key in METRICS}, columns['identity'], model)
    return row


def _percent(value: float | None) -> str:
    return 'none' if value is None else f'{100 * value:.2f}%'
