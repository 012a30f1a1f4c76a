"""`--dry-run`: builds everything and tries one step and one evaluation on random images, on the CPU."""

from __future__ import annotations

import itertools
import math
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from vireid.core.config.experiment import Experiment
from vireid.core.data.image_set import ImageSet, collate
from vireid.core.errors import VireidError, raise_all
from vireid.core.registry.components import component_type
from vireid.core.registry.contracts import located, require_record
from vireid.core.scoring.embedding import all_samples, embed_samples, score_trials
from vireid.core.scoring.embeddings import Embeddings
from vireid.core.types import INFRARED, MODALITIES, VISIBLE, Batch, Progress, Sample
from vireid.core.wording import counted
from vireid.diagnostics.wiring import is_graph, mermaid, wiring_table
from vireid.interfaces import Dataset, Model, Similarity, Step
from vireid.launch import precision
from vireid.launch.fabric import make_fabric
from vireid.launch.preflight import missing_init, preflight

IDENTITIES = 100  # an arbitrary number, since no data is read
TEST_IDENTITIES, FITTED_IDENTITIES = 2, 3  # with one identity, every ranking would be correct
STEP_IDENTITIES, STEP_PICTURES = 2, 2  # the part of a batch to try, per modality; losses compare pairs


class GeneratedDataset:
    """Synthetic identities before the cameras of a dataset; `read` generates their images.

    Args:
        cameras: camera numbers by modality.
        size: (height, width) of the images.
    """

    def __init__(self, cameras: Mapping[str, Sequence[int]], size: tuple[int, int]) -> None:
        self.cameras, self.size = cameras, size

    def split(self, name: str) -> list[Sample]:
        """Returns one image (two in training) per identity and camera; `train` and `test` have no common identity."""
        first, count = (1, IDENTITIES) if name == 'train' else (IDENTITIES + 1, TEST_IDENTITIES)
        return [
            Sample(f'random/{identity}/{modality}/{camera}/{number}', identity, camera, modality)
            for modality in MODALITIES
            for identity in range(first, first + count)
            for camera in self.cameras[modality]
            for number in range(2 if name == 'train' else 1)
        ]

    def read(self, path: str) -> Tensor:
        """Returns a (3, H, W) uint8 image."""
        return torch.randint(0, 256, (3, *self.size), dtype=torch.uint8)


