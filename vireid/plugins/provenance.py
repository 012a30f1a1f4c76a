"""Writes run.json, the provenance of a run, for reproduction and comparison."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from vireid.boundary import config_text
from vireid.boundary.paths import inside
from vireid.boundary.plugin_files import code_digests
from vireid.boundary.showing import as_json
from vireid.boundary.writing import write_whole
from vireid.console.warn import warn_once
from vireid.core.training.run import RECORD, Run
from vireid.core.types import Sample
from vireid.errors import VireidError
from vireid.plugins.git_commit import commit
from vireid.reporting.record import changed_plugins, read_provenance
from vireid.runtime.processes import world

PACKAGES = ('vireid', 'torch', 'torchvision', 'numpy', 'pillow', 'lightning-fabric')


def describe(run: Run) -> dict[str, Any]:
    """Returns the command, config digest, seed, versions, git commit, machine and data digest."""
    settings = {**run.experiment.to_config(), 'name': ''}
    settings['dataset'] = {**settings['dataset'], 'root': None}
    # plugin files are identified by content, not by path
    settings['plugins'] = [hashlib.sha256(Path(file).read_bytes()).hexdigest() for file in settings['plugins']]
    return {
        'command': sys.argv,
        'config': hashlib.sha256(config_text.dump(settings).encode()).hexdigest(),
        'seed': run.experiment.seed,
        'data': data_digest(run.samples),
        'plugin_code': code_digests(run.experiment.plugins),
        'versions': {'python': platform.python_version(), **_versions()},
        'git': commit(),
        'machine': {
            'system': platform.platform(),
            'processor': _processor(),
            'threads': torch.get_num_threads(),
            'device': torch.cuda.get_device_name(run.device) if run.device.type == 'cuda' else str(run.device),
        },
    }


def write(run: Run) -> None:
    """Writes run.json, or adds a record to it if the run is resumed. Only rank 0 writes."""
    if world()[0] > 0:
        return
    if run.resumed:
        note_resumed(run.work_dir, {**describe(run), 'init': run.init}, run.progress.step)
    else:
        _write(run.work_dir, {**describe(run), 'init': run.init})


def _write(folder: Path, content: dict[str, Any]) -> None:
    write_whole(folder / RECORD, as_json(content, indent=1) + '\n')


def note_resumed(folder: Path, content: dict[str, Any], step: int) -> None:
    """Adds a record to run.json that the run is resumed: step, command, versions, git commit and machine.

    The digests of the config and of the plugin files are replaced by those of the resumed run, which may train longer.

    Args:
        folder: the run folder.
        content: the provenance of the resumed run.
        step: the step it resumes from.
    """
    try:
        before = read_provenance(inside(folder, RECORD))
        if changed := changed_plugins(before, content['plugin_code']):
            names = ', '.join(changed)
            warn_once(f'{names} changed since the run was last started: it continues with the changed code')
    except VireidError:
        before = content
    about = {key: content[key] for key in ('command', 'versions', 'git', 'machine')}
    resumed = [*before.get('resumed', ()), {'step': step, **about}]
    latest = {key: content[key] for key in ('config', 'plugin_code')}
    _write(folder, {**before, **latest, 'resumed': resumed})


def data_digest(samples: Sequence[Sample]) -> str:
    """Returns a SHA-256 of the training images: their relative paths, identities, cameras, modalities and sizes."""
    if not samples:
        return ''
    common = os.path.commonpath([os.path.dirname(sample.path) for sample in samples])
    total = hashlib.sha256()
    for s in samples:
        try:
            size = os.path.getsize(s.path)
        except OSError:
            size = -1
        line = f'{os.path.relpath(s.path, common)} {s.identity} {s.camera} {s.modality} {size}\n'
        total.update(line.encode('utf-8', 'surrogateescape'))
    return total.hexdigest()


def _versions() -> dict[str, str]:
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:  # vireid is on the path but not installed
            versions[name] = '-'
    return versions


def _processor() -> str:
    try:
        lines = Path('/proc/cpuinfo').read_text(encoding='utf-8').splitlines()
        return next(line.partition(':')[2].strip() for line in lines if line.startswith('model name'))
    except (OSError, StopIteration):
        return platform.processor()
