"""Runs made up for figures: what a real one would leave, without training."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from vireid.reporting.evidence import Evidence
from vireid.reporting.record import RunRecord

BINS = 100
TASKS = ('s2', 's3', 's4', 'mlfm', 'glfm')
STAGES = ('stage2', 'stage3', 'stage4')


def metric_row(name: str, r1: float, mean_ap: float, queries: int = 300) -> dict[str, Any]:
    """A row of a result table."""
    values = {'R1': r1, 'R5': min(1, r1 + 0.1), 'R10': min(1, r1 + 0.15), 'R20': min(1, r1 + 0.18), 'mAP': mean_ap}
    means = {key: {'mean': value, 'std': 0.01} for key, value in values.items()}
    counts = {'trials': 10, 'queries': [queries] * 2, 'valid': [queries] * 2}
    return {'name': name, 'variant': '', **counts, **means, 'mINP': {'mean': mean_ap / 2, 'std': 0.01}}


def thumb(identity: int, modality: str) -> bytes:
    """A JPEG of a person: a body whose colors tell who it is; gray in infrared."""
    rng = np.random.default_rng(identity)
    image = Image.new('RGB', (64, 128), (120, 130, 125))
    pen = ImageDraw.Draw(image)
    skin, top, legs = (tuple(map(int, rng.integers(30, 230, 3))) for _ in range(3))
    pen.ellipse((24, 6, 40, 28), fill=skin)
    pen.rectangle((18, 30, 46, 74), fill=top)
    pen.rectangle((20, 75, 44, 122), fill=legs)
    packed = io.BytesIO()
    (image.convert('L') if modality == 'infrared' else image).save(packed, 'JPEG')
    return packed.getvalue()


def make_evidence(name: str = 'tffn', people: int = 12, quality: float = 0.8, seed: int = 0) -> Evidence:
    """Evidence of an evaluation of `people`, each with two images of both modalities."""
    rng = np.random.default_rng(seed)
    images = [
        [f'{modality}/{person}_{n}.jpg', person, 1 if modality == 'visible' else 3, modality]
        for person in range(people)
        for modality in ('visible', 'infrared')
        for n in range(2)
    ]
    ranks = np.arange(1, 51)
    cmc = {
        'all single-shot': 1 - (1 - quality) * np.exp(-(ranks - 1) / 6),
        'indoor single-shot': 1 - (0.8 - 0.8 * quality) * np.exp(-(ranks - 1) / 5),
    }
    rows = [metric_row(name, float(values[0]), float(values[0]) * 0.95) for name, values in cmc.items()]
    middle = (np.arange(BINS) + 0.5) * 2 / BINS
    distances = {}
    for where, shift in (('across', 0.1), ('within visible', 0.0), ('within infrared', 0.03)):
        for kind, center, total in (('same', 0.35 + shift, 4e3), ('different', 0.85 + shift / 2, 4e5)):
            bell = np.exp(-(((middle - center) / (0.16 if kind == 'same' else 0.12)) ** 2) / 2)
            distances[f'{kind} {where}'] = np.rint(total * bell / bell.sum()).astype(np.int64)
    visible = [i for i, image in enumerate(images) if image[3] == 'visible']
    query = [i for i, image in enumerate(images) if image[3] == 'infrared' and image[0].endswith('_0.jpg')]
    gallery = np.stack([rng.permutation(visible)[:10] for _ in query])
    gallery = np.pad(gallery, ((0, 0), (0, 10 - gallery.shape[1])), constant_values=-1)
    person = np.array([image[1] for image in images])
    for row, q in enumerate(query):
        if rng.random() < quality:  # the first is right
            gallery[row, 0] = visible[2 * person[q]]
    right = (person[gallery] == person[query][:, None]) & (gallery >= 0)
    similarity = np.sort(rng.uniform(0.2, 0.95, gallery.shape))[:, ::-1]
    kinds = [['best', 'random'] if row % 2 else ['worst'] for row in range(len(query))]
    lists = {
        'query': np.array(query), 'gallery': gallery, 'similarity': similarity, 'right': right,
        'ap': np.linspace(0.05, 0.95, len(query)), 'first': np.ones(len(query), dtype=np.int64),
    }  # fmt: skip
    centers = rng.normal(size=(people, 2)) * 10
    places = centers[person] + rng.normal(size=(len(images), 2))
    points = {
        'image': np.arange(len(images)), 'pca': places / 30, 'explained': np.array([0.214, 0.131]), 'tsne': places
    }  # fmt: skip
    grid = np.stack(np.meshgrid(np.linspace(-1, 1, 18), np.linspace(-1, 1, 9), indexing='ij'))
    maps = {}
    for kind in ('cam', 'features'):
        for stage in STAGES:
            middles = rng.uniform(-0.6, 0.6, (5, 2, 2, 1, 1))
            maps[f'{kind} {stage}'] = np.exp(-4 * ((grid - middles) ** 2).sum(axis=2)).astype(np.float16)
    for generated in ('fake', 'cycle'):
        maps[f'translations {generated}'] = rng.uniform(0, 1, (5, 2, 8, 4, 3)).astype(np.float16)
    maps['swaps'] = rng.uniform(0, 1, (3, 4, 8, 4, 3)).astype(np.float16)
    pairs = [
        {
            'images': [query[i % len(query)], int(gallery[i % len(query), 0])],
            'similarity': 0.8 - i / 10,
            'right': bool(right[i % len(query), 0]),
        }
        for i in range(5)
    ]
    about = {
        'name': name, 'protocol': 'sysu/agw', 'data': 'generated people', 'weights': 'after step 400', 'similarity': '',
        'rows': rows, 'trial': 'trial 0 of all single-shot', 'notes': [], 'images': images, 'identities': [],
        'cameras': [], 'graph': make_graph(), 'pairs': pairs, 'kinds': kinds,
    }  # fmt: skip
    thumbs = [thumb(image[1], image[3]) for image in images]
    probability = np.linspace(0.05, 0.95, 10)
    reliability = {
        'probability': probability, 'share': probability**1.2, 'count': np.full(10, 40.0), 'error': np.array([0.04])
    }  # fmt: skip
    return Evidence(about, thumbs, cmc, distances, lists, points, maps, reliability)


def make_graph() -> dict[str, Any]:
    """TFFN's graph."""
    nodes = [
        ('visible', 'modality', 'visible', 'images'),
        ('infrared', 'modality', 'infrared', 'images'),
        ('backbone', 'backbone', 'TwoStreamResNet', 'backbone'),
        *((f'f_stage{n}', 'feature', f'stage{n}', f'joint map, {64 << n} {72 >> n} x {36 >> n}') for n in (2, 3, 4)),
        *((f'f_s{n}', 'neck', f's{n}: StageEmbedding', 'joint vector, 1024') for n in (2, 3, 4)),
        ('f_mlfm', 'neck', 'mlfm: MLFM', 'joint vector, 1024'),
        ('f_glfm', 'neck', 'glfm: GLFM', 'joint vector, 1024'),
        *((f't_{task}', 'head', f'{task}: GlobalHead', 'CrossEntropy + BatchHardTriplet') for task in TASKS),
        ('loss', 'loss', 'WarmUp', 'the loss'),
        ('embedding', 'embedding', 'embedding', '1024 values'),
    ]  # fmt: skip
    edges = [['visible', 'backbone'], ['infrared', 'backbone']]
    for n in (2, 3, 4):
        edges += [['backbone', f'f_stage{n}'], [f'f_stage{n}', f'f_s{n}'], [f'f_s{n}', 'f_mlfm']]
    edges.append(['f_mlfm', 'f_glfm'])
    for task in TASKS:
        edges += [[f'f_{task}', f't_{task}'], [f't_{task}', 'loss']]
    edges.append(['t_mlfm', 'embedding'])
    return {'nodes': [dict(zip(('id', 'kind', 'title', 'about'), node, strict=True)) for node in nodes], 'edges': edges}


