"""A run as its folder has it: what figures and reports are drawn from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Required

from annotated_types import Ge, Le
from pydantic import ConfigDict, TypeAdapter
from typing_extensions import TypedDict

from vireid.boundary.paths import inside
from vireid.boundary.reading import parse_json, read_bytes, read_text, reads
from vireid.boundary.showing import one_line
from vireid.core.config import files
from vireid.core.errors import VireidError
from vireid.core.scoring import results
from vireid.core.training.run import RECORD
from vireid.reporting import evidence, result_file
from vireid.reporting.evidence import Evidence

METRICS = 512 * 2**20  # bytes of metrics.jsonl that are read; a million steps have about as many


@dataclass
class RunRecord:
    """What there is of a run; whatever is not there is empty or None.

    Attributes:
        folder: where it lies.
        label: what figures of several runs call it.
        config: the sections of its config.
        metrics: the lines of `metrics.jsonl`, see `MetricsFile`.
        result: what `result.json` says; None for a run that is not finished.
        made: what `run.json` says: versions, machine, data.
        evidence: what its last evaluation left to look at.
        checked: whether the result was held against the metrics of its queries.
    """

    folder: Path
    label: str
    config: dict[str, Any]
    metrics: list[dict[str, Any]]
    result: dict[str, Any] | None
    made: dict[str, Any]
    evidence: Evidence | None
    checked: bool = False

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
    def protocol(self) -> str:
        """The name of the protocol it was scored by; empty without a result."""
        found = self.result or (self.evidence.about if self.evidence is not None else {})
        return str(found.get('protocol', ''))


def read_run(folder: str | Path) -> RunRecord:
    """Reads a folder that `vireid train` or `vireid test` wrote, finished or not.

    Raises:
        VireidError: if nothing of a run is there, or a file is damaged.
    """
    folder = Path(folder)
    there = [
        name for name in ('config.yaml', results.FILE, 'metrics.jsonl', evidence.FILE) if (folder / name).is_file()
    ]
    if not there:
        raise VireidError(
            f'{folder} holds no run', allowed='a folder that vireid train or vireid test wrote, such as runs/tffn_demo'
        )
    config = files.read_record(inside(folder, 'config.yaml')) if 'config.yaml' in there else {}
    found = Evidence.load(inside(folder, evidence.FILE)) if evidence.FILE in there else None
    result = _read_result(folder) if results.FILE in there else None
    if found is not None and result is not None and found.about['rows'] != result['rows']:
        found = None  # of an evaluation before
    checked = result is not None and result_file.require_same(result, folder)
    name = str(config.get('name') or (found.about.get('name') if found else '') or folder.name)
    record = inside(folder, RECORD)
    made = read_made(record) if record.is_file() else {}
    lines = read_metrics(inside(folder, 'metrics.jsonl'))
    return RunRecord(folder, one_line(name), config, lines, result, made, found, checked)


def read_runs(folders: list[str] | list[Path]) -> list[RunRecord]:
    """Reads several; those of one name are told apart by their folders."""
    found = [read_run(folder) for folder in folders]
    names = [run.label for run in found]
    for run in found:
        if names.count(run.label) > 1:
            run.label = f'{run.label} ({run.folder.name})' if run.folder.name != run.label else str(run.folder)
    labels = [run.label for run in found]
    for run in found:
        if labels.count(run.label) > 1:
            run.label = str(run.folder)
    return found


class _Line(TypedDict, total=False):
    __pydantic_config__ = ConfigDict(extra='allow')  # type: ignore[misc]
    step: Required[int]
    epoch: float
    loss: float | None
    tasks: dict[str, float | None]
    weights: dict[str, float | None] | str
    curves: dict[str, Any]
    lr: dict[str, float | None] | float | None
    gradient: float | None
    protocol: str
    rows: list[dict[str, Any]]


_LINE = TypeAdapter(_Line)


@reads('the metrics of a run', 'metrics.jsonl')
def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Returns the lines of a metrics file; the first that is none, such as one torn by a crash, ends it."""
    lines: list[dict[str, Any]] = []
    for text in read_bytes(path, METRICS).splitlines() if path.exists() else ():
        try:
            line = parse_json(text)
            _LINE.validate_python(line)
        except ValueError:
            break
        lines.append(line)
    return lines


class _Machine(TypedDict, total=False):
    __pydantic_config__ = ConfigDict(extra='allow')  # type: ignore[misc]
    threads: Annotated[int, Ge(1), Le(4096)]


class _Init(TypedDict):
    __pydantic_config__ = ConfigDict(extra='allow')  # type: ignore[misc]
    file: str
    weights: str
    partial: bool


class _Made(TypedDict, total=False):
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


@reads('the record of a run', RECORD, todo='give the folder of a run of this version')
def read_made(path: Path) -> dict[str, Any]:
    """Reads a `run.json`: what a run was made of."""
    text = read_text(path)
    parse_json(text)  # refuses keys that stand twice
    made: Any = TypeAdapter(_Made).validate_json(text)
    return made


def _read_result(folder: Path) -> dict[str, Any]:
    found = result_file.read(folder)
    if found is None:
        raise VireidError(
            f'{folder / results.FILE} is damaged', todo='score the checkpoint again: vireid test CONFIG CHECKPOINT'
        )
    return {'data': '', 'protocol': '', 'weights': '', **found}
