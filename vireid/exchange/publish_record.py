"""Reads the record of a published release and its checksums, and verifies the files."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le, Len, MinLen
from pydantic import ConfigDict, NonNegativeInt, PositiveInt, TypeAdapter
from typing_extensions import TypedDict

from vireid.boundary.paths import inside, is_name
from vireid.boundary.reading import RECORD as MAX_BYTES
from vireid.boundary.reading import open_regular, parse_json, read_text, reads
from vireid.errors import Changed
from vireid.statistics.scores import METRICS

RECORD, SUMS = 'release.json', 'SHA256SUMS'
LICENSE = re.compile(r'[A-Za-z0-9][A-Za-z0-9.+-]{0,63}')  # as in SPDX
BLOCK = 2**20
Share = Annotated[float, Ge(0), Le(1 + 1e-9)]
Limits = Annotated[list[Share], Len(2, 2)]


class _Metric(TypedDict):
    __pydantic_config__ = ConfigDict(extra='forbid', strict=True)  # type: ignore[misc]
    mean: Share
    seeds: Limits | None
    people: Limits


class _Row(TypedDict):
    __pydantic_config__ = ConfigDict(extra='forbid', strict=True)  # type: ignore[misc]
    name: str
    variant: str
    trials: PositiveInt
    identities: PositiveInt
    metrics: dict[str, _Metric]


class _Release(TypedDict):
    __pydantic_config__ = ConfigDict(extra='forbid', strict=True)  # type: ignore[misc]
    format: Literal[1]
    name: str
    license: str
    permission: str
    data: str
    split: str
    protocol: str
    select: str
    identities: PositiveInt
    steps: NonNegativeInt
    seeds: Annotated[list[int], MinLen(1)]
    initialized: bool
    weights: str
    versions: dict[str, str]
    rows: Annotated[list[_Row], MinLen(1)]
    not_measured: list[str]


_SCHEMA = TypeAdapter(_Release)


@reads('the record of a published release', RECORD, allowed='a folder of `vireid publish`')
def read_release_record(path: Path) -> dict[str, Any]:
    """Reads a `release.json`; see `publish` for its content.

    Raises:
        VireidError: if it is missing or damaged.
    """
    record: Any = _SCHEMA.validate_python(parse_json(read_text(path, MAX_BYTES)))
    if not LICENSE.fullmatch(record['license']):
        raise ValueError(f'license is {record["license"]!r}')
    for row in record['rows']:
        if set(row['metrics']) != set(METRICS):
            raise ValueError(f'{row["name"]} has the metrics {", ".join(row["metrics"])}')
    return record


@reads('a list of checksums', SUMS, allowed='a folder of `vireid publish`')
def read_sums(path: Path) -> dict[str, str]:
    """Reads a `SHA256SUMS`: the digest of each file by its name.

    Raises:
        VireidError: if it is missing, empty or damaged.
    """
    sums = {}
    for line in read_text(path).splitlines():
        digest, _, name = line.partition('  ')
        if not re.fullmatch('[0-9a-f]{64}', digest) or not is_name(name) or name in sums:
            raise ValueError(f'{line!r} is not a digest and the name of a file')
        sums[name] = digest
    if not sums:
        raise ValueError('it is empty')
    return sums


def read_published(folder: Path) -> dict[str, Any]:
    """Returns the record of a release whose files match their checksums; the weights may be kept elsewhere.

    Raises:
        VireidError: if a file is missing, damaged, unlisted, or differs from its checksum.
    """
    record = read_release_record(inside(folder, RECORD))
    sums = read_sums(inside(folder, SUMS))
    for name in sorted({RECORD, *sums, *(path.name for path in folder.iterdir())} - {SUMS}):
        path = inside(folder, name)
        if name == 'model.safetensors' and not path.exists():
            continue
        if name not in sums or not path.is_file() or digest_of(path) != sums[name]:
            raise Changed(
                f'{path} is missing, or is not what {SUMS} lists', todo='publish again, or restore the folder'
            )
    return record


def digest_of(path: Path) -> str:
    """Returns the SHA-256 of a file."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()
