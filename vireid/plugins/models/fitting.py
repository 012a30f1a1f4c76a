"""Necks fitted in closed form to the features of all training images before the model is evaluated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from vireid.core.types import Batch, Context, Modality, joint_order
from vireid.errors import Mismatch
from vireid.plugins.models.graph import Graph


def training_necks(model: Any, graph: Graph) -> tuple[str, ...]:
    """Returns the necks that training runs: those that neither are fitted nor depend on a fitted one.

    A head that reads a fitted neck is added to the graph's problems.
    """
    fitted = set(model.fitted_necks)
    for name in graph.necks:  # in execution order
        if fitted & set(model.inputs.get(name, ())):
            fitted.add(name)
    for name, reads in model.head_inputs.items():
        for read in sorted(fitted & set(reads)):
            path = f'{graph.where}.heads.{name}'
            given = f'{path} reads {read!r}, which is fitted before scoring and not run in training'
            graph.problems.append(Mismatch(given, todo='connect the head to the input of the fitted neck', path=path))
    return tuple(name for name in model.necks if name not in fitted)


@torch.no_grad()
def fit_necks(model: Any, names: Sequence[str], batches: Iterable[Batch]) -> None:
    """Fits necks of the embedding, one after the other, to the features of all images.

    Args:
        model: the model that owns the necks.
        names: the necks to fit.
        batches: the images, with identities and cameras. They are read once, and the necks' inputs are kept in memory.
    """
    order = model.embedding_necks
    first = min(order.index(name) for name in names)
    later = order[first : 1 + max(order.index(name) for name in names)]
    needed = {read for name in later for read in model.inputs[name]} - set(later)
    rows: dict[Modality, list[tuple[Tensor, Tensor, dict[str, Any]]]] = {}
    for batch in batches:
        for modality, images in batch.images.items():
            features = model.features({modality: images}, order[:first])
            read = {name: features[name] for name in needed}
            rows.setdefault(modality, []).append((batch.identities[modality], batch.cameras[modality], read))
    every = [row for modality in joint_order(rows) for row in rows[modality]]
    counts = {m: sum(len(row[0]) for row in rows[m]) for m in joint_order(rows)}
    context = Context(counts, torch.cat([row[0] for row in every]), torch.cat([row[1] for row in every]))
    kept: dict[str, Any] = {name: _joined([row[2][name] for row in every]) for name in needed}
    for name in later:
        neck, inputs = model.necks[name], [kept[read] for read in model.inputs[name]]
        if name in names:
            cast(Any, neck).fit(*inputs, context=context.copied(model.copies_read[name]))
        kept[name] = neck(*inputs, context=context.copied(model.copies_read[name]))


def _joined(parts: Sequence[Any]) -> Any:
    """Concatenates a feature over batches; a paired one by modality."""
    if not isinstance(parts[0], Mapping):
        return torch.cat(list(parts))
    return {m: torch.cat([part[m] for part in parts if m in part]) for m in {m: None for part in parts for m in part}}
