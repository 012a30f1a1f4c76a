"""Publishes finished runs: a release with a model card, metrics with intervals, and checksums, but without people.

A release names no person, file or machine. It holds what is listed here, not what a checkpoint happens to contain.
"""

from __future__ import annotations

import builtins
import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

from vireid.boundary import checkpoint
from vireid.boundary.reading import open_regular, read_text
from vireid.boundary.showing import as_json
from vireid.boundary.writing import write_whole
from vireid.core.config.experiment import Experiment
from vireid.core.config.same_run import changes, named, read_sections
from vireid.core.scoring.results import QUERIES
from vireid.core.types import MODALITIES
from vireid.errors import (
    AlreadyExists,
    Changed,
    Mismatch,
    MissingFile,
    MissingKey,
    UnsupportedFile,
    WrongContent,
    WrongValue,
)
from vireid.exchange.models import load, load_weights
from vireid.exchange.public_config import public_config
from vireid.exchange.publish_card import measured_rows, not_measured, release_card
from vireid.exchange.publish_record import BLOCK, LICENSE, RECORD, SUMS, digest_of
from vireid.exchange.release import atomic_folder, plugin_files, write_release
from vireid.launch.preflight import on_meta
from vireid.launch.weights import require_whole
from vireid.reporting.record import RunRecord

# published datasets; any other data are private images
SYNTHETIC = 'synthetic people, '  # how the name of such data begins
PUBLISHED = ('SYSU-MM01', 'RegDB', 'LLCM')


def publish(
    runs: Mapping[int, RunRecord],
    out: Path,
    license: str,
    permission: str = '',
    plugins: Sequence[Path] = (),
    log: Callable[[str], None] = print,
) -> list[Path]:
    """Writes a release of a config: the weights of its lowest seed, and the metrics of all of its runs.

    Args:
        runs: finished runs of one config, by seed, with the metrics of their queries.
        out: the folder; it must be new or empty.
        license: SPDX identifier of the license of the weights.
        permission: who agreed that weights trained on these people are published; required unless they are synthetic.
        plugins: plugin files that may be copied.
        log: called with a line for each thing that is left out or copied.

    Returns:
        The files written.

    Raises:
        VireidError: if a run is damaged, the runs differ, permission is missing, `out` has files, or the release would
            name a person or a path.
    """
    license = _spdx(license)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise AlreadyExists(f'{out} exists', todo='choose another folder; a release is written once')
    run = runs[min(runs)]
    source = _checkpoint(run)
    content = checkpoint.load(source)
    require_whole(content, source)
    _require_one_experiment(list(runs.values()))
    _require_match(run, content, source)
    config, removed = public_config(content['config'], own=run.about.get('data') not in PUBLISHED)
    initialized = bool((run.provenance.get('init') or {}).get('file')) or any('weights' in key for key in removed)
    data, permission = str(run.about.get('data', '')), permission.strip()
    if not permission and (initialized or not data.startswith(SYNTHETIC)):
        _ask_permission(data)
    files = plugin_files(source, content['config'].get('plugins', ()), plugins)
    texts = [*_texts(config), ('--permission', permission), *((file.name, read_text(file)) for file in files)]
    _require_no_person(texts, content.get('identities', ()))
    for line in [*(f'left out: {key}' for key in removed), *(f'copying {file}' for file in files)]:
        log(line)
    model: Any = load(source, plugins)
    weights = without_identities(model.experiment, content)
    record = {
        'format': 1,
        'name': str(config.get('name', 'model')),
        'license': license,
        'permission': permission,
        'data': data,
        'split': str(run.about.get('split') or ''),
        'protocol': run.protocol,
        'select': str(run.about.get('select') or ''),
        'identities': content['num_identities'],
        'steps': content['progress']['step'],
        'seeds': sorted(runs),
        'initialized': initialized,
        'weights': checkpoint.digest(weights),
        'versions': dict(content.get('versions', {})),
        'rows': measured_rows([runs[seed] for seed in sorted(runs)]),
    }
    record['not_measured'] = not_measured(record, content)
    released = {**content, 'model': weights, 'config': config}
    card = release_card(record, released, content['config'], record['weights'])
    with atomic_folder(out) as folder:
        write_release(folder, released, config, card, files)
        write_whole(folder / RECORD, as_json(record, indent=1) + '\n')
        _require_same_embeddings(source, folder, plugins)
        _require_no_path(folder, [str(content['config']['dataset'].get('root') or ''), str(run.folder.absolute())])
        names = sorted(path.name for path in folder.iterdir())
        write_whole(folder / SUMS, ''.join(f'{digest_of(folder / name)}  {name}\n' for name in names))
    return [out / name for name in [*names, SUMS]]


