"""Reads the folder of a run, for figures and reports."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Required

from annotated_types import Ge, Le
from pydantic import ConfigDict, TypeAdapter
from typing_extensions import TypedDict

from vireid.boundary import config_text
from vireid.boundary.paths import inside
from vireid.boundary.reading import RECORD as MAX_BYTES
from vireid.boundary.reading import parse_json, read_lines, read_text, reads
from vireid.boundary.showing import one_line
from vireid.core.scoring import results
from vireid.core.training.run import RECORD
from vireid.errors import DamagedFile, MissingFile, WrongContent
from vireid.reporting import evidence, result_file
from vireid.reporting.evidence import Evidence
from vireid.statistics.identical import identical_note
from vireid.statistics.scores import RANKS

# limits of a metrics.jsonl: bytes, lines, bytes of a line; a million steps take about 500 MB
METRICS, LINES, LINE = 512 * 2**20, 1_000_000, 256 * 2**10
MAX_STEPS = 2**53  # above it, floats skip numbers


@dataclass
class RunRecord:
    """The content of a run's folder; missing parts are empty or None.

    Attributes:
        folder: folder of the run.
        label: its name in figures of several runs.
        config: the sections of its config.
        metrics: the lines of `metrics.jsonl`, see `MetricsFile`; read on first use.
        result: the content of `result.json`; None for a run that has not finished.
        provenance: the content of `run.json`: versions, machine, data.
        evidence: evidence of its last evaluation.
        checked: whether the result was verified against the metrics of its queries.
        differences: what differs between the result and the evidence beside it, such as `protocol`; it is then ignored.
    """

    folder: Path
    label: str
    config: dict[str, Any]
    metrics: Sequence[dict[str, Any]]
    result: dict[str, Any] | None
    provenance: dict[str, Any]
    evidence: Evidence | None
    checked: bool = False
    differences: tuple[str, ...] = ()

    @property
    def steps(self) -> list[dict[str, Any]]:
        """The metrics of training steps."""
        return [line for line in self.metrics if 'loss' in line]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows of the result table; empty without a result."""
        if self.result is not None:
            return self.result['rows']
        return self.evidence.about['rows'] if self.evidence is not None else []

    @property
    def about(self) -> dict[str, Any]:
        """Values that describe the rows, such as `data`, `protocol` and `weights`; empty without a result."""
        return self.result or (self.evidence.about if self.evidence is not None else {})

    @property
    def protocol(self) -> str:
        """The name of the scoring protocol; empty without a result."""
        return str(self.about.get('protocol', ''))

    def warnings(self) -> list[str]:
        """Returns warnings that readers of the rows need."""
        if not self.rows:
            return []
        missing = results.FILE if self.result is None else results.QUERIES
        lines = [] if self.checked else [f'{self.label} has no {missing}, so its metrics could not be verified.']
        if self.differences:
            different = ', '.join(self.differences)
            lines.append(
                f'{self.label}: {evidence.FILE} belongs to another evaluation (different {different}) and is ignored.'
            )
        if self.about.get('identical'):
            lines.append(f'{self.label}: {identical_note(self.about["identical"])}.')
        tied = [row for row in self.rows if row.get('tied', 0) >= results.MIN_TIED_SHARE]
        return lines + [f'{self.label}, {row["name"]}: {results.tied_queries(row)}.' for row in tied]


def read_run(folder: str | Path) -> RunRecord:
    """Reads a folder that `vireid train` or `vireid test` wrote, finished or not.

    Raises:
        VireidError: if it contains no run, or a file is damaged.
    """
    folder = Path(folder)
    files = [
        name for name in ('config.yaml', results.FILE, 'metrics.jsonl', evidence.FILE) if (folder / name).is_file()
    ]
    if not files:
        raise MissingFile(
            f'{folder} contains no run',
            allowed='a folder that vireid train or vireid test wrote, such as runs/tffn_demo',
        )
    config = config_text.read_record(inside(folder, 'config.yaml')) if 'config.yaml' in files else {}
    kept = Evidence.load(inside(folder, evidence.FILE)) if evidence.FILE in files else None
    result = _read_result(folder) if results.FILE in files else None
    differences: tuple[str, ...] = ()
    if kept is not None and result is not None:
        differences = tuple(
            k for k in ('data', 'protocol', 'weights', 'rows') if kept.about.get(k, '') != result.get(k, '')
        )
        kept = None if differences else kept  # of an earlier evaluation, or someone edited the result
    if kept is not None:
        kept = replace(kept, about=_in_lines(kept.about), cmc=_in_lines(kept.cmc))
        _require_curves(kept, folder)
    result = _in_lines(result)
    checked = result is not None and result_file.has_queries(folder)
    name = str(config.get('name') or (kept.about.get('name') if kept else '') or folder.name)
    record = inside(folder, RECORD)
    provenance = read_provenance(record) if record.is_file() else {}
    lines = Metrics(inside(folder, 'metrics.jsonl'))
    return RunRecord(folder, one_line(name), config, lines, result, provenance, kept, checked, differences)


def _in_lines(value: Any) -> Any:
    """Returns texts from a file without line breaks and control characters: they would forge lines of messages."""
    if isinstance(value, str):
        return one_line(value)
    if isinstance(value, list):
        return [_in_lines(item) for item in value]
    return {one_line(key): _in_lines(item) for key, item in value.items()} if isinstance(value, dict) else value