def dry_run(experiment: Experiment, graph: bool = False) -> str:
    """Builds everything but the dataset, tries one training step and one evaluation, and returns a report.

    Args:
        experiment: the experiment to try.
        graph: also return the graph as Mermaid text.

    Raises:
        VireidError: with every problem that would stop the real run before it reads data.
    """
    experiment, notes = _on_cpu(experiment)
    raise_all(missing_init(experiment.training))
    if experiment.stages:
        notes.append(f'earlier stages, which are not tried here: {", ".join(experiment.stages)}')
    if init := experiment.training.init:
        notes.append(f'the run is initialized from {init}, which is not tried here')
    fabric = make_fabric(experiment.training)
    preflight(experiment, trains=False)
    model: Any = experiment.build_model(IDENTITIES, pretrained=False)
    trains = any(parameter.requires_grad for parameter in model.parameters())
    step = experiment.build_step(model, fabric) if trains else None
    config = experiment.dataset
    target: Any = experiment.manager.components.get('datasets', component_type(config, 'dataset'), where='dataset')
    height, width = experiment.images.size
    cameras = Dataset.cameras(target)
    if not isinstance(cameras, Mapping) or not all(cameras.get(m) for m in MODALITIES):
        cameras = {VISIBLE: (1, 2), INFRARED: (1, 2)}  # the dataset does not declare them
    dataset = GeneratedDataset(cameras, (height + 16, width + 8))
    with _attributed('the first batch', model):
        batch, full = _batch(experiment, dataset)
    model.train()
    tried = sum(map(len, batch.images.values()))
    turns: list[dict[str, Any]] = []
    training_flops = activations = 0.0
    count = max(1, len(Step.order(step)))
    # each turn of the optimizers, again in each epoch from which other parts of the model are used
    for epoch, number in itertools.product([0, *Model.changes(model)], range(count if step else 0)):
        with (
            _attributed('one training step', model),
            FlopCounterMode(display=False) as counter,
            _SavedBytes(model) as saved,
        ):
            progress = Progress(epoch, epoch * count + number, count, (epoch + 1) * count)
            turns.append(step(fabric.to_device(batch), progress))  # type: ignore[misc]
        require_record(turns[-1], experiment.step['type'])
        training_flops = max(training_flops, counter.get_total_flops() / tried)
        activations = max(activations, saved.total * full / tried)
    for record in turns:
        if not math.isfinite(record['loss']):
            tasks = [name for name, value in record.get('tasks', {}).items() if not math.isfinite(value)]
            half = (
                '' if experiment.training.precision == precision.FLOAT32 else '; random images can cause this in bf16'
            )
            of = f' (from {", ".join(tasks)})' if tasks else ''
            notes.append(f'the loss is {record["loss"]}{of}{half}; with real images this would stop the run')
            break
    model.eval()
    with _attributed('one evaluation', model):
        few = _fit(experiment, dataset, model)
    with _attributed('one evaluation', model), FlopCounterMode(display=False) as counter:
        embeddings, trials = _evaluate(experiment, dataset, model, few)
    flops = counter.get_total_flops() / len(embeddings.features) / (1 if embeddings.flipped is None else 2)
    total, frozen = (
        sum(p.numel() for p in model.parameters() if held or not p.requires_grad) for held in (True, False)
    )
    fixed = f' ({frozen / 1e6:.2f} M of them frozen)' if experiment.training.freeze else ''
    lines = [f'{experiment.name}: {total / 1e6:.2f} M parameters{fixed}, {IDENTITIES} identities, {height}x{width}', '']
    graph_of = model if is_graph(model) else None  # other models do not describe their wiring
    parts = ', '.join(graph_of.embedding) if graph_of else type(model).__name__
    lines += [*(wiring_table(graph_of) if graph_of else [f'model      {type(model).__name__}']), '']
    lines.append(f'embedding: {parts} -> {embeddings.features.shape[1]}')
    lines.append(
        f'compute:   {flops / 1e9:.2f} GFLOPs to embed an image'
        + (f', {training_flops / 1e9:.2f} per training image' if step else '')
        + ' (a multiplication and an addition are two operations)'
    )
    lines.append(f'memory:    {_memory(model, step, activations, full)}')
    lines += [f'note:      {note}' for note in notes]
    losses = ', then '.join(f'{record["loss"]:.3f}' for record in turns)
    outcome = f'loss {losses}' if turns else 'none, there is nothing to train'
    lines.append(f'one step on random images: {outcome}')
    lines.append(f'one evaluation of random images: {trials}')
    return '\n'.join([*lines, '', *mermaid(graph_of)] if graph and graph_of else lines)


@contextmanager
def _attributed(what: str, model: Any) -> Iterator[None]:
    """Turns any exception of a component into a config error that names the component's place."""
    try:
        with located(model):
            yield
    except (VireidError, OSError):
        raise
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        todo = 'check images.size and the arguments of the component that the line belongs to'
        if isinstance(error, TypeError):
            todo = 'fix the call or the signature; docs/plugins.md states what each kind of component receives'
        raise VireidError(
            f'{what} on random images failed: {type(error).__name__}: {error} ({frame.filename}, line {frame.lineno})'
            + ''.join(f'; {note}' for note in getattr(error, '__notes__', ())),
            todo=todo,
        ) from error


def _on_cpu(experiment: Experiment) -> tuple[Experiment, list[str]]:
    """Returns the experiment changed to run without a GPU and without an image cache, and notes about it."""
    notes = []
    asked = experiment.training.precision
    tried = precision.FLOAT32
    if asked != '16-mixed' and precision.native_bf16('cpu')[0]:
        tried = precision.choose(replace(experiment.training, accelerator='cpu')).name
    if asked not in (tried, precision.AUTO):
        notes.append(f'tried in {tried}, on the CPU; the run itself uses {asked}')
    here = {'accelerator': 'cpu', 'devices': 1, 'nodes': 1, 'strategy': 'auto', 'precision': tried}
    return experiment.with_overrides({f'training.{k}': v for k, v in here.items()} | {'images.reader': None}), notes


