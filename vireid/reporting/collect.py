"""Collects the evidence of an evaluation: the similarities, embeddings and images that reports show later."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image

from vireid.boundary.image_files import ScaleRaw, read_pixels
from vireid.boundary.showing import some
from vireid.console.wording import counted
from vireid.core.data.images import Decoder
from vireid.core.scoring.embeddings import Embeddings
from vireid.core.scoring.results import Results
from vireid.core.scoring.retrieval import labels
from vireid.core.types import MODALITIES, Sample, Trial
from vireid.errors import VireidError
from vireid.reporting.evidence import Evidence
from vireid.reporting.explain import ImagePair, explain
from vireid.reporting.graph import describe_graph
from vireid.reporting.projection import principal_components, tsne
from vireid.reporting.ranking_lists import RankedQueries, Shown, rank_queries, select_lists
from vireid.statistics.calibration import Calibration, expected_error, reliability, top_hits
from vireid.statistics.scores import matched_within

RANKS = 50  # of the CMC to keep
POINTS = 800  # embeddings in the plane
COMPARED = 1500  # images of each modality for the distance histograms
BINS = 100
THUMB = (64, 128)  # width, height; people are upright
RIGHT_PAIRS, WRONG_PAIRS = 3, 2
ANY = 2**63 - 1  # pixels: an image that was scored is within its limit


def collect(
    results: Results,
    model: Any = None,
    transform: Any = None,
    device: Any = 'cpu',
    name: str = '',
    scale_raw: ScaleRaw = None,
    calibration: Calibration | None = None,
) -> Evidence:
    """Collects the evidence of an evaluation.

    Ranking lists, distances and explanations come from the first trial of the first row; scores by identity and camera
    from all trials of that row.

    Args:
        results: the evaluation.
        model: the model that was scored, to explain where it looks; None skips that.
        transform: transform of test images, for the model.
        device: the model's device.
        name: name of the run.
        scale_raw: how raw values become gray levels, as in `images.scale_raw`.
        calibration: calibration of the model, to compare its probabilities with the test.

    Returns:
        The evidence; its notes say what is missing, and why.
    """
    seed = np.random.default_rng(0)
    shown = Shown()
    notes: list[str] = []
    first = results.trials[0]
    queries = rank_queries(results, first)
    lists, kinds = select_lists(queries, first, shown, seed)
    points = _points(results.embeddings, first, shown, seed, notes)
    pairs = _pairs(queries, first)
    maps = {} if model is None else explain(model, pairs, transform, device, notes, Decoder(ANY, scale_raw))
    about = {
        **_about(results, name),
        'identities': _table(results, lambda sample: sample.identity, 'identity'),
        'cameras': _table(results, lambda sample: sample.camera, 'camera'),
        'graph': describe_graph(model),
        'kinds': kinds,
        'pairs': [
            {'images': [shown.add(p.query), shown.add(p.gallery)], 'similarity': p.similarity, 'right': p.right}
            for p in pairs
        ]
        if maps
        else [],
        'notes': notes,
    }
    thumbs = _show(shown, about, results, scale_raw)
    return Evidence(
        about, thumbs, _cmc(results), _distances(results.embeddings, first, seed), lists, points, maps,
        {} if calibration is None else _reliability(results.embeddings, calibration),
    )  # fmt: skip


def collect_lists(results: Results, name: str = '', scale_raw: ScaleRaw = None) -> Evidence:
    """Collects the same ranking lists as `collect` and nothing else, in a second or two instead of ten.

    Args:
        results: the evaluation.
        name: name of the run.
        scale_raw: how raw values become gray levels, as in `images.scale_raw`.
    """
    shown, first = Shown(), results.trials[0]
    lists, kinds = select_lists(rank_queries(results, first), first, shown, np.random.default_rng(0))
    about = {**_about(results, name), 'kinds': kinds, 'notes': []}
    return Evidence(about, _show(shown, about, results, scale_raw), lists=lists)


def _about(results: Results, name: str) -> dict[str, Any]:
    """Returns what evidence says of an evaluation as a whole."""
    first = results.trials[0]
    return {
        'name': name,
        **results.to_dict(),
        'similarity': '' if results.similarity is None else results.similarity.name,
        'trial': f'trial {first.index} of {first.name}',
    }


def _show(shown: Shown, about: dict[str, Any], results: Results, scale_raw: ScaleRaw) -> list[bytes]:
    """Adds the images shown and their names to `about`, and those that cannot be read to its notes; returns thumbs."""
    thumbs = [_thumb(sample, scale_raw) for sample in shown.samples]
    unreadable = [s.path for s, thumb in zip(shown.samples, thumbs, strict=True) if not thumb]
    if unreadable:
        about['notes'].append(f'{counted(len(unreadable), "unreadable image")} left out: {some(unreadable, 3)}')
    about['images'] = [[s.path, s.identity, s.camera, s.modality] for s in shown.samples]
    about['names'] = {
        str(s.identity): s.name
        for trial in results.trials
        for s in (*trial.query, *shown.samples)
        if s.name != str(s.identity)
    }
    return thumbs


def _pairs(ranked: RankedQueries, trial: Trial) -> list[ImagePair]:
    """Selects pairs to explain, of different identities: queries with a correct, and with a wrong, top-1 image."""
    pairs: list[ImagePair] = []
    used: set[int] = set()
    for correct, count in ((True, RIGHT_PAIRS), (False, WRONG_PAIRS)):
        before = len(pairs)
        rows = np.flatnonzero(ranked.right[:, 0] == correct)
        for row in rows[np.linspace(0, len(rows) - 1, min(len(rows), 50)).astype(int)] if len(rows) else ():
            query = trial.query[ranked.query[row]]
            if query.identity not in used and len(pairs) - before < count:
                used.add(query.identity)
                gallery = trial.gallery[ranked.order[row, 0]]
                pairs.append(ImagePair(query, gallery, float(ranked.similarity[row, 0]), bool(correct)))
    return pairs


def _points(
    embeddings: Embeddings, trial: Trial, shown: Shown, rng: np.random.Generator, notes: list[str]
) -> dict[str, np.ndarray]:
    """Projects complete identities, as many as fit, so that their images can be seen together."""
    samples = list(dict.fromkeys((*trial.query, *trial.gallery)))
    people: dict[int, list[Sample]] = {}
    for sample in samples:
        people.setdefault(sample.identity, []).append(sample)
    chosen: list[Sample] = []
    for identity in rng.permutation(sorted(people)):
        room = POINTS - len(chosen)
        own = people[int(identity)]
        if len(own) <= room:
            chosen += own
        elif not chosen:  # an identity with more images than fit
            chosen += own[:room]
    features = embeddings.of(chosen)
    pca, explained = principal_components(features)
    try:
        near = tsne(features)
    except ImportError:
        near = np.zeros((0, 2))
        notes.append('t-SNE needs scikit-learn: pip install "vireid[report]"')
    image = np.array([shown.add(sample) for sample in chosen], dtype=np.int64)
    return {'image': image, 'pca': pca, 'explained': explained, 'tsne': near}


def _distances(embeddings: Embeddings, trial: Trial, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Returns histograms of the cosine distances in a trial, by same or different identity and by modality."""
    samples = list(dict.fromkeys((*trial.query, *trial.gallery)))
    parts: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for modality in MODALITIES:
        own = [s for s in samples if s.modality == modality]
        own = [own[i] for i in np.sort(rng.choice(len(own), min(len(own), COMPARED), replace=False))]
        if own:
            parts[modality] = (embeddings.of(own), labels(own)[0])
    counts: dict[str, np.ndarray] = {}

    def count(where: str, a: str, b: str) -> None:
        distance = 1 - parts[a][0] @ parts[b][0].T
        same = parts[a][1][:, None] == parts[b][1][None]
        pairs = np.triu(np.ones(same.shape, dtype=bool), 1) if a == b else np.ones(same.shape, dtype=bool)
        for name, which in (('same', same), ('different', ~same)):
            values = np.clip(distance[which & pairs], 0, 2)
            counts[f'{name} {where}'] = np.histogram(values, BINS, (0, 2))[0]

    if len(parts) == len(MODALITIES):
        count('across', *MODALITIES)
    for modality in parts:
        count(f'within {modality}', modality, modality)
    return {key: values for key, values in counts.items() if _both(counts, key)}