def _require_curves(kept: Evidence, folder: Path) -> None:
    """Raises WrongContent unless the CMC agrees with the metrics of the rows."""
    for row in kept.about['rows']:
        curve = kept.cmc.get(row['name'], ())
        for rank in RANKS:
            if rank <= len(curve) and abs(curve[rank - 1] - row[f'R{rank}']['mean']) > result_file.CLOSE:
                raise WrongContent(
                    f'{folder / evidence.FILE} is damaged: the CMC of {row["name"]} is {100 * curve[rank - 1]:.2f}% at '
                    f'rank {rank}, but its R{rank} is {100 * row[f"R{rank}"]["mean"]:.2f}%',
                    todo=evidence.AGAIN,
                )


def read_runs(folders: list[str] | list[Path]) -> list[RunRecord]:
    """Reads several runs; those with the same name are labeled by their folders.

    Raises:
        VireidError: if a folder contains no run, or a file is damaged.
    """
    runs = [read_run(folder) for folder in folders]
    names = [run.label for run in runs]
    for run in runs:
        if names.count(run.label) > 1:
            run.label = f'{run.label} ({run.folder.name})' if run.folder.name != run.label else str(run.folder)
    labels = [run.label for run in runs]
    for run in runs:
        if labels.count(run.label) > 1:
            run.label = str(run.folder)
    return runs


class Metrics(Sequence[dict[str, Any]]):
    """The lines of a metrics file, read on first use: a long run has hundreds of thousands."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @cached_property
    def _lines(self) -> list[dict[str, Any]]:
        return read_metrics(self._path)

    def __getitem__(self, index: Any) -> Any:
        return self._lines[index]

    def __len__(self) -> int:
        return len(self._lines)


_Values = dict[str, float | None]


class _Mean(TypedDict):
    __pydantic_config__ = ConfigDict(extra='allow')  # type: ignore[misc]
    mean: float


class _Scored(TypedDict):
    __pydantic_config__ = ConfigDict(extra='allow')  # type: ignore[misc]
    name: str
    R1: _Mean
    mAP: _Mean


class _Line(TypedDict, total=False):
    __pydantic_config__ = ConfigDict(extra='allow', strict=True)  # type: ignore[misc]
    step: Required[Annotated[int, Ge(0), Le(MAX_STEPS)]]
    epoch: float
    loss: float | None
    tasks: _Values | None
    weights: _Values | str | None
    curves: dict[str, _Values | None] | None
    lr: float | None
    turn: str
    gradient: float | None
    data: str
    protocol: str
    rows: list[_Scored]


_LINE = TypeAdapter(_Line)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Returns the lines of a metrics file, with the keys of `_Line`; see `scan_metrics`."""
    lines: list[dict[str, Any]] = []
    scan_metrics(path, lambda line, _: lines.append({key: line[key] for key in _Line.__annotations__ if key in line}))
    return lines


@reads('the metrics of a run', 'metrics.jsonl', todo='move it away: the run is then shown without its curves')
def scan_metrics(path: Path, take: Callable[[dict[str, Any], bytes], object]) -> None:
    """Calls `take` with each line of a metrics file, parsed and raw.

    Stops at the first invalid line, such as one truncated by a crash.

    Raises:
        UnsafeFile: if the file is too large.
    """
    for text in read_lines(path, METRICS, LINE, LINES) if path.exists() else ():
        try:
            line: Any = _LINE.validate_json(text)  # four times faster than `parse_json`
        except ValueError:
            return
        if 'loss' in line and isinstance(line.get('weights'), str):  # a string belongs to an evaluation
            return
        take(line, text)


class _Machine(TypedDict, total=False):
    __pydantic_config__ = ConfigDict(extra='allow')  # type: ignore[misc]
    threads: Annotated[int, Ge(1), Le(4096)]


class _Init(TypedDict):
    __pydantic_config__ = ConfigDict(extra='allow')  # type: ignore[misc]
    file: str
    weights: str
    partial: bool


class _Provenance(TypedDict, total=False):
    __pydantic_config__ = ConfigDict(extra='allow', strict=True)  # type: ignore[misc]
    command: list[str]
    config: str
    seed: int
    data: str
    versions: dict[str, str]
    git: str
    machine: _Machine
    init: _Init | None
    resumed: list[dict[str, Any]]
    plugin_code: dict[str, str]


@reads('the record of a run', RECORD, todo='give the folder of a run of this vireid version')
def read_provenance(path: Path) -> dict[str, Any]:
    """Reads a `run.json`: command, config, data, versions and machine of a run."""
    provenance: Any = TypeAdapter(_Provenance).validate_python(parse_json(read_text(path, MAX_BYTES)))
    return provenance


def changed_plugins(provenance: Mapping[str, Any], code: Mapping[str, str]) -> list[str]:
    """Returns the names of the plugin files whose code differs from what a run recorded.

    Args:
        provenance: what `read_provenance` returned; files that it does not name count as unchanged.
        code: what `code_digests` returns for the files as they are now.
    """
    before = provenance.get('plugin_code', {})
    return [name for name, digest in code.items() if before.get(name, digest) != digest]


def _read_result(folder: Path) -> dict[str, Any]:
    content = result_file.read(folder)
    if content is None:
        raise DamagedFile(
            f'{folder / results.FILE} is damaged', todo='score the checkpoint again: vireid test CONFIG CHECKPOINT'
        )
    return {'data': '', 'protocol': '', 'weights': '', **content}
