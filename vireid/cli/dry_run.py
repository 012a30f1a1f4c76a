"""`--dry-run`: everything is built and one step is tried on random images, without the dataset."""

from __future__ import annotations

from typing import Any

import torch

from vireid.core.experiment import Experiment
from vireid.core.registry import component_type
from vireid.core.run import make_fabric
from vireid.core.signatures import check, raise_all
from vireid.core.types import MODALITIES, Batch, Progress

IDENTITIES = 100  # any number will do: nobody's data is read
PERSONS, PICTURES = 2, 2


def dry_run(experiment: Experiment) -> str:
    """Builds the model, makes one training step and one embedding, and returns a table of the graph.

    Raises:
        VireidError: for whatever would stop the real run before it reads data.
    """
    fabric = make_fabric(experiment)
    model: Any = experiment.build_model(IDENTITIES)
    step = experiment.build_step(model, fabric)
    supplied = {'dataset': (), 'sampler': ('samples', 'seed', 'rank', 'world_size')}
    for section, given in supplied.items():  # not built, since that reads data: their arguments are checked
        settings = dict(getattr(experiment, section))
        target = experiment.manager.components.get(f'{section}s', component_type(settings, section), where=section)
        settings.pop('type')
        raise_all(check(target, settings, supplied=given, where=section))
    for part in ('train', 'test'):
        experiment.build_transform(part)
    experiment.build_protocol()
    experiment.build_loggers()
    height, width = experiment.image_settings.size
    labels = torch.arange(PERSONS).repeat_interleave(PICTURES)
    batch = Batch(
        images={m: torch.randn(len(labels), 3, height, width) for m in MODALITIES},
        identities=dict.fromkeys(MODALITIES, labels),
        paths={m: ['random'] * len(labels) for m in MODALITIES},
    )
    model.train()
    record = step(fabric.to_device(batch), Progress(0, 0, 1, 1))
    model.eval()
    with torch.inference_mode():
        embedding = step.model.embed(batch.images[MODALITIES[0]].to(fabric.device), MODALITIES[0])
    lines = [f'{experiment.name}: {sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters, {IDENTITIES} '
             f'identities, {height}x{width}', '']  # fmt: skip
    rows = [('feature', 'made by', 'reads', 'what it is')]
    for name, spec in getattr(model, 'specs', {}).items():
        made_by = type(model.necks[name]).__name__ if name in model.necks else type(model.backbone).__name__
        rows.append(
            (name, made_by, ', '.join(model.inputs.get(name, ())), f'{spec.layout} {spec.kind} {spec.channels}')
        )
    for name, task in getattr(model, 'tasks', {}).items():
        losses = ' + '.join(
            type(loss).__name__ + (f' of {task.reads[key]}' if len(set(task.reads.values())) > 1 else '')
            for key, loss in task.losses.items()
        )
        rows.append((f'task {name}', type(task.head).__name__, ', '.join(model.head_inputs[name]), losses))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines += ['  '.join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines += ['', f'embedding: {", ".join(getattr(model, "embedding", ()))} -> {tuple(embedding.shape[1:])}']
    lines.append(f'one step on random images: loss {record["loss"]:.3f}')
    return '\n'.join(lines)
