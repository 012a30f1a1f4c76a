"""Describes the graph of a model as nodes and edges, for drawings."""

from __future__ import annotations

from typing import Any

from vireid.core.types import MODALITIES, FeatureSpec
from vireid.interfaces import Model


def is_graph(model: Any) -> bool:
    """Returns whether a model describes its wiring as `CrossModalModel` does: features, tasks and the embedding."""
    return all(hasattr(model, name) for name in ('specs', 'image_specs', 'necks', 'tasks', 'embedding', 'weighter'))


def describe_graph(model: Any) -> dict[str, Any]:
    """Returns the graph of a model that describes its wiring, as `CrossModalModel` does; else an empty graph.

    Returns:
        `nodes`: dicts with `id`, `kind` (`modality`, `backbone`, `feature`, `neck`, `head`, `loss` or `embedding`),
        `title` and `about`; `edges`: pairs of ids.
    """
    if not is_graph(model):
        return {'nodes': [], 'edges': []}
    modalities = list(Model.modalities(model) or MODALITIES)
    nodes = [_node(m, 'modality', m, 'images') for m in modalities]
    nodes.append(_node('backbone', 'backbone', type(model.backbone).__name__, 'backbone'))
    edges = [[m, 'backbone'] for m in modalities]
    for name, spec in {**images_read(model), **model.specs}.items():
        size = f' x {spec.size[0]} x {spec.size[1]}' if spec.size else ''
        copies = f', {spec.copies} rows per image' if spec.copies > 1 else ''
        about = f'{spec.layout} {spec.kind}, {spec.channels}{size}{copies}'
        if name not in model.specs:
            nodes.append(_node(f'f_{name}', 'feature', name, about))
            edges += [[m, f'f_{name}'] for m in modalities]
        elif name in model.necks:
            nodes.append(_node(f'f_{name}', 'neck', f'{name}: {type(model.necks[name]).__name__}', about))
            edges += [[f'f_{read}', f'f_{name}'] for read in model.inputs[name]]
        else:
            nodes.append(_node(f'f_{name}', 'feature', name, about))
            edges.append(['backbone', f'f_{name}'])
    for name, task in model.tasks.items():
        losses = ' + '.join(type(loss).__name__ for loss in task.losses.values())
        nodes.append(_node(f't_{name}', 'head', f'{name}: {type(task.head).__name__}', losses))
        edges += [[f'f_{read}', f't_{name}'] for read in model.head_inputs[name]]
        edges.append([f't_{name}', 'loss'])
    if len(model.tasks):
        nodes.append(_node('loss', 'loss', type(model.weighter).__name__, 'total loss'))
    nodes.append(_node('embedding', 'embedding', 'embedding', f'{model.embedding_dim} values'))
    edges += [[f'{"t" if name in model.tasks else "f"}_{name}', 'embedding'] for name in model.embedding]
    return {'nodes': nodes, 'edges': edges}


def images_read(model: Any) -> dict[str, FeatureSpec]:
    """Returns the specs of the images and maps of translators that necks and heads of a model read."""
    read = {name for reads in (*model.inputs.values(), *model.head_inputs.values()) for name in reads}
    return {name: spec for name, spec in model.image_specs.items() if name in read}


def _node(name: str, kind: str, title: str, about: str) -> dict[str, str]:
    return {'id': name, 'kind': kind, 'title': title, 'about': about}
