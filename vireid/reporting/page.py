"""Renders report.html: everything about one run, or several side by side, in one file that needs no network.

What the page shows is prepared here as plain data; `templates/report.html` lays it out.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from vireid.boundary import config_text
from vireid.boundary.writing import write_whole
from vireid.core.scoring.results import metrics_in_percent, valid_queries
from vireid.errors import MissingKey, VireidError, WrongValue
from vireid.reporting import markup
from vireid.reporting.embedding_plane import embedding_plane
from vireid.reporting.evidence import Evidence
from vireid.reporting.figures import draw, inline_svg
from vireid.reporting.record import RunRecord
from vireid.reporting.result_file import which_weights
from vireid.reporting.thumbnails import decode
from vireid.statistics.scores import METRICS

NARROW = ('cmc', 'distances', 'reliability')  # single-column figures; on a phone, others scroll instead of shrinking
WIDE = 9.0  # inches, of figures with a section of their own
CAPTIONS = {
    'cmc': 'CMC: share of queries with a match among the first k.',
    'weights': 'Raw values are faint, running means are bold.',
    'distances': 'Cosine distances between pairs of images.',
    'reliability': 'How often hits are right, by the probability that the model gives them: '
    'the 20 best hits in the other modality of each test image. On the diagonal the probability is true.',
    'cam': 'By stage of the backbone: what makes each image of a pair similar to the other. '
    'The first pairs show the same identity, the others a wrong top-ranked image.',
    'features': 'Maps of both images of a pair, by stage of the backbone.',
    'translations': 'What the translators of the model generate from both images of a pair.',
    'swaps': 'Left: images that give the identity. Top: images that give pose and illumination. Between: both decoded.',
    'graph': 'The components of the model and their inputs.',
}
OPTIONAL = ('translations', 'swaps')  # figures that have a section only if a run has images for them


def write_report(runs: Sequence[RunRecord], path: Path) -> None:
    """Writes the report of runs atomically as one HTML file."""
    write_whole(path, render(runs))


def page_path(runs: Sequence[Path], out: Path | None = None) -> Path:
    """Returns where the report of runs is written: `out`, or for a single run `report.html` in its folder.

    Raises:
        VireidError: if several runs have no file, or it is not an HTML file.
    """
    if out is None and len(runs) > 1:
        raise MissingKey(f'a report of {len(runs)} runs needs an output file', todo='add -o FILE.html')
    out = out or runs[0] / 'report.html'
    if out.suffix not in ('.html', '.htm'):
        raise WrongValue(f'{out} is not an HTML file name', allowed='FILE.html', todo='for a figure, use vireid plot')
    return out


def render(runs: Sequence[RunRecord]) -> str:
    """Returns the report of runs; in place of what is missing or cannot be drawn, it gives the reason."""
    runs = [_with_whole_thumbnails(run) for run in runs]
    several = len(runs) > 1
    maps = [name.partition(' ')[0] for run in runs if run.evidence is not None for name in run.evidence.maps]
    absent = [name for name in OPTIONAL if name not in maps]
    thumbs = {f'{n}-{i}': _data_uri(t) for n, run in enumerate(runs) for i, t in enumerate(_thumbs(run)) if t}
    trained = [run for run in runs if run.steps]
    no_steps = 'There is no metrics.jsonl with steps; the logger MetricsFile writes it during training.'
    return markup.render(
        'report.html',
        script='page.js',
        title=', '.join(run.label for run in runs),
        several=several,
        notes=_protocol_note(runs),
        runs=[_run(number, run, several, absent) for number, run in enumerate(runs)],
        head=['row', *METRICS, 'valid queries', 'trials'],
        rows=[_cells(row, f'{run.label}: ' if several else '') for run in runs for row in run.rows],
        cmc=_figure('cmc', runs),
        training=_figure('weights', trained, width=WIDE) if trained else {'missing': no_steps},
        distances=_figure('distances', runs),
        reliability=_figure('reliability', runs),
        absent=absent,
        thumbs=markup.script_data(thumbs),
    )


def _with_whole_thumbnails(run: RunRecord) -> RunRecord:
    """Returns a run with damaged thumbnails removed: they appear like images that could not be read."""
    if run.evidence is None:
        return run
    kept = [thumb if decode(thumb) is not None else b'' for thumb in run.evidence.thumbs]
    return replace(run, evidence=replace(run.evidence, thumbs=kept))


def _protocol_note(runs: Sequence[RunRecord]) -> list[str]:
    protocols = sorted({run.protocol for run in runs if run.protocol})
    named = f'These runs use different protocols ({"; ".join(protocols)}), so their metrics are not comparable.'
    return [named] if len(protocols) > 1 else []


def _run(number: int, run: RunRecord, several: bool, absent: Sequence[str]) -> dict[str, Any]:
    """Returns everything that belongs to one run alone."""
    evidence = run.evidence
    named = [name for name in ('cam', 'features', 'translations', 'swaps', 'graph') if name not in absent]
    width = {} if several else {'width': WIDE}
    shown: dict[str, Any] = {
        'label': run.label,
        'about': _about(run),
        'tiles': _tiles(run.rows[0]) if run.rows else [],
        'notes': _notes(run),
        'config': config_text.dump(run.config) if run.config else '',
        'machine': json.dumps({k: v for k, v in run.provenance.items() if k != 'config'}, indent=1)
        if run.provenance
        else '',
        'figures': {name: _figure(name, [run], **({} if name in ('graph', 'swaps') else width)) for name in named},
        'extremes': [],
        'queries': [],
        'plane': None,
        'cameras': None,
    }
    if evidence is None:
        return shown
    queries = [_query(number, evidence, row) for row in range(len(evidence.lists.get('query', ())))]
    if queries:
        ap = evidence.lists['ap']
        shown['extremes'] = [('Best', queries[ap.argmax()]), ('Worst', queries[ap.argmin()])]
    about = evidence.about
    return shown | {
        'trial': about['trial'],
        'queries': queries,
        'plane': embedding_plane(number, evidence) if len(evidence.points.get('image', ())) else None,
        'cameras': [[str(r['camera']), r['modality'], *_scores(r)] for r in about['cameras']],
        'identities': [[evidence.name_of(r['identity']), *_scores(r)] for r in about['identities']],
    }


def _about(run: RunRecord) -> str:
    """Returns the data, the protocol, the weights and the similarity in one line."""
    about = run.about
    if not about:
        return 'This run is not finished, so there is no result.'
    ranked = run.evidence.about['similarity'] if run.evidence else ''
    parts = [about['data'], about['protocol'], which_weights(about), f'ranked by {ranked or "cosine similarity"}']
    return ' · '.join(filter(None, parts))


def _tiles(row: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns rank-1 and mAP of a row, with their interval and their spread."""
    tiles = []
    for key, name in (('R1', 'rank-1'), ('mAP', 'mAP')):
        metric, details = row[key], []
        interval = [100 * metric['low'], 100 * metric['high']] if 'identities' in row else None
        if interval:
            low, high = interval
            details.append(f'{low:.0f} to {high:.0f} with 95% confidence, over {row["identities"]} identities')
        if row['trials'] > 1:
            details.append(f'± {100 * metric["std"]:.1f} over {row["trials"]} trials')
        tiles.append(
            {
                'name': f'{name}, {row["name"]}',
                'value': f'{100 * metric["mean"]:.1f}',
                'mean': 100 * metric['mean'],
                'range': interval,
                'details': details,
            }
        )
    return tiles