def make_metrics(steps: int = 400, seed: int = 0, evaluations: int = 4) -> list[dict[str, Any]]:
    """The lines of a run's `metrics.jsonl`."""
    rng = np.random.default_rng(seed)
    lines: list[dict[str, Any]] = []
    for step in range(1, steps + 1):
        done = step / steps
        tasks = {t: float((8 - i) * np.exp(-3 * done) + rng.gamma(2, 0.2)) for i, t in enumerate(TASKS)}
        weights = {t: 1.0 if t != 'glfm' else float(done) for t in TASKS}
        curves = {'lambda': {'glfm': float(done)}, 'sigma': {t: float(1 - done * i / 8) for i, t in enumerate(TASKS)}}
        loss = sum(weights[t] * tasks[t] for t in TASKS)
        rate = 3.5e-4 * min(1, step / max(1, steps // 10)) * (1 if done < 0.6 else 0.1)
        lines.append({
            'step': step, 'epoch': step / 40, 'loss': loss, 'tasks': tasks, 'weights': weights, 'curves': curves,
            'lr': rate,
        })  # fmt: skip
        if evaluations and step % max(1, steps // evaluations) == 0:
            r1 = 0.8 * (1 - float(np.exp(-3 * done)))
            lines.append({
                'step': step, 'epoch': step / 40, 'protocol': 'sysu/agw', 'data': 'people', 'weights': f'step {step}',
                'rows': [metric_row('all single-shot', r1, r1 * 0.95)],
            })  # fmt: skip
    return lines


def make_run(label: str = 'tffn', **evidence: Any) -> RunRecord:
    """A run with all that figures show."""
    return RunRecord(Path('runs') / label, label, {}, make_metrics(), None, {}, make_evidence(label, **evidence))


@pytest.fixture(scope='session')
def run() -> RunRecord:
    """One run, which no test changes."""
    return make_run()


@pytest.fixture
def new_run() -> Callable[..., RunRecord]:
    """Makes runs that a test may change: `new_run(label, people=, quality=, seed=)`."""
    return make_run


@pytest.fixture
def new_metrics() -> Callable[..., list[dict[str, Any]]]:
    """Makes lines of metrics: `new_metrics(steps, seed, evaluations)`."""
    return make_metrics
