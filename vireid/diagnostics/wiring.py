"""Shows the graph of named features of a model, as a table and as a Mermaid flowchart."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from vireid.boundary.showing import mermaid as label
from vireid.console.wording import aligned
from vireid.core.types import MODALITIES
from vireid.interfaces import Model
from vireid.reporting.graph import describe_graph, images_read

# keywords of Mermaid
RESERVED = (
    'end', 'click', 'style', 'class', 'classDef', 'linkStyle', 'subgraph', 'direction', 'graph', 'flowchart', 'default',
    'call', 'href', 'title', 'accTitle', 'accDescr',
)  # fmt: skip


def wiring_table(model: Any) -> list[str]:
    """Returns the wiring as a table, with a line for each feature and each task."""
    rows = [('feature', 'component', 'inputs', 'output')]
    modalities = list(MODALITIES)
    for name, translator in Model.translators(model).items():
        channels = ', '.join(f'{m} {count}' for m, count in translator.modalities.items())
        rows.append((name, type(translator).__name__, ', '.join(modalities), f'images with channels: {channels}'))
        modalities = list(translator.modalities)
    seen = list(Model.modalities(model) or modalities)
    for name, spec in {**images_read(model), **model.specs}.items():
        size = f' {spec.size[0]}x{spec.size[1]}' if spec.size else ''
        copies = f', {spec.copies} rows per image' if spec.copies > 1 else ''
        reads, maker = ', '.join(model.inputs.get(name, seen)), _maker(model, name) if name in model.specs else 'input'
        rows.append((name, maker, reads, f'{spec.layout} {spec.kind} {spec.channels}{size}{copies}'))
    for name, task in model.tasks.items():
        losses = ' + '.join(
            type(loss).__name__
            + (f' of {task.reads[key]}' if len(set(task.reads.values())) > 1 else '')
            + (f' for {task.tasks[key]}' if task.tasks[key] != name else '')
            for key, loss in task.losses.items()
        )
        rows.append((f'task {name}', type(task.head).__name__, ', '.join(model.head_inputs[name]), losses))
    rows.append(('loss', type(model.weighter).__name__, 'all tasks' if len(model.tasks) > 1 else 'the task', ''))
    return aligned(rows, left=len(rows[0]))


def mermaid(model: Any) -> list[str]:
    """Returns the lines of a Mermaid flowchart of a model's graph."""
    graph = describe_graph(model)
    frames = {'modality': ('(["', '"])'), 'loss': ('(["', '"])'), 'embedding': ('(["', '"])'), 'head': ('[/"', '"/]')}
    names = _mermaid_names([node['id'] for node in graph['nodes']])
    lines = ['flowchart LR']
    for node in graph['nodes']:
        before, after = frames.get(node['kind'], ('["', '"]'))
        lines.append(f'  {names[node["id"]]}{before}{label(node["title"])}<br>{label(node["about"])}{after}')
    return lines + [f'  {names[a]} --> {names[b]}' for a, b in graph['edges']]


def _mermaid_names(nodes: Sequence[str]) -> dict[str, str]:
    """Returns the node names for Mermaid: the ids, but numbers for those that it would parse as something else."""
    plain = {node for node in nodes if re.fullmatch(r'[A-Za-z][A-Za-z0-9_]*', node) and node not in RESERVED}
    return {node: node if node in plain else f'{len(nodes)}_{number}' for number, node in enumerate(nodes)}


def _maker(model: Any, feature: str) -> str:
    return type(model.necks[feature]).__name__ if feature in model.necks else type(model.backbone).__name__