def _batch(experiment: Experiment, dataset: GeneratedDataset) -> tuple[Batch, int]:
    """Returns a part of the first batch, and the number of images in all of it."""
    samples = dataset.split('train')
    sampler = experiment.build_sampler(samples)
    chosen = next(iter(sampler.batches(0)))
    kept: dict[tuple[int, str], list[int]] = {}
    for index in chosen:
        kept.setdefault((samples[index].identity, samples[index].modality), []).append(index)
    used = [own.get('identities') or 0 for own in experiment.step.get('optimizers', {}).values()]
    identities = list(dict.fromkeys(identity for identity, _ in kept))[: max(STEP_IDENTITIES, *used, 0)]
    indices = [i for (identity, _), shots in kept.items() if identity in identities for i in shots[:STEP_PICTURES]]
    labels = {identity: identity - 1 for identity in range(1, IDENTITIES + 1)}
    transform, views = experiment.build_transform('train'), experiment.build_views()
    data = ImageSet(samples, transform, labels, experiment.seed, dataset.read, views=views)
    batch = collate(data.__getitems__(indices))
    if isinstance(batch, VireidError):
        raise batch
    seen_again = [of for of, _ in views.values()]
    return batch, sum(1 + seen_again.count(samples[index].modality) for index in chosen)


def _fit(experiment: Experiment, dataset: GeneratedDataset, model: Any) -> list[Sample]:
    """Fits the parts of the model that need it on a few training images, and returns these images."""
    few = [s for s in dataset.split('train') if s.identity <= FITTED_IDENTITIES]
    if fit := Model.fit(model):
        data = ImageSet(few, experiment.build_transform('test'), read=dataset.read)
        with torch.no_grad():
            fit([collate([data[index]]) for index in range(len(few))])
    return few


def _evaluate(
    experiment: Experiment, dataset: GeneratedDataset, model: Any, few: Sequence[Sample]
) -> tuple[Embeddings, str]:
    """Scores the model with the protocol; returns the embeddings and what was scored, without the metrics."""
    protocol = experiment.build_protocol()
    trials = protocol.trials(dataset)
    settings = experiment.evaluation
    transform = experiment.build_transform('test')
    embeddings = embed_samples(
        model,
        all_samples(trials),
        transform,
        batch_size=settings.batch_size,
        workers=0,
        flip=settings.flip,
        read=dataset.read,
    )
    similarity: Any = experiment.build_similarity(model)
    if fit := Similarity.fit(similarity):
        fit(embed_samples(model, few, transform, workers=0, read=dataset.read))
    reranker = experiment.build_reranker()
    results = score_trials(embeddings, protocol.name, trials, similarity=similarity, reranker=reranker)
    rows = list(dict.fromkeys(trial.name for trial in trials))
    return embeddings, f'{results.protocol}, {counted(len(trials), "trial")} of {", ".join(rows)}'


class _SavedBytes:
    """Counts the bytes that a step saves for its backward pass: the activations, each storage once, without weights."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.total = 0
        self._seen = {p.untyped_storage().data_ptr() for p in [*model.parameters(), *model.buffers()]}
        self._hooks = saved_tensors_hooks(self._pack, lambda tensor: tensor)

    def _pack(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._seen:
            self._seen.add(storage.data_ptr())
            self.total += storage.nbytes()
        return tensor

    def __enter__(self) -> _SavedBytes:
        self._hooks.__enter__()
        return self

    def __exit__(self, *reason: Any) -> None:
        self._hooks.__exit__(*reason)


def _memory(model: Any, step: Any, activations: float, batch: int) -> str:
    weights = sum(t.numel() * t.element_size() for t in [*model.parameters(), *model.buffers()])
    gradients = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    kept = step.state_dict() if step else {}
    state = sum(t.numel() * t.element_size() for t in _tensors(kept))
    parts = {'weights': weights, 'gradients': gradients, 'optimizer': state, 'activations': activations}
    total = sum(parts.values())
    return (
        f'at least {total / 1e9:.2f} GB for a step of {batch} images ('
        + ', '.join(f'{name} {size / 1e9:.2f}' for name, size in parts.items())
        + ')'
    )


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (dict, list, tuple)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _tensors(item)
