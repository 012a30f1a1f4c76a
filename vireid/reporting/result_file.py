"""`result.json` and `queries.npz`: read back, and held against each other."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Required

import numpy as np
from annotated_types import Ge, Le, MinLen
from pydantic import ConfigDict, NonNegativeInt, PositiveInt, TypeAdapter
from typing_extensions import TypedDict

from vireid.boundary.paths import inside
from vireid.boundary.reading import load_arrays, parse_json, read_text, reads
from vireid.core.errors import VireidError
from vireid.core.scoring.results import FILE, METRICS, QUERIES, metric_values

AGAIN = 'score the checkpoint again: vireid test CONFIG CHECKPOINT --work-dir DIR'
CLOSE = 1e-6  # how far a mean may be from that of the queries: both are sums of float64
Share = Annotated[float, Ge(0), Le(1 + 1e-9)]
Range = tuple[NonNegativeInt, NonNegativeInt]


class Metric(TypedDict, total=False):
    """A metric of a row, as fractions."""

    mean: Required[Share]
    std: Required[Share]
    low: Share
    high: Share


class _Row(TypedDict, total=False):
    name: Required[str]
    variant: Required[str]
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


class _Result(TypedDict, total=False):
    __pydantic_config__ = ConfigDict(extra='allow', strict=True)  # type: ignore[misc]
    rows: Required[Annotated[list[_Row], MinLen(1)]]
    data: str
    protocol: str
    weights: str | list[str]
    select: str
    split: str
    precision: str
    identities: NonNegativeInt
    steps: NonNegativeInt
    models: list[int]


_SCHEMA = TypeAdapter(_Result)


def read(folder: Path) -> dict[str, Any] | None:
    """Returns what `results.write` wrote into a folder, or None if nothing whole is there.

    Raises:
        VireidError: if it is damaged, or an earlier vireid wrote it, in another form.
    """
    return read_result(inside(folder, FILE))


@reads('a result of an evaluation', FILE, todo=AGAIN)
def read_result(path: Path) -> dict[str, Any] | None:
    """Reads a `result.json`; see `read`."""
    try:
        text = read_text(path)
        content = parse_json(text)
    except (OSError, ValueError):
        return None
    if not isinstance(content, dict) or not isinstance(content.get('rows'), list):
        return None
    old = 'steps' in content and 'identities' not in content
    if old or any(isinstance(r, dict) and not _is_current(r) for r in content['rows']):
        raise VireidError(
            f'{path} was written by an earlier vireid', todo='choose another --work-dir, or move that folder away'
        )
    _SCHEMA.validate_json(text)
    return content


def _is_current(row: Mapping[str, Any]) -> bool:
    return 'variant' in row and all(isinstance(row.get(key), dict) for key in METRICS)


@reads('the metrics of the queries of an evaluation', QUERIES, todo=AGAIN)
def read_queries(path: Path) -> dict[str, np.ndarray]:
    """Returns the columns of a `queries.npz`, all of one length Q; see `Results.queries`."""
    columns = load_arrays(path)
    length = len(columns['row'])
    for name in ('row', 'trial', 'identity', 'ahead', 'ap', 'inp'):
        kinds = 'iu' if name in ('row', 'trial', 'identity') else 'iuf'
        if columns[name].shape != (length,) or columns[name].dtype.kind not in kinds or not length:
            raise ValueError(f'{name} is {columns[name].dtype} of shape {columns[name].shape}')
    for name, values in metric_values(columns).items():
        if values.shape != (length,) or not ((values >= 0) & (values <= 1 + 1e-9)).all():
            raise ValueError(f'{name} is not between 0 and 1')
    if (columns['ahead'] < 0).any():
        raise ValueError('ahead is negative')
    return columns


def require_same(result: Mapping[str, Any], folder: Path) -> bool:
    """Compares a result with the metrics of its queries, if these lie beside it.

    Returns:
        Whether they do; those of several models lie in their own folders.

    Raises:
        VireidError: if a number of the result is not the mean of its queries.
    """
    path = inside(folder, QUERIES)
    if not path.is_file():
        return False
    columns = read_queries(path)
    metrics = metric_values(columns)
    for number, row in enumerate(result['rows']):
        own = columns['row'] == number
        _, trial = np.unique(columns['trial'][own], return_inverse=True)
        counts = np.bincount(trial)
        for key in METRICS:
            mean = float(np.mean(np.bincount(trial, metrics[key][own]) / counts)) if own.any() else np.nan
            if not abs(mean - row[key]['mean']) <= CLOSE:
                raise VireidError(
                    f'{path} is of another evaluation than {FILE} beside it: {key} of {row["name"]} is '
                    f'{100 * row[key]["mean"]:.2f} there, and the mean of its queries {100 * mean:.2f}',
                    todo=AGAIN,
                )
    return True
