"""Contract checks for models and steps."""

from __future__ import annotations

import io
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment
from torch import Tensor, nn

from vireid.core.registry.contracts import require_embedding, require_record
from vireid.core.types import MODALITIES, Batch, Modality, Progress
from vireid.plugins.models.returns import require_tasks
from vireid.testing.networks import CONTEXT, COUNT, PERSONS, PICTURES, SIZE
from vireid.testing.promises import Builder, check_network, check_repeatable, require


def _batch() -> Batch:
    torch.manual_seed(1)
    labels = torch.arange(PERSONS).repeat_interleave(PICTURES)
    return Batch(
        images={m: torch.rand(COUNT, 3, *SIZE) for m in MODALITIES},  # descriptors of pixels need 0 to 1
        identities=dict.fromkeys(MODALITIES, labels),
        cameras=dict.fromkeys(MODALITIES, torch.ones(COUNT, dtype=torch.int64)),
        paths={m: [f'{m}/{number}' for number in range(COUNT)] for m in MODALITIES},
    )


def _check_model(build: Builder) -> None:
    def make() -> Any:
        return build(**CONTEXT, across_ranks=False)

    def run(model: Any) -> Any:
        return model(batch) if model.training else {m: model.embed(batch.images[m], m) for m in MODALITIES}

    batch, model = _batch(), make()
    if any(p.requires_grad for p in model.parameters()):
        require_tasks(check_network(model, run, make), model)
    else:
        check_repeatable(model, run, make)  # nothing to train: it is evaluated as it is
    with torch.no_grad():
        embeddings = {m: model.eval().embed(batch.images[m], m) for m in MODALITIES}
    for embedding in embeddings.values():
        require_embedding(embedding, COUNT, model)
    lengths = {m: embedding.shape[1] for m, embedding in embeddings.items()}
    require(len(set(lengths.values())) == 1, f'its embeddings have lengths {lengths}')


class _Sum(nn.Module):
    def forward(self, tasks: dict[str, Tensor], progress: Progress) -> tuple[Tensor, dict[str, Tensor]]:
        return torch.stack(list(tasks.values())).sum(), {name: loss.new_ones(()) for name, loss in tasks.items()}


class _Classifier(nn.Module):
    """The smallest model that a step accepts: one layer with one task."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.weighter = nn.Linear(3, PERSONS), _Sum()

    def embed(self, images: Tensor, modality: Modality) -> Tensor:
        return images.mean((2, 3))  # (B, 3)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        logits = torch.cat([self.layer(self.embed(batch.images[m], m)) for m in batch.images])
        return {'id': nn.functional.cross_entropy(logits, torch.cat(list(batch.identities.values())))}


def _check_step(build: Builder) -> None:
    fabric = Fabric(accelerator='cpu', devices=1, plugins=LightningEnvironment())

    def make() -> tuple[Any, _Classifier]:
        model = _Classifier()
        return build(model=model, fabric=fabric, components=build.manager.components), model

    batch = _batch()
    step, model = make()
    before = model.layer.weight.detach().clone()
    for number in range(2):
        require_record(step(batch, Progress(0, number, 5, 10)), build.config['type'])
    require(not torch.equal(before, model.layer.weight), 'two steps do not change the weights of the model')
    file = io.BytesIO()
    torch.save(step.state_dict(), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)  # a checkpoint contains only tensors and plain values
    other, twin = make()
    twin.load_state_dict(model.state_dict())
    other.load_state_dict(state)
    for own in (step, other):
        own(batch, Progress(0, 2, 5, 10))
    require(torch.equal(model.layer.weight, twin.layer.weight), 'after load_state_dict it continues differently')


CHECKS = {'models': _check_model, 'steps': _check_step}
