"""report.html: all there is to see of one run, or of several side by side, in one file that needs no network."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from vireid.core.config import files
from vireid.core.errors import VireidError
from vireid.core.files import write_whole
from vireid.core.scoring.results import METRICS, metrics_in_percent, valid_queries
from vireid.core.types import VISIBLE
from vireid.reporting.evidence import Evidence
from vireid.reporting.figures import draw, inline_svg
from vireid.reporting.record import RunRecord

SIZE, MARGIN = 640, 20  # of the plane of embeddings, in its own units
NARROW = ('cmc',)  # figures of one column


def write_report(runs: Sequence[RunRecord], path: Path) -> None:
    """Writes the report of runs as one HTML file, whole or not at all."""
    write_whole(path, render(runs))


def render(runs: Sequence[RunRecord]) -> str:
    """Returns the report of runs; what is not there, or cannot be drawn, is said where it would stand."""
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
    title = html.escape(', '.join(run.label for run in runs))
    links = ''.join(f'<li><a href="#{key}">{name}</a></li>' for key, name, _ in sections)
    body = ''.join(f'<section id="{key}"><h2>{name}</h2>{text}</section>' for key, name, text in sections)
    found = {f'{n}-{i}': _data_uri(t) for n, run in enumerate(runs) for i, t in enumerate(_thumbs(run)) if t}
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, '
        f'initial-scale=1"><title>{title}</title><style>{asset("page.css")}</style></head><body><header>'
        f'<h1>{title}</h1><nav aria-label="sections"><ul>{links}</ul></nav>'
        '<noscript><p class="note">Images and filters need JavaScript, which is switched off.</p></noscript></header>'
        f'<main>{body}</main>'
        '<div id="hover-card" hidden></div>'
        f'<script type="application/json" id="thumbs">{json.dumps(found)}</script>'
        f'<script>{asset("page.js")}</script></body></html>\n'
    )


def _result(runs: Sequence[RunRecord]) -> str:
    several = len(runs) > 1
    head = ''.join(
        f'<th scope="col">{html.escape(name)}</th>'
        for name in [*(['run'] if several else []), 'row', *METRICS, 'valid queries', 'trials']
    )
    body, notes = '', []
    for run in runs:
        for row in run.rows:
            shown = [row['name'], *metrics_in_percent(row), valid_queries(row), str(row['trials'])]
            body += cells([*([run.label] if several else []), *shown])
            if 'identities' in row:
                ranges = [f'{100 * row[key]["low"]:.0f}-{100 * row[key]["high"]:.0f}' for key in METRICS]
                text = f'95 % interval over {row["identities"]} identities'
                body += cells([*([''] if several else []), text, *ranges, '', ''], 'interval')
        about = run.result or (run.evidence.about if run.evidence else None)
        whose = f'{run.label}: ' if several else ''
        if about is None:
            notes.append(f'{whose}not finished; there is no result.')
        else:
            ranked = run.evidence.about['similarity'] if run.evidence else ''
            notes.append(
                f'{whose}{", ".join(filter(None, [about["data"], about["protocol"], about["weights"]]))}; '
                f'ranked by {ranked or "cosine similarity"} but where a row says otherwise.'
            )
        if run.evidence is None and about is not None:
            notes.append(f'{whose}there is no {_EVIDENCE}.')
        notes += [f'{whose}{note}' for note in (run.evidence.about['notes'] if run.evidence else ())]
    protocols = {run.protocol for run in runs if run.protocol}
    if len(protocols) > 1:
        names = '; '.join(sorted(protocols))
        notes.insert(0, f'These runs were scored by different protocols ({names}): their numbers cannot be compared.')
    found = f'<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>' if body else ''
    caption = '<p class="soft">Percent; mean ± standard deviation over trials.</p>' if body else ''
    return caption + scroll('result table', found) + ''.join(f'<p class="note">{html.escape(n)}</p>' for n in notes)


_EVIDENCE = 'report.npz beside the result, so that lists, maps and curves of ranks are missing; vireid test writes it'


def _training(runs: Sequence[RunRecord]) -> str:
    if not any(run.steps for run in runs):
        return _missing('There is no metrics.jsonl with steps: the logger MetricsFile writes it while a run trains.')
    return _figure('weights', [run for run in runs if run.steps], 'Raw values are faint, running means strong.')


def _rankings(runs: Sequence[RunRecord]) -> str:
    drawn = [(n, run) for n, run in enumerate(runs) if run.evidence is not None and len(run.evidence.lists['query'])]
    if not drawn:
        return _missing('There are no ranking lists.')
    options = ''.join(f'<option value="{k}">{k}</option>' for k in ('all', 'best', 'worst', 'random'))
    controls = (
        '<div class="controls"><label>Search for an identity, a camera, a file'
        '<input type="search" id="rank-search"></label>'
        f'<label>Queries<select id="rank-kind">{options}</select></label>'
        '<span id="rank-count" role="status"></span></div>'
    )
    text = (
        '<p>Each row begins with a query; then come the images ranked first, with the camera and the similarity. '
        'A solid frame and ✓ mean the same person, a dashed one and ✗ another. Best and worst have one query of each '
        'person.</p>'
    )
    several = len(runs) > 1
    columns = ''
    for number, run in drawn:
        found = run.evidence
        assert found is not None
        title = f'<h3>{html.escape(run.label)}</h3>' if several else ''
        lists = ''.join(
            _query(number, found, row, 'h4' if several else 'h3') for row in range(len(found.lists['query']))
        )
        trial = f'<p class="soft">Of {html.escape(found.about["trial"])}.</p>'
        columns += f'<div>{title}{trial}{lists}</div>'
    return text + controls + f'<div class="side">{columns}</div>'


def _query(run: int, found: Evidence, row: int, heading: str) -> str:
    lists, images = found.lists, found.about['images']
    path, identity, camera, modality = images[lists['query'][row]]
    kinds = ' '.join(found.about['kinds'][row])
    text = html.escape(f'{identity} {camera} camera {camera} identity {identity} {modality} {path}'.lower())
    items = f'<li>{_image(run, found, lists["query"][row], "query")}query, cam {camera}</li>'
    for place, index in enumerate(lists['gallery'][row]):
        if index < 0:
            break
        right = bool(lists['right'][row, place])
        _, other, seen_by, _ = images[index]
        what = f'rank {place + 1}: identity {other}, {"right" if right else "wrong"}'
        mark = f'<span class="mark" aria-hidden="true">{"✓" if right else "✗"}</span>'
        items += (
            f'<li class="{"right" if right else "wrong"}">{_image(run, found, index, what, mark)}'
            f'{other} · cam {seen_by}<br>{lists["similarity"][row, place]:.2f}</li>'
        )
    about = f'identity {identity} · AP {lists["ap"][row]:.2f} · first match at rank {lists["first"][row]}'
    return (
        f'<article class="query" data-kinds="{kinds}" data-text="{text}"><{heading}>{html.escape(about)}</{heading}>'
        f'<ul class="list" tabindex="0" aria-label="{html.escape(about)}">{items}</ul></article>'
    )


def _image(run: int, found: Evidence, index: int, alt: str, mark: str = '') -> str:
    path = html.escape(found.about['images'][index][0])
    if not found.thumbs[index]:
        return f'<span class="frame"><span class="gone" title="{path}">gone</span>{mark}</span>'
    return (
        f'<span class="frame"><img data-thumb="{run}-{index}" width="64" height="128" alt="{html.escape(alt)}" '
        f'title="{path}">{mark}</span>'
    )


def _embedding(runs: Sequence[RunRecord]) -> str:
    columns = ''
    for number, run in enumerate(runs):
        if run.evidence is None or not len(run.evidence.points['image']):
            continue
        title = f'<h3>{html.escape(run.label)}</h3>' if len(runs) > 1 else ''
        columns += f'<div class="projected">{title}{_plane(number, run.evidence)}</div>'
    if not columns:
        return _missing('There are no embeddings.')
    text = (
        '<p>Whole identities, as many as fit: circles are visible images, triangles infrared ones; a colour is one '
        'person. Point at one to see its image.</p>'
    )
    return f'{text}<div class="side">{columns}</div>'


def _plane(run: int, found: Evidence) -> str:
    points, images = found.points, found.about['images']
    identities = {identity: n for n, identity in enumerate(sorted({images[i][1] for i in points['image']}))}
    names = {'tsne': 't-SNE', 'pca': 'principal components'}
    there = [key for key in names if len(points[key])]
    groups = ''
    for key in there:
        places = points[key]
        low, high = places.min(axis=0), places.max(axis=0)
        unit = (places - low) / np.where(high > low, high - low, 1)
        x, y = (MARGIN + unit * (SIZE - 2 * MARGIN)).T
        marks = ''
        for image, px, py in zip(points['image'], x, SIZE - y, strict=True):
            path, identity, camera, modality = images[image]
            hue = identities[identity] * 137.508 % 360  # the golden angle: neighbours in number differ in colour
            title = html.escape(f'identity {identity}, camera {camera}, {Path(path).name}')
            shape = (
                f'circle cx="{px:.1f}" cy="{py:.1f}" r="5"'
                if modality == VISIBLE
                else f'path d="M{px:.1f} {py - 6:.1f}l5.5 10h-11z"'
            )
            tag = 'circle' if modality == VISIBLE else 'path'
            marks += f'<{shape} fill="hsl({hue:.0f} 70% 50%)" data-thumb="{run}-{image}"><title>{title}</title></{tag}>'
        hidden = '' if key == there[0] else ' hidden'
        groups += f'<g data-projection="{key}"{hidden}>{marks}</g>'
    options = ''.join(f'<option value="{key}">{names[key]}</option>' for key in there)
    shares = ' and '.join(f'{100 * share:.0f} %' for share in points['explained'])
    return (
        f'<div class="controls"><label>Projection<select class="projection">{options}</select></label></div>'
        f'<div class="plane"><svg viewBox="0 0 {SIZE} {SIZE}" role="img" aria-label="embeddings in the plane">{groups}'
        '</svg></div>'
        f'<p class="soft">{len(points["image"]):,} images of {len(identities):,} identities; the principal components '
        f'explain {shares} of the variance.</p>'
    )


def _scores(run: RunRecord) -> str:
    if run.evidence is None:
        return _missing('There are no scores by camera and identity.')
    about = run.evidence.about
    cameras = [[str(r['camera']), r['modality'], f'{r["queries"]:,}', *_two(r)] for r in about['cameras']]
    people = [[str(r['identity']), f'{r["queries"]:,}', *_two(r)] for r in about['identities']]
    text = '<p>By the camera of the query, worst first; a query counts once in each trial.</p>'
    text += table(['camera', 'modality', 'queries', 'rank-1', 'mAP'], cameras, 'scores by camera')
    text += '<p>By identity, worst first.</p>'
    head = ['identity', 'queries', 'rank-1', 'mAP']
    text += table(head, people[:10], 'scores by identity')
    if len(people) > 10:
        rest = table(head, people[10:], 'scores of the other identities')
        text += f'<details><summary>{len(people) - 10:,} more</summary>{rest}</details>'
    return text


def _two(row: dict[str, Any]) -> list[str]:
    return [f'{100 * row["R1"]:.1f}', f'{100 * row["mAP"]:.1f}']


def _cam(runs: Sequence[RunRecord]) -> str:
    text = (
        'Grad-CAM of the similarity of a pair: what in each image made it like the other one, by stage. Above are '
        'pairs of one person, below wrong images that were ranked first.'
    )
    return _each('cam', runs, text)


def _made(run: RunRecord) -> str:
    config = files.dump(run.config) if run.config else ''
    text = f'<details open><summary>Config</summary>{_pre(config)}</details>' if config else _missing('No config.yaml.')
    if run.made:
        shown = {key: value for key, value in run.made.items() if key != 'config'}
        text += f'<details><summary>Machine, versions, data</summary>{_pre(json.dumps(shown, indent=1))}</details>'
    return text


def _figure(name: str, runs: Sequence[RunRecord], caption: str) -> str:
    """Draws a figure of all runs, or says why there is none."""
    try:
        drawn = inline_svg(draw(name, runs), caption)
    except VireidError as error:
        return _missing(f'{error.given}' + (f' ({error.todo})' if error.todo else ''))
    kind = '' if name in NARROW else ' class="wide"'  # on a telephone it is moved, not shrunk
    moved = scroll(html.escape(f'the figure {name}'), drawn)
    return f'<figure{kind}>{moved}<figcaption>{html.escape(caption)}</figcaption></figure>'


def _each(name: str, runs: Sequence[RunRecord], caption: str) -> str:
    return _side(runs, lambda run: _figure(name, [run], caption))


def _side(runs: Sequence[RunRecord], of: Callable[[RunRecord], str]) -> str:
    if len(runs) == 1:
        return of(runs[0])
    columns = ''.join(f'<div><h3>{html.escape(run.label)}</h3>{of(run)}</div>' for run in runs)
    return f'<div class="side">{columns}</div>'


def table(head: Sequence[str], rows: Sequence[Sequence[str]], label: str) -> str:
    """Returns a table of text, which scrolls."""
    top = ''.join(f'<th scope="col">{html.escape(name)}</th>' for name in head)
    body = ''.join(cells(row) for row in rows)
    return scroll(label, f'<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>')


def cells(row: Sequence[str], kind: str = '') -> str:
    """Returns a row of a table; `kind` is its class."""
    name = f' class="{kind}"' if kind else ''
    return f'<tr{name}>' + ''.join(f'<td>{html.escape(cell)}</td>' for cell in row) + '</tr>'


def scroll(label: str, text: str) -> str:
    """Returns a region that scrolls sideways where it is wider than the page."""
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{label}">{text}</div>' if text else ''


def _pre(text: str) -> str:
    return f'<pre tabindex="0">{html.escape(text)}</pre>'


def _missing(text: str) -> str:
    return f'<p class="note">{html.escape(text)}</p>'


def _thumbs(run: RunRecord) -> list[bytes]:
    return run.evidence.thumbs if run.evidence is not None else []


def _data_uri(thumb: bytes) -> str:
    return f'data:image/jpeg;base64,{base64.b64encode(thumb).decode()}'


def asset(name: str) -> str:
    """Returns the style or the script of pages."""
    return resources.files('vireid.reporting').joinpath(name).read_text(encoding='utf-8')