def without_identities(experiment: Experiment, content: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Returns the weights of a checkpoint, with zeros where their size depends on the number of training identities.

    A classifier has a vector per identity, which is a template of that person.
    """
    count = content['num_identities']
    shapes = [
        {name: tensor.shape for name, tensor in on_meta(build).state_dict().items()}
        for build in (functools.partial(experiment.build_model, n, False) for n in (count, count + 1))
    ]
    return {
        name: torch.zeros_like(tensor) if shapes[0].get(name) != shapes[1].get(name) else tensor
        for name, tensor in content['model'].items()
    }


def _checkpoint(run: RunRecord) -> Path:
    select = (run.config.get('evaluation') or {}).get('select', 'last')
    path = run.folder / 'checkpoints' / f'{"last" if select == "last" else "best"}.pt'
    if not path.is_file():
        raise MissingFile(f'{run.folder} has no {path.name}', allowed='folders that `vireid train` wrote')
    return path


def _require_one_experiment(runs: Sequence[RunRecord]) -> None:
    """Raises if runs of one config were measured on different data or in another way."""
    for run in runs:
        if not run.checked:
            raise MissingFile(
                f'{run.folder} has no {QUERIES}', todo='publish the whole folder that `vireid train` wrote'
            )

    def of(run: RunRecord) -> dict[str, Any]:
        result = run.result or {}
        about = {key: result.get(key) for key in ('data', 'protocol', 'split', 'select', 'steps')}
        return about | {'training images': run.provenance.get('data'), 'rows': [row['name'] for row in run.rows]}

    for run in runs[1:]:
        differ = [key for key, value in of(run).items() if value != of(runs[0])[key]]
        if differ:
            raise Mismatch(
                f'{runs[0].folder} and {run.folder} differ in {", ".join(differ)}',
                allowed='runs of one config on the same images, which differ only in their seed',
            )


def _require_match(run: RunRecord, content: Mapping[str, Any], source: Path) -> None:
    """Raises if the weights are not those that the result of a run is about."""
    if content.get('adapted'):
        raise Changed(
            f'{source} was adapted to other cameras after it was measured', todo='undo it: vireid adapt --revert'
        )
    ours, theirs = (read_sections(config, source) for config in (run.config, content['config']))
    differ = changes(ours, theirs)
    steps = (run.result or {}).get('steps')
    if not differ and source.name == 'last.pt' and content['progress']['step'] != steps:
        given = f'{source} is at step {content["progress"]["step"]:,}, but the result is of step {steps}'
        raise Mismatch(given, todo='restore the folder of the run')
    if differ:
        raise Mismatch(f'{source} belongs to another run: {named(differ)} differ', todo='restore the folder of the run')


def _spdx(license: str) -> str:
    """Returns the identifier of a license as SPDX spells it."""
    try:
        known = canonicalize_license_expression(license)
    except InvalidLicenseExpression:
        known = None
    if known is None or not LICENSE.fullmatch(known):  # nor an expression such as `MIT OR Apache-2.0`
        raise WrongValue(
            f'--weights-license is {license!r}',
            allowed='an SPDX identifier such as CC-BY-NC-4.0, or LicenseRef-NAME for terms of your own',
        )
    return known


def _ask_permission(data: str) -> None:
    whose = 'your own images: their people must have agreed'
    if data in PUBLISHED:
        whose = f'{data}: its license, or its authors, must allow it'
    elif data.startswith(SYNTHETIC):
        whose = 'weights of a file, which are not described here: the people in their images must have agreed'
    raise MissingKey(
        f'these weights were trained on {whose}',
        allowed="--permission 'who agreed that weights trained on these people are published, and when'",
        todo='ask first; the card will state it',
    )


def _texts(value: Any, key: str = '') -> Iterator[tuple[str, str]]:
    """Yields the texts of a config that a user may have chosen, each with its key; and the keys themselves."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            path = f'{key}.{name}' if key else str(name)
            yield path, str(name)
            if name != 'type':  # of a component
                yield from _texts(item, path)
    elif isinstance(value, (list, tuple)):
        for number, item in enumerate(value):
            yield from _texts(item, f'{key}.{number}')
    elif isinstance(value, str):
        yield key, value


def _require_no_person(texts: Iterable[tuple[str, str]], identities: Sequence[str]) -> None:
    """Raises if a text contains the name of a person as a word; Ann is found in `ann_and_ben`."""
    people = [name for name in identities if not name.isdecimal() and name not in dir(builtins)]  # max is a function
    if not people:
        return
    word = re.compile(rf'(?<![^\W_])({"|".join(map(re.escape, people))})(?![^\W_])')
    free = re.compile(word.pattern, re.IGNORECASE)
    for key, text in texts:
        # settings have values such as max, which is not Max
        if match := (free if key in ('name', '--permission') else word).search(text):
            raise WrongValue(
                f'{key} contains {match[0]!r}, the name of an identity in the training data',
                todo='a release must not name people: choose other words, or train with other identity names',
            )


def _require_no_path(folder: Path, paths: Sequence[str]) -> None:
    """Raises if a file of a release contains a path of this machine."""
    # the name of a folder alone, such as `people`, is a word
    secrets = {path for path in [*paths, str(Path.home())] if len(path) > 4 and len(Path(path).parts) > 1}
    for file in folder.iterdir():
        for path in secrets:
            if _contains(file, path.encode('utf-8', 'surrogateescape')):
                raise WrongContent(f'{file.name} would contain {path}', todo='remove it from the config or the plugin')


def _contains(path: Path, text: bytes) -> bool:
    with open_regular(path) as file:
        before = b''
        while block := file.read(BLOCK):
            if text in before + block:
                return True
            before = block[-len(text) :]
    return False


def _require_same_embeddings(source: Path, folder: Path, plugins: Sequence[Path]) -> None:
    """Raises unless the release gives the embeddings of the checkpoint."""
    models: list[Any] = [load(source, plugins), load_weights(folder, plugins)]
    images = torch.rand((2, 3, *models[0].experiment.images.size), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        same = all(torch.equal(*(model.embed(images, modality) for model in models)) for modality in MODALITIES)
    if not same:
        raise UnsupportedFile(
            f'without the vectors of its training identities, {source} computes different embeddings',
            allowed='models that do not compare images with training identities',
        )
