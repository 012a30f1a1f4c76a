"""`--dry-run`: builds everything and tries one step and one evaluation on random images, on the CPU."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch

from vireid.boundary.tracebacks import raised_at
from vireid.console.wording import counted
from vireid.core.config.experiment import Experiment
from vireid.core.data.image_set import ImageSet, collate
from vireid.core.registry.contracts import located, require_record
from vireid.core.scoring.embedding import all_samples, embed_samples, score_trials
from vireid.core.scoring.embeddings import Embeddings
from vireid.core.types import Progress, Sample
from vireid.diagnostics.wiring import mermaid, wiring_table
from vireid.errors import VireidError, raise_all
from vireid.interfaces import Model, Similarity, Step
from vireid.launch import precision
from vireid.launch.cost import CostEstimate, cost_lines
from vireid.launch.fabric import make_fabric
from vireid.launch.generated_people import IDENTITIES, GeneratedDataset, part_of_a_batch
from vireid.launch.preflight import missing_init, preflight
from vireid.launch.work import Counter, Work, bytes_of, spans_of
from vireid.reporting.graph import is_graph

FITTED_IDENTITIES = 3


def dry_run(experiment: Experiment, graph: bool = False) -> str:
    """Builds everything but the dataset, tries one training step and one evaluation, and returns a report.

    Args:
        experiment: the experiment to try.
        graph: also return the graph as Mermaid text.

    Raises:
        VireidError: with every problem that would stop the real run before it reads data.
    """
    asked, (experiment, notes) = experiment, _on_cpu(experiment)
    raise_all(missing_init(experiment.training.init))
    if experiment.stages:
        notes.append(f'earlier stages, which are not tried here: {", ".join(experiment.stages)}')
    if experiment.refit is not None:
        notes.append('refit: the run trains twice, the second time on more people; time and memory are those of one')
    if init := experiment.training.init:
        notes.append(f'the run is initialized from {init}, which is not tried here')
    fabric = make_fabric(experiment.training)
    preflight(experiment, trains=False)
    model: Any = experiment.build_model(IDENTITIES, pretrained=False)
    trains = any(parameter.requires_grad for parameter in model.parameters())
    step = experiment.build_step(model, fabric) if trains else None
    height, width = experiment.images.size
    dataset = GeneratedDataset.of(experiment)
    with _attributed('the first batch', model):
        batch, full = part_of_a_batch(experiment, dataset)
    model.train()
    tried = sum(map(len, batch.images.values()))
    turns: list[dict[str, Any]] = []
    counts: list[tuple[float, Counter]] = []
    count = max(1, len(Step.order(step)))
    # each turn of the optimizers, again in each epoch from which other parts of the model are used
    spans = spans_of(model, experiment.training.epochs)
    for (epoch, share), number in itertools.product(spans, range(count if step else 0)):
        with _attributed('one training step', model), Counter(model) as counter:
            progress = Progress(epoch, epoch * count + number, count, (epoch + 1) * count)
            turns.append(step(fabric.to_device(batch), progress))  # type: ignore[misc]
        require_record(turns[-1], experiment.step['type'])
        counts.append((share / count, counter))
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
    with _attributed('one evaluation', model), Counter(model) as counter:
        embeddings, trials = _evaluate(experiment, dataset, model, few)
    flops = counter.operations / len(embeddings.features) / (1 if embeddings.flipped is None else 2)
    total, frozen = (
        sum(p.numel() for p in model.parameters() if held or not p.requires_grad) for held in (True, False)
    )
    fixed = f' ({frozen / 1e6:.2f} M of them frozen)' if experiment.training.freeze else ''
    lines = [f'{experiment.name}: {total / 1e6:.2f} M parameters{fixed}, {IDENTITIES} identities, {height}x{width}', '']
    graph_of = model if is_graph(model) else None  # other models do not describe their wiring
    parts = ', '.join(graph_of.embedding) if graph_of else type(model).__name__
    lines += [*(wiring_table(graph_of) if graph_of else [f'model      {type(model).__name__}']), '']
    lines.append(f'embedding: {parts} -> {embeddings.features.shape[1]}')
    memory = _memory(model, step)
    work = Work.of(counts, tried, full if step else 0, sum(memory.values()), flops)
    lines.append(
        f'compute:   {flops / 1e9:.2f} GFLOPs to embed an image'
        + (f', {(work.convolutions + work.products) / 1e9:.2f} per training image' if step else '')
        + ' (a multiplication and an addition are two operations)'
    )
    memory['weights'] += work.weights - sum(memory.values())  # copies in 16 bits
    every = memory | {'activations': work.images * work.activations}
    lines.append(
        f'memory:    at least {work.memory / 1e9:.2f} GB for a step of {full} images ('
        + ', '.join(f'{name} {size / 1e9:.2f}' for name, size in every.items())
        + ')'
    )
    lines += _price(asked, work)
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
        todo = 'check images.size and the arguments of the component that the line belongs to'
        if isinstance(error, TypeError):
            todo = (
                'fix the call or the signature; docs/plugins.md and docs/plugin-kinds.md state what each kind of '
                'component receives'
            )
        raise VireidError(
            f'{what} on random images failed: {type(error).__name__}: {error} ({raised_at(error)})'
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


def _price(experiment: Experiment, work: Work) -> list[str]:
    """Returns the estimated price of the run, or why there is none."""
    try:
        first, *rest = cost_lines(CostEstimate(experiment, work))
        return [f'cost:      {first}', *(f'           {line}' for line in rest)]
    except VireidError as error:
        return [f'cost:      unknown: {error.given}' + (f'; {error.todo}' if error.todo else '')]


def _memory(model: Any, step: Any) -> dict[str, int]:
    """Returns the bytes of everything that does not depend on the batch."""
    return {
        'weights': bytes_of([*model.parameters(), *model.buffers()]),
        'gradients': bytes_of([p for p in model.parameters() if p.requires_grad]),
        'optimizer': bytes_of(step.state_dict()) if step else 0,
    }
