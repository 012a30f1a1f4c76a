"""Renders report.html: everything about one run, or several side by side, in one file that needs no network."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from markupsafe import Markup

from vireid.boundary.writing import write_whole
from vireid.core.config import files
from vireid.core.errors import VireidError
from vireid.core.scoring.results import METRICS, metrics_in_percent, valid_queries
from vireid.reporting.embedding_plane import embedding_plane
from vireid.reporting.evidence import Evidence
from vireid.reporting.figures import draw, inline_svg
from vireid.reporting.markup import NOTHING, asset, document, html, join, script_data
from vireid.reporting.record import RunRecord
from vireid.reporting.result_file import which_weights
from vireid.reporting.thumbnails import decode

NARROW = ('cmc',)  # single-column figures


def write_report(runs: Sequence[RunRecord], path: Path) -> None:
    """Writes the report of runs atomically as one HTML file."""
    write_whole(path, render(runs))


def render(runs: Sequence[RunRecord]) -> str:
    """Returns the report of runs; in place of what is missing or cannot be drawn, it gives the reason."""
    runs = [_with_whole_thumbnails(run) for run in runs]
    sections = [
        ('result', 'Result', _result(runs)),
        ('cmc', 'CMC', _figure('cmc', runs, 'CMC: share of queries with a match among the first k.')),
        ('training', 'Training', _training(runs)),
        ('rankings', 'Ranking lists', _rankings(runs)),
        ('distances', 'Distances', _figure('distances', runs, 'Cosine distances between pairs of images.')),
        ('embedding', 'Embedding', _embedding(runs)),
        ('who', 'Cameras and identities', _side(runs, _scores)),
        ('cam', 'Where the model looks', _cam(runs)),
        ('features', 'Feature maps', _each('features', runs, 'Mean absolute value over channels, by stage.')),
        *_generated(runs),
        ('graph', 'Graph', _each('graph', runs, 'The components of the model and their inputs.')),
        ('made', 'Config, machine, versions', _side(runs, _made)),
    ]
    links = join(html('<li><a href="#{key}">{name}</a></li>', key=key, name=name) for key, name, _ in sections)
    header = html(
        '<nav aria-label="sections"><ul>{links}</ul></nav>'
        '<noscript><p class="note">Images and filters need JavaScript, which is disabled.</p></noscript>',
        links=links,
    )
    main = join(
        html('<section id="{key}"><h2>{name}</h2>{text}</section>', key=key, name=name, text=text)
        for key, name, text in sections
    )
    thumbs = {f'{n}-{i}': _data_uri(t) for n, run in enumerate(runs) for i, t in enumerate(_thumbs(run)) if t}
    data = html(
        '<div id="hover-card" hidden></div><script type="application/json" id="thumbs">{thumbs}</script>',
        thumbs=script_data(thumbs),
    )
    return document(', '.join(run.label for run in runs), header, main, data, asset('page.js'))


def _with_whole_thumbnails(run: RunRecord) -> RunRecord:
    """Returns a run with damaged thumbnails removed: they appear like images that could not be read."""
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
                text = f'95% interval over {row["identities"]} identities'
                body += cells([*([''] if several else []), text, *ranges, '', ''], 'interval')
        about = run.about
        whose = f'{run.label}: ' if several else ''
        if not about:
            notes.append(f'{whose}not finished, so there is no result.')
        else:
            ranked = run.evidence.about['similarity'] if run.evidence else ''
            notes.append(
                f'{whose}{", ".join(filter(None, [about["data"], about["protocol"], which_weights(about)]))}; '
                f'ranked by {ranked or "cosine similarity"} unless the row says otherwise.'
            )
        notes += run.warnings()
        if run.evidence is None and about:
            notes.append(f'{whose}there is no {_EVIDENCE}.')
        notes += [f'{whose}{note}' for note in (run.evidence.about['notes'] if run.evidence else ())]
    protocols = {run.protocol for run in runs if run.protocol}
    if len(protocols) > 1:
        names = '; '.join(sorted(protocols))
        notes.insert(0, f'These runs use different protocols ({names}), so their metrics are not comparable.')
    text = join(map(_missing, notes))
    if not body:
        return text
    caption = html('<p class="soft">In percent; mean ± standard deviation over trials.</p>')
    return join([caption, scroll('result table', _table(head, body)), text])


_EVIDENCE = 'report.npz beside the result, so ranking lists, maps and CMC curves are missing; vireid test writes it'


def _training(runs: Sequence[RunRecord]) -> Markup:
    if not any(run.steps for run in runs):
        return _missing('There is no metrics.jsonl with steps; the logger MetricsFile writes it during training.')
    return _figure('weights', [run for run in runs if run.steps], 'Raw values are faint, running means are bold.')


def _rankings(runs: Sequence[RunRecord]) -> Markup:
    drawn = [(n, run) for n, run in enumerate(runs) if run.evidence is not None and len(run.evidence.lists['query'])]
    if not drawn:
        return _missing('There are no ranking lists.')
    options = join(html('<option value="{kind}">{kind}</option>', kind=k) for k in ('all', 'best', 'worst', 'random'))
    top = html(
        '<p>Each row starts with a query, followed by the top-ranked images with camera and similarity. A solid frame '
        'and ✓ mark the same identity, a dashed frame and ✗ a different one. Best and worst have one query per '
        'identity.</p>'
        '<div class="controls"><label>Search for an identity, a camera, a file'
        '<input type="search" id="rank-search"></label>'
        '<label>Queries<select id="rank-kind">{options}</select></label>'
        '<span id="rank-count" role="status"></span></div>',
        options=options,
    )
    several = len(runs) > 1
    columns = []
    for number, run in drawn:
        evidence = run.evidence
        assert evidence is not None
        lists = join(_query(number, evidence, row, 4 if several else 3) for row in range(len(evidence.lists['query'])))
        columns.append(
            html(
                '<div>{title}<p class="soft">From {trial}.</p>{lists}</div>',
                title=html('<h3>{label}</h3>', label=run.label) if several else NOTHING,
                trial=evidence.about['trial'],
                lists=lists,
            )
        )
    return join([top, html('<div class="side">{columns}</div>', columns=join(columns))])


def _query(run: int, evidence: Evidence, row: int, level: int) -> Markup:
    lists, images = evidence.lists, evidence.about['images']
    path, number, camera, modality = images[lists['query'][row]]
    identity = evidence.name_of(number)
    items = [
        html(
            '<li>{image}query, cam {camera}</li>',
            image=_image(run, evidence, lists['query'][row], 'query'),
            camera=camera,
        )
    ]
    for place, index in enumerate(lists['gallery'][row]):
        if index < 0:
            break
        right = bool(lists['right'][row, place])
        _, number, seen_by, _ = images[index]
        other = evidence.name_of(number)
        what = f'rank {place + 1}: identity {other}, {"right" if right else "wrong"}'
        mark = html('<span class="mark" aria-hidden="true">{sign}</span>', sign='✓' if right else '✗')
        items.append(
            html(
                '<li class="{kind}">{image}{other} · cam {camera}<br>{similarity:.2f}</li>',
                kind='right' if right else 'wrong',
                image=_image(run, evidence, index, what, mark),
                other=other,
                camera=seen_by,
                similarity=float(lists['similarity'][row, place]),
            )
        )
    return html(
        '<article class="query" data-kinds="{kinds}" data-text="{text}"><h{level}>{about}</h{level}>'
        '<ul class="list" tabindex="0" aria-label="{about}">{items}</ul></article>',
        kinds=' '.join(evidence.about['kinds'][row]),
        text=f'{identity} {camera} camera {camera} identity {identity} {modality} {path}'.lower(),
        level=level,
        about=f'identity {identity} · AP {lists["ap"][row]:.2f} · first match at rank {lists["first"][row]}',
        items=join(items),
    )


def _image(run: int, evidence: Evidence, index: int, alt: str, mark: Markup = NOTHING) -> Markup:
    path = evidence.about['images'][index][0]
    if not evidence.thumbs[index]:
        return html(
            '<span class="frame"><span class="gone" title="{path}">missing</span>{mark}</span>', path=path, mark=mark
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
        plane = embedding_plane(number, run.evidence)
        columns.append(html('<div class="projected">{title}{plane}</div>', title=title, plane=plane))
    if not columns:
        return _missing('There are no embeddings.')
    return html(
        '<p>Complete identities, as many as fit. Circles are visible images, triangles infrared ones; each color is an '
        'identity. Point at a mark to see its image.</p><div class="side">{columns}</div>',
        columns=join(columns),
    )


def _scores(run: RunRecord) -> Markup:
    if run.evidence is None:
        return _missing('There are no scores by camera and identity.')
    about = run.evidence.about
    cameras = [[str(r['camera']), r['modality'], f'{r["queries"]:,}', *_two(r)] for r in about['cameras']]
    people = [[run.evidence.name_of(r['identity']), f'{r["queries"]:,}', *_two(r)] for r in about['identities']]
    head = ['identity', 'queries', 'rank-1', 'mAP']
    text = html(
        '<p>By camera of the query, worst first; a query counts once per trial.</p>{cameras}'
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
        'Grad-CAM of the similarity of a pair, by stage: the regions of each image that make it similar to the other. '
        'The first pairs show the same identity, the others a wrong top-ranked image.'
    )
    return _each('cam', runs, text)


def _generated(runs: Sequence[RunRecord]) -> list[tuple[str, str, Markup]]:
    """Returns a section with generated images, if any run has some."""
    evidence = [run.evidence for run in runs if run.evidence is not None]
    if not any(name.startswith('translations ') for own in evidence for name in own.maps):
        return []
    text = 'What the translators of the model generate from both images of a pair.'
    return [('translations', 'Generated images', _each('translations', runs, text))]


def _made(run: RunRecord) -> Markup:
    if run.config:
        config = _pre(files.dump(run.config))
        text = html('<details open><summary>Config</summary>{config}</details>', config=config)
    else:
        text = _missing('No config.yaml.')
    if run.made:
        shown = {key: value for key, value in run.made.items() if key != 'config'}
        machine = _pre(json.dumps(shown, indent=1))
        text += html('<details><summary>Machine, versions, data</summary>{machine}</details>', machine=machine)
    return text


def _figure(name: str, runs: Sequence[RunRecord], caption: str) -> Markup:
    """Draws a figure of all runs, or gives the reason why there is none."""
    try:
        drawn = inline_svg(draw(name, runs), caption)
    except VireidError as error:
        return _missing(f'{error.given}' + (f' ({error.todo})' if error.todo else ''))
    return html(
        '<figure{kind}>{moved}<figcaption>{caption}</figcaption></figure>',
        # on a phone it scrolls instead of shrinking
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
    """Returns a scrollable table of text."""
    return scroll(label, _table(_head(head), join(map(cells, rows))))


def _table(head: Markup, body: Markup) -> Markup:
    return html('<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>', head=head, body=body)


def _head(names: Sequence[str]) -> Markup:
    return join(html('<th scope="col">{name}</th>', name=name) for name in names)


def cells(row: Sequence[str], kind: str = '') -> Markup:
    """Returns a table row; `kind` is its class."""
    return html(
        '<tr{kind}>{cells}</tr>',
        kind=html(' class="{kind}"', kind=kind) if kind else NOTHING,
        cells=join(html('<td>{cell}</td>', cell=cell) for cell in row),
    )


def scroll(label: str, content: Markup) -> Markup:
    """Returns a region that scrolls horizontally if it is wider than the page."""
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