def _reliability(embeddings: Embeddings, calibration: Calibration) -> dict[str, np.ndarray]:
    """Compares the probabilities of the best hits of each image in the other modality with how many are right."""
    own = {m: [sample for sample in embeddings.samples if sample.modality == m] for m in MODALITIES}
    if not all(own.values()):
        return {}
    parts = {m: (embeddings.of(samples), labels(samples)[0]) for m, samples in own.items()}
    values, right = [], []
    for modality, other in (MODALITIES, MODALITIES[::-1]):
        (queries, people), (gallery, others) = parts[modality], parts[other]
        step = -(-len(queries) // COMPARED)
        similarity = queries[::step] @ gallery.T
        top = top_hits(similarity)
        scores = np.take_along_axis(similarity, top, axis=1)
        values.append(calibration.side(modality).probability(scores, len(gallery)).ravel())
        right.append((others[top] == people[::step, None]).ravel())
    probabilities, same = np.concatenate(values), np.concatenate(right)
    count, probability, share = reliability(probabilities, same)
    error = np.array([expected_error(probabilities, same)])
    return {'count': count, 'probability': probability, 'share': share, 'error': error}


def _both(counts: dict[str, np.ndarray], key: str) -> bool:
    """Returns whether `key` has pairs of the same identity and of different identities."""
    where = key.partition(' ')[2]
    return all(counts[f'{name} {where}'].any() for name in ('same', 'different'))


def _cmc(results: Results) -> dict[str, np.ndarray]:
    """Returns the mean CMC of each row of the table."""
    curves = {}
    for name in dict.fromkeys(trial.name for trial in results.trials):
        for variant, scores in {'': results.scores, **results.variants}.items():
            own = [s for t, s in zip(results.trials, scores, strict=True) if t.name == name]
            length = min(RANKS, max(s.length for s in own))
            curves[f'{name}, {variant}' if variant else name] = np.mean(
                [[s.rank(k) for k in range(1, length + 1)] for s in own], axis=0
            )
    return curves


def _table(results: Results, key: Any, name: str) -> list[dict[str, Any]]:
    """Returns the scores by identity or by camera, over the trials of the first row."""
    groups: dict[tuple[int, str], list[tuple[float, float]]] = {}
    for trial, scores in zip(results.trials, results.scores, strict=True):
        if trial.name != results.trials[0].name:
            continue
        hits = matched_within(scores.columns(), 1)
        for sample, hit, ap in zip(_valid(trial), hits, scores.ap, strict=True):
            groups.setdefault((key(sample), sample.modality if name == 'camera' else ''), []).append(
                (float(hit), float(ap))
            )
    rows = []
    for (value, modality), hits_and_aps in groups.items():
        r1, mean_ap = np.mean(hits_and_aps, axis=0)
        row = {name: value, 'queries': len(hits_and_aps), 'R1': float(r1), 'mAP': float(mean_ap)}
        rows.append({**row, 'modality': modality} if modality else row)
    return sorted(rows, key=lambda row: (row['mAP'], row[name]))


def _valid(trial: Trial) -> list[Sample]:
    """Returns the queries that have a match, in the order of `Scores`."""
    query_ids, query_cameras = labels(trial.query)
    gallery_ids, gallery_cameras = labels(trial.gallery)
    match = query_ids[:, None] == gallery_ids[None]
    if trial.drop is not None:
        match &= ~trial.drop(query_ids[:, None], query_cameras[:, None], gallery_ids[None], gallery_cameras[None])
    return [trial.query[i] for i in np.flatnonzero(match.any(axis=1))]


def _thumb(sample: Sample, scale_raw: ScaleRaw) -> bytes:
    """Returns a small JPEG of an image; empty if it cannot be read."""
    try:
        array = read_pixels(sample.path, ANY, scale_raw, thumbnail=(2 * THUMB[0], 2 * THUMB[1]))
    except VireidError:
        return b''
    small = Image.fromarray(array).resize(THUMB, Image.Resampling.BILINEAR)
    packed = io.BytesIO()
    small.save(packed, 'JPEG', quality=75, optimize=True)
    return packed.getvalue()
