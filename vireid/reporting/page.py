"""report.html: all there is to see of one run, or of several side by side, in one file that needs no network."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from vireid.boundary.writing import write_whole
from vireid.core.config import files
from vireid.core.errors import VireidError
from vireid.core.scoring.results import METRICS, metrics_in_percent, valid_queries
from vireid.core.types import VISIBLE
from vireid.reporting.evidence import Evidence
from vireid.reporting.figures import draw, inline_svg
from vireid.reporting.markup import NOTHING, asset, document, html, join, script_data
from vireid.reporting.record import RunRecord
from vireid.reporting.result_file import which_weights
from vireid.reporting.thumbnails import decode

SIZE, MARGIN = 640, 20  # of the plane of embeddings, in its own units
NARROW = ('cmc',)  # figures of one column


def write_report(runs: Sequence[RunRecord], path: Path) -> None:
    """Writes the report of runs as one HTML file, whole or not at all."""
    write_whole(path, render(runs))


def render(runs: Sequence[RunRecord]) -> str:
    """Returns the report of runs; what is not there, or cannot be drawn, is said where it would stand."""
    runs = [_with_whole_thumbnails(run) for run in runs]
    sections = [
        ('result', 'Result', _result(runs)),
        ('cmc', 'CMC', _figure('cmc', runs, 'Share of queries with a match among the first k: the CMC.')),
        ('training', 'Training', _training(runs)),
        ('rankings', 'Ranking lists', _rankings(runs)),
        ('distances', 'Distances', _figure('distances', runs, 'Cosine distances of pairs of images.')),
        ('embedding', 'Embedding', _embedding(runs)),
        ('who', 'Cameras and identities', _side(runs, _scores)),
        ('cam', 'Where the model looked', _cam(runs)),
        ('features', 'Feature maps', _each('features', runs, 'Mean of absolute values over channels, by stage.')),
        ('graph', 'Graph', _each('graph', runs, 'The model: what reads what.')),
        ('made', 'Config, machine, versions', _side(runs, _made)),
    ]
    links = join(html('<li><a href="#{key}">{name}</a></li>', key=key, name=name) for key, name, _ in sections)
    header = html(
        '<nav aria-label="sections"><ul>{links}</ul></nav>'
        '<noscript><p class="note">Images and filters need JavaScript, which is switched off.</p></noscript>',
        links=links,
    )
    main = join(
        html('<section id="{key}"><h2>{name}</h2>{text}</section>', key=key, name=name, text=text)
        for key, name, text in sections
    )
    found = {f'{n}-{i}': _data_uri(t) for n, run in enumerate(runs) for i, t in enumerate(_thumbs(run)) if t}
    data = html(
        '<div id="hover-card" hidden></div><script type="application/json" id="thumbs">{thumbs}</script>',
        thumbs=script_data(found),
    )
    return document(', '.join(run.label for run in runs), header, main, data, asset('page.js'))


def _with_whole_thumbnails(run: RunRecord) -> RunRecord:
    """Returns a run without the thumbnails that are damaged: they are shown as those that could not be read."""
    if run.evidence is None:
        return run
    kept = [thumb if decode(thumb) is not None else b'' for thumb in run.evidence.thumbs]
    return replace(run, evidence=replace(run.evidence, thumbs=kept))


def _result(runs: Sequence[RunRecord]) -> Markup:
    several = len(runs) > 1
    head = _head([*(['run'] if several else []), 'row', *METRICS, 'valid queries', 'trials'])
    body, notes = NOTHING, []
    for run in runs:
        for row in run.rows:
            shown = [row['name'], *metrics_in_percent(row), valid_queries(row), str(row['trials'])]
            body += cells([*([run.label] if several else []), *shown])
            if 'identities' in row:
                ranges = [f'{100 * row[key]["low"]:.0f}-{100 * row[key]["high"]:.0f}' for key in METRICS]
                text = f'95 % interval over {row["identities"]} identities'
                body += cells([*([''] if several else []), text, *ranges, '', ''], 'interval')
        about = run.about
        whose = f'{run.label}: ' if several else ''
        if not about:
            notes.append(f'{whose}not finished; there is no result.')
        else:
            ranked = run.evidence.about['similarity'] if run.evidence else ''
            notes.append(
                f'{whose}{", ".join(filter(None, [about["data"], about["protocol"], which_weights(about)]))}; '
                f'ranked by {ranked or "cosine similarity"} but where a row says otherwise.'
            )
        notes += run.warnings()
        if run.evidence is None and about:
            notes.append(f'{whose}there is no {_EVIDENCE}.')
        notes += [f'{whose}{note}' for note in (run.evidence.about['notes'] if run.evidence else ())]
    protocols = {run.protocol for run in runs if run.protocol}
    if len(protocols) > 1:
        names = '; '.join(sorted(protocols))
        notes.insert(0, f'These runs were scored by different protocols ({names}): their numbers cannot be compared.')
    said = join(map(_missing, notes))
    if not body:
        return said
    caption = html('<p class="soft">Percent; mean ± standard deviation over trials.</p>')
    return join([caption, scroll('result table', _table(head, body)), said])


_EVIDENCE = 'report.npz beside the result, so that lists, maps and curves of ranks are missing; vireid test writes it'


def _training(runs: Sequence[RunRecord]) -> Markup:
    if not any(run.steps for run in runs):
        return _missing('There is no metrics.jsonl with steps: the logger MetricsFile writes it while a run trains.')
    return _figure('weights', [run for run in runs if run.steps], 'Raw values are faint, running means strong.')


def _rankings(runs: Sequence[RunRecord]) -> Markup:
    drawn = [(n, run) for n, run in enumerate(runs) if run.evidence is not None and len(run.evidence.lists['query'])]
    if not drawn:
        return _missing('There are no ranking lists.')
    options = join(html('<option value="{kind}">{kind}</option>', kind=k) for k in ('all', 'best', 'worst', 'random'))
    top = html(
        '<p>Each row begins with a query; then come the images ranked first, with the camera and the similarity. '
        'A solid frame and ✓ mean the same person, a dashed one and ✗ another. Best and worst have one query of each '
        'person.</p>'
        '<div class="controls"><label>Search for an identity, a camera, a file'
        '<input type="search" id="rank-search"></label>'
        '<label>Queries<select id="rank-kind">{options}</select></label>'
        '<span id="rank-count" role="status"></span></div>',
        options=options,
    )
    several = len(runs) > 1
    columns = []
    for number, run in drawn:
        found = run.evidence
        assert found is not None
        columns.append(
            html(
                '<div>{title}<p class="soft">Of {trial}.</p>{lists}</div>',
                title=html('<h3>{label}</h3>', label=run.label) if several else NOTHING,
                trial=found.about['trial'],
                lists=join(_query(number, found, row, 4 if several else 3) for row in range(len(found.lists['query']))),
            )
        )
    return join([top, html('<div class="side">{columns}</div>', columns=join(columns))])


def _query(run: int, found: Evidence, row: int, level: int) -> Markup:
    lists, images = found.lists, found.about['images']
    path, number, camera, modality = images[lists['query'][row]]
    identity = found.name_of(number)
    items = [
        html(
            '<li>{image}query, cam {camera}</li>',
            image=_image(run, found, lists['query'][row], 'query'),
            camera=camera,
        )
    ]
    for place, index in enumerate(lists['gallery'][row]):
        if index < 0:
            break
        right = bool(lists['right'][row, place])
        _, number, seen_by, _ = images[index]
        other = found.name_of(number)
        what = f'rank {place + 1}: identity {other}, {"right" if right else "wrong"}'
        mark = html('<span class="mark" aria-hidden="true">{sign}</span>', sign='✓' if right else '✗')
        items.append(
            html(
                '<li class="{kind}">{image}{other} · cam {camera}<br>{similarity:.2f}</li>',
                kind='right' if right else 'wrong',
                image=_image(run, found, index, what, mark),
                other=other,
                camera=seen_by,
                similarity=float(lists['similarity'][row, place]),
            )
        )
    return html(
        '<article class="query" data-kinds="{kinds}" data-text="{text}"><h{level}>{about}</h{level}>'
        '<ul class="list" tabindex="0" aria-label="{about}">{items}</ul></article>',
        kinds=' '.join(found.about['kinds'][row]),
        text=f'{identity} {camera} camera {camera} identity {identity} {modality} {path}'.lower(),
        level=level,
        about=f'identity {identity} · AP {lists["ap"][row]:.2f} · first match at rank {lists["first"][row]}',
        items=join(items),
    )


def _image(run: int, found: Evidence, index: int, alt: str, mark: Markup = NOTHING) -> Markup:
    path = found.about['images'][index][0]
    if not found.thumbs[index]:
        return html(
            '<span class="frame"><span class="gone" title="{path}">gone</span>{mark}</span>', path=path, mark=mark
        )
    return html(
        '<span class="frame"><img data-thumb="{run:d}-{index:d}" width="64" height="128" alt="{alt}" '
        'title="{path}">{mark}</span>',
        run=run,
        index=int(index),
        alt=alt,
        path=path,
        mark=mark,
    )


def _embedding(runs: Sequence[RunRecord]) -> Markup:
    columns = []
    for number, run in enumerate(runs):
        if run.evidence is None or not len(run.evidence.points['image']):
            continue
        title = html('<h3>{label}</h3>', label=run.label) if len(runs) > 1 else NOTHING
        plane = _plane(number, run.evidence)
        columns.append(html('<div class="projected">{title}{plane}</div>', title=title, plane=plane))
    if not columns:
        return _missing('There are no embeddings.')
    return html(
        '<p>Whole identities, as many as fit: circles are visible images, triangles infrared ones; a colour is one '
        'person. Point at one to see its image.</p><div class="side">{columns}</div>',
        columns=join(columns),
    )


def _plane(run: int, found: Evidence) -> Markup:
    points, images = found.points, found.about['images']
    identities = {identity: n for n, identity in enumerate(sorted({images[i][1] for i in points['image']}))}
    names = {'tsne': 't-SNE', 'pca': 'principal components'}
    there = [key for key in names if len(points[key])]
    groups = []
    for key in there:
        places = points[key]
        low, high = places.min(axis=0), places.max(axis=0)
        unit = (places - low) / np.where(high > low, high - low, 1)
        x, y = (MARGIN + unit * (SIZE - 2 * MARGIN)).T
        marks = []
        for image, px, py in zip(points['image'], x, SIZE - y, strict=True):
            # the golden angle: neighbours in number differ in colour
            hue = identities[images[image][1]] * 137.508 % 360
            name = found.name_of(images[image][1])
            marks.append(_point(f'{run}-{image}', name, images[image], hue, float(px), float(py)))
        hidden = Markup('' if key == there[0] else ' hidden')  # noqa: S704, two literals
        groups.append(html('<g data-projection="{key}"{hidden}>{marks}</g>', key=key, hidden=hidden, marks=join(marks)))
    return html(
        '<div class="controls"><label>Projection<select class="projection">{options}</select></label></div>'
        '<div class="plane"><svg viewBox="0 0 {size} {size}" role="img" aria-label="embeddings in the plane">{groups}'
        '</svg></div>'
        '<p class="soft">{images:,} images of {identities:,} identities; the principal components '
        'explain {shares} of the variance.</p>',
        options=join(html('<option value="{key}">{name}</option>', key=key, name=names[key]) for key in there),
        size=SIZE,
        groups=join(groups),
        images=len(points['image']),
        identities=len(identities),
        shares=' and '.join(f'{100 * share:.0f} %' for share in points['explained']),
    )


def _point(thumb: str, name: str, image: Sequence[Any], hue: float, x: float, y: float) -> Markup:
    """Returns a point of the plane: a circle for a visible image, a triangle for another."""
    path, _, camera, modality = image
    shape = (
        html('<circle cx="{x:.1f}" cy="{y:.1f}" r="5"', x=x, y=y)
        if modality == VISIBLE
        else html('<path d="M{x:.1f} {y:.1f}l5.5 10h-11z"', x=x, y=y - 6)
    )
    return html(
        '{shape} fill="hsl({hue:.0f} 70% 50%)" data-thumb="{thumb}"><title>{title}</title></{tag}>',
        shape=shape,
        hue=hue,
        thumb=thumb,
        title=f'identity {name}, camera {camera}, {Path(path).name}',
        tag='circle' if modality == VISIBLE else 'path',
    )


def _scores(run: RunRecord) -> Markup:
    if run.evidence is None:
        return _missing('There are no scores by camera and identity.')
    about = run.evidence.about
    cameras = [[str(r['camera']), r['modality'], f'{r["queries"]:,}', *_two(r)] for r in about['cameras']]
    people = [[run.evidence.name_of(r['identity']), f'{r["queries"]:,}', *_two(r)] for r in about['identities']]
    head = ['identity', 'queries', 'rank-1', 'mAP']
    text = html(
        '<p>By the camera of the query, worst first; a query counts once in each trial.</p>{cameras}'
        '<p>By identity, worst first.</p>{identities}',
        cameras=table(['camera', 'modality', 'queries', 'rank-1', 'mAP'], cameras, 'scores by camera'),
        identities=table(head, people[:10], 'scores by identity'),
    )
    if len(people) > 10:
        text += html(
            '<details><summary>{more:,} more</summary>{rest}</details>',
            more=len(people) - 10,
            rest=table(head, people[10:], 'scores of the other identities'),
        )
    return text


def _two(row: dict[str, Any]) -> list[str]:
    return [f'{100 * row["R1"]:.1f}', f'{100 * row["mAP"]:.1f}']


def _cam(runs: Sequence[RunRecord]) -> Markup:
    text = (
        'Grad-CAM of the similarity of a pair: what in each image made it like the other one, by stage. Above are '
        'pairs of one person, below wrong images that were ranked first.'
    )
    return _each('cam', runs, text)


def _made(run: RunRecord) -> Markup:
    if run.config:
        config = _pre(files.dump(run.config))
        text = html('<details open><summary>Config</summary>{config}</details>', config=config)
    else:
        text = _missing('No config.yaml.')
    if run.made:
        shown = {key: value for key, value in run.made.items() if key != 'config'}
        made = _pre(json.dumps(shown, indent=1))
        text += html('<details><summary>Machine, versions, data</summary>{made}</details>', made=made)
    return text


def _figure(name: str, runs: Sequence[RunRecord], caption: str) -> Markup:
    """Draws a figure of all runs, or says why there is none."""
    try:
        drawn = inline_svg(draw(name, runs), caption)
    except VireidError as error:
        return _missing(f'{error.given}' + (f' ({error.todo})' if error.todo else ''))
    return html(
        '<figure{kind}>{moved}<figcaption>{caption}</figcaption></figure>',
        # on a telephone it is moved, not shrunk
        kind=Markup('' if name in NARROW else ' class="wide"'),  # noqa: S704, two literals
        moved=scroll(f'the figure {name}', drawn),
        caption=caption,
    )


def _each(name: str, runs: Sequence[RunRecord], caption: str) -> Markup:
    return _side(runs, lambda run: _figure(name, [run], caption))


def _side(runs: Sequence[RunRecord], of: Callable[[RunRecord], Markup]) -> Markup:
    if len(runs) == 1:
        return of(runs[0])
    columns = join(html('<div><h3>{label}</h3>{text}</div>', label=run.label, text=of(run)) for run in runs)
    return html('<div class="side">{columns}</div>', columns=columns)


def table(head: Sequence[str], rows: Sequence[Sequence[str]], label: str) -> Markup:
    """Returns a table of text, which scrolls."""
    return scroll(label, _table(_head(head), join(map(cells, rows))))


def _table(head: Markup, body: Markup) -> Markup:
    return html('<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>', head=head, body=body)


def _head(names: Sequence[str]) -> Markup:
    return join(html('<th scope="col">{name}</th>', name=name) for name in names)


def cells(row: Sequence[str], kind: str = '') -> Markup:
    """Returns a row of a table; `kind` is its class."""
    return html(
        '<tr{kind}>{cells}</tr>',
        kind=html(' class="{kind}"', kind=kind) if kind else NOTHING,
        cells=join(html('<td>{cell}</td>', cell=cell) for cell in row),
    )


def scroll(label: str, content: Markup) -> Markup:
    """Returns a region that scrolls sideways where it is wider than the page."""
    return html(
        '<div class="scroll" tabindex="0" role="region" aria-label="{label}">{content}</div>',
        label=label,
        content=content,
    )


def _pre(text: str) -> Markup:
    return html('<pre tabindex="0">{text}</pre>', text=text)


def _missing(text: str) -> Markup:
    return html('<p class="note">{text}</p>', text=text)


def _thumbs(run: RunRecord) -> list[bytes]:
    return run.evidence.thumbs if run.evidence is not None else []


def _data_uri(thumb: bytes) -> str:
    return f'data:image/jpeg;base64,{base64.b64encode(thumb).decode()}'
