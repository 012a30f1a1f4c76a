"""The model card and the record of a published release: data, protocol, seeds, intervals, license, what is unknown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vireid.boundary.showing import markdown, markdown_code
from vireid.console.wording import counted
from vireid.core.scoring.results import QUERIES
from vireid.exchange.model_card import about, head, usage
from vireid.reporting import result_file
from vireid.reporting.record import RunRecord
from vireid.statistics.interval import identity_interval
from vireid.statistics.scores import METRICS, metric_values
from vireid.statistics.seeds import mean_interval


def measured_rows(runs: Sequence[RunRecord]) -> list[dict[str, Any]]:
    """Returns the rows of a result, each metric as a mean over runs with its intervals.

    Args:
        runs: finished runs of one config with different seeds, and with the metrics of their queries.

    Returns:
        Per row: `name`, `variant`, `trials`, `identities` (tested), and `metrics`: per metric its `mean`, the limits
        `seeds` of its 95% interval over seeds (None for a single one), and `people`, those over identities.
    """
    queries = [result_file.read_queries(run.folder / QUERIES) for run in runs]
    rows = []
    for number, row in enumerate(runs[0].rows):
        own = [{key: values[q['row'] == number] for key, values in q.items()} for q in queries]
        metrics = [metric_values(columns) for columns in own]
        identities = np.concatenate([columns['identity'] for columns in own])
        # every trial of every run has equal weight, as in the mean
        parts = [np.unique(columns['trial'], return_inverse=True)[1] for columns in own]
        weights = np.concatenate([1 / np.bincount(part)[part] for part in parts])
        entry: dict[str, Any] = {key: row[key] for key in ('name', 'variant', 'trials')}
        entry |= {'identities': len(np.unique(identities)), 'metrics': {}}
        for key in METRICS:
            values = [run.rows[number][key]['mean'] for run in runs]
            pooled = np.clip(np.concatenate([own[key] for own in metrics]), 0, 1)
            entry['metrics'][key] = {
                'mean': float(np.mean(values)),
                'seeds': list(mean_interval(values)) if len(values) > 1 else None,
                'people': list(identity_interval(pooled, identities, weights=weights)),
            }
        rows.append(entry)
    return rows


def not_measured(record: Mapping[str, Any], content: Mapping[str, Any]) -> list[str]:
    """Returns what a reader might expect, but the runs do not show."""
    lines = [
        f'other data than {record["data"]}: other cameras, places, seasons, and people',
        f'other protocols than {record["protocol"]}',
        'differences between groups of people, such as by age, gender, skin tone, or clothing',
        'how much of the training images can be recovered from the weights',
    ]
    if len(record['seeds']) == 1:
        lines.insert(0, 'the spread over seeds: there is one run')
    if not content.get('calibration'):
        lines.append('the probability of a match at a given similarity: the weights are not calibrated')
    if record['initialized']:
        lines.append('the images that the initial weights were trained on')
    return lines


def release_card(record: Mapping[str, Any], content: Mapping[str, Any], config: Mapping[str, Any], digest: str) -> str:
    """Writes the model card of a published release.

    Args:
        record: the content of `release.json`.
        content: what the checkpoint holds, with the weights and the config to release.
        config: the config of the run, which names its plugin files.
        digest: the SHA-256 of the released weights.

    Returns:
        Markdown text.
    """
    seeds = ', '.join(map(str, record['seeds']))
    several = len(record['seeds']) > 1
    people = 'The people are synthetic: the figures say nothing about real people.'
    if record['permission']:
        people = f'Permission to publish weights trained on these people: {markdown(record["permission"])}.'
    lines = [
        *head(content, record['license'], record['initialized']), '',
        *about(content, digest),
        f'- license of the weights: {markdown(record["license"])}; the terms of the training data also apply',
        f'- seeds measured: {seeds}; the weights are those of seed {record["seeds"][0]}, the lowest one',
        '- vectors of individual training identities, such as in a classifier, are not released: these tensors are '
        'zero', '',
        people, '',
        f'Measured on {markdown(record["data"])}{markdown(record["split"] and " " + record["split"])} by '
        f'{markdown_code(record["protocol"])}, {markdown(record["select"])}; percent'
        f'{", mean over " + counted(len(record["seeds"]), "seed") if several else ""}:', '',
        '| | ' + ' | '.join(METRICS) + ' |', '|---|' + '---:|' * len(METRICS),
    ]  # fmt: skip
    for row in record['rows']:
        metrics = row['metrics']
        lines.append(_line(markdown(row['name']), [f'{100 * metrics[key]["mean"]:.2f}' for key in METRICS]))
        if several:
            lines.append(_line('95% interval over seeds', [_range(metrics[key]['seeds']) for key in METRICS]))
        over = f'95% interval over {counted(row["identities"], "test identity", "test identities")}'
        lines.append(_line(over, [_range(metrics[key]['people']) for key in METRICS]))
    lines += ['', 'Not measured:', '', *(f'- {markdown(line)}' for line in record['not_measured']), '']
    return '\n'.join([*lines, *usage(config)])


def _line(name: str, cells: Sequence[str]) -> str:
    return f'| {name} | {" | ".join(cells)} |'


def _range(limits: Sequence[float]) -> str:
    return f'{100 * limits[0]:.1f} to {100 * limits[1]:.1f}'