def _notes(run: RunRecord) -> list[str]:
    notes = run.warnings()
    if run.evidence is None and run.about and not run.differences:
        what = 'report.npz beside the result, so ranking lists, maps and CMC curves are missing'
        notes.append(f'There is no {what}; vireid test writes it.')
    return notes + (run.evidence.about['notes'] if run.evidence else [])


def _cells(row: dict[str, Any], whose: str) -> list[Any]:
    """Returns the cells of a row of the result table; a list has the lines of a cell."""
    metrics = [text.split(' ') for text in metrics_in_percent(row)]  # the mean, and the spread of several trials
    lines = [[whose + row['name'], *(['standard deviation'] if row['trials'] > 1 else [])], *metrics]
    if 'identities' in row:
        ranges = [f'{100 * row[key]["low"]:.0f} to {100 * row[key]["high"]:.0f}' for key in METRICS]
        for cell, text in zip(lines, [f'95% interval over {row["identities"]} identities', *ranges], strict=True):
            cell.append(text)
    return [*lines, valid_queries(row), str(row['trials'])]


def _query(run: int, evidence: Evidence, row: int) -> dict[str, Any]:
    """Returns a query and the top of its ranking list; `run` is the index of the run, in keys of thumbnails."""
    lists, images = evidence.lists, evidence.about['images']
    path, number, camera, modality = images[lists['query'][row]]
    identity = evidence.name_of(number)

    def shown(index: int, kind: str, alt: str, lines: list[str]) -> dict[str, Any]:
        thumb = f'{run}-{index}' if evidence.thumbs[index] else ''
        return {'kind': kind, 'thumb': thumb, 'alt': alt, 'path': images[index][0], 'lines': lines}

    strip = [shown(lists['query'][row], '', 'query', ['query', f'cam {camera}'])]
    for place, index in enumerate(lists['gallery'][row]):
        if index < 0:
            break
        kind = 'right' if lists['right'][row, place] else 'wrong'
        other = evidence.name_of(images[index][1])
        lines = [other, f'cam {images[index][2]}', f'{lists["similarity"][row, place]:.2f}']
        strip.append(shown(index, kind, f'rank {place + 1}: identity {other}, {kind}', lines))
    return {
        'about': f'identity {identity} · AP {lists["ap"][row]:.2f} · first match at rank {lists["first"][row]}',
        'kinds': ' '.join(evidence.about['kinds'][row]),
        'text': f'{identity} {camera} camera {camera} identity {identity} {modality} {path}'.lower(),
        'images': strip,
    }


def _scores(row: dict[str, Any]) -> list[str]:
    return [f'{row["queries"]:,}', f'{100 * row["R1"]:.1f}', f'{100 * row["mAP"]:.1f}']


def _figure(name: str, runs: Sequence[RunRecord], **options: Any) -> dict[str, Any]:
    """Draws a figure of runs, or gives the reason why there is none."""
    try:
        drawn = draw(name, runs, **options)
    except VireidError as error:
        return {'missing': f'{error.given}' + (f' ({error.todo})' if error.todo else '')}
    kind, caption = ('' if name in NARROW else 'wide'), CAPTIONS[name]
    label = f'the figure {name}'
    return {'missing': '', 'kind': kind, 'label': label, 'caption': caption, 'svg': inline_svg(drawn, caption)}


def _thumbs(run: RunRecord) -> list[bytes]:
    return run.evidence.thumbs if run.evidence is not None else []


def _data_uri(thumb: bytes) -> str:
    return f'data:image/jpeg;base64,{base64.b64encode(thumb).decode()}'
