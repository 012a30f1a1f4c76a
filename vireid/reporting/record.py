"""A run as its folder has it: what figures and reports are drawn from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vireid.core.config import files
from vireid.core.errors import VireidError
from vireid.core.scoring import results
from vireid.core.training.run import RECORD
from vireid.reporting import evidence
from vireid.reporting.evidence import Evidence


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
    """

    folder: Path
    label: str
    config: dict[str, Any]
    metrics: list[dict[str, Any]]
    result: dict[str, Any] | None
    made: dict[str, Any]
    evidence: Evidence | None

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
    config = files.load(folder / 'config.yaml') if 'config.yaml' in there else {}
    found = Evidence.load(folder / evidence.FILE) if evidence.FILE in there else None
    result = _read_result(folder) if results.FILE in there else None
    if found is not None and result is not None and found.about['rows'] != result['rows']:
        found = None  # of an evaluation before
    name = str(config.get('name') or (found.about.get('name') if found else '') or folder.name)
    made = _plain(folder / RECORD)
    return RunRecord(folder, name, config, read_metrics(folder / 'metrics.jsonl'), result, made, found)


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


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Returns the lines of a metrics file; the first that is none, such as one torn by a crash, ends it."""
    lines: list[dict[str, Any]] = []
    for text in path.read_text(encoding='utf-8', errors='replace').splitlines() if path.exists() else ():
        try:
            line = json.loads(text)
        except ValueError:
            break
        if not isinstance(line, dict) or type(line.get('step')) is not int:
            break
        lines.append(line)
    return lines


def _read_result(folder: Path) -> dict[str, Any]:
    found = results.read(folder)
    rows = found['rows'] if found is not None else []
    whole = all(isinstance(r.get('name'), str) and _numbers(r) for r in rows)
    if found is None or not rows or not whole:
        raise VireidError(
            f'{folder / results.FILE} is damaged', todo='score the checkpoint again: vireid test CONFIG CHECKPOINT'
        )
    return {'data': '', 'protocol': '', 'weights': '', **found}


def _numbers(row: dict[str, Any]) -> bool:
    return all(isinstance(row[key].get('mean'), (int, float)) for key in results.METRICS)


def _plain(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
