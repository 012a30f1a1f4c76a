"""Contract checks for transforms, samplers, similarities, indexes, detectors, launchers and re-rankers."""

from __future__ import annotations

import io
import pickle
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vireid.core.registry.signature import names_argument, signature_of
from vireid.core.scoring.embeddings import Embeddings
from vireid.core.scoring.retrieval import compare
from vireid.core.types import INFRARED, MODALITIES, VISIBLE, Sample, Trial
from vireid.interfaces import Similarity, Transform
from vireid.launcher_types import JobCommand
from vireid.runtime.randomness import seeded
from vireid.testing.promises import Builder, no_random_numbers, require

TIMEOUT = 120  # seconds for a launcher to run two short commands


def _check_transform(build: Builder) -> None:
    transform = build(size=(64, 32)) if 'size' in signature_of(build.target).parameters else build()
    context = {'modality': VISIBLE} if names_argument(transform, 'modality') else {}
    whole = torch.randint(256, (3, 90, 50), dtype=torch.uint8)
    outputs: list[Tensor] = []
    failures: list[Exception] = []
    for image in (whole, whole.float() / 255):
        try:
            images = []
            for _ in range(2):
                with seeded('check', 0):
                    images.append(transform(image.clone(), **context))
            outputs += images[:1]
        except Exception as error:  # supporting one of the two dtypes is enough
            failures.append(error)
            continue
        require(isinstance(images[0], Tensor) and images[0].dim() == 3, f'it outputs a {type(images[0]).__name__}')
        require(
            torch.equal(*images),
            'it uses random numbers from a source other than torch, numpy or random: the same seed gives another image',
        )
        if Transform.whole_batch(transform):
            several = torch.stack([image.roll(shift, dims=-1) for shift in range(8)])
            with seeded('check', 0):
                alone = torch.stack([transform(one.clone(), **context) for one in several])
            require(
                torch.allclose(transform(several.clone(), **context).float(), alone.float()),
                '`whole_batch` is True, but it transforms a batch differently from each of its images',
            )
    if not outputs:
        raise failures[0]
    pickle.loads(pickle.dumps(transform))  # noqa: S301, pickled right here


def _check_sampler(build: Builder) -> None:
    samples = tuple(
        Sample(f'{m}{identity}{shot}', identity, 1 if m == VISIBLE else 2, m)
        for m in MODALITIES
        for identity in range(8)
        for shot in range(4)
    )

    def draw(epoch: int, rank: int = 0, world_size: int = 1) -> list[list[int]]:
        sampler = build(samples=samples, seed=3, rank=rank, world_size=world_size)
        batches = [list(map(int, batch)) for batch in sampler.batches(epoch)]
        require(len(batches) == len(sampler), f'its len is {len(sampler)} but it yields {len(batches)} batches')
        return batches

    torch.manual_seed(0)  # as when the experiment is built
    with no_random_numbers('it'):
        first = draw(0)
    require(first == draw(0), 'the same seed and epoch give other batches')
    require(first != draw(1), 'every epoch has the same batches')
    require(first != draw(0, 1, 2), 'two processes get the same batches')
    require(all(0 <= index < len(samples) for batch in first for index in batch), 'it yields indices out of range')
    for batch in first:
        require({samples[index].modality for index in batch} == set(MODALITIES), 'a batch lacks a modality')


def _check_reranker(build: Builder) -> None:
    rng = np.random.default_rng(0)
    query, gallery = (rng.standard_normal((n, 8)).astype(np.float32) for n in (7, 11))
    query, gallery = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (query, gallery))
    reranker = build()
    before = query.copy(), gallery.copy()
    similarity = reranker.similarity(query, gallery)
    whole = similarity(slice(0, 7))
    require(whole.shape == (7, 11) and np.isfinite(whole).all(), f'similarities are {whole.shape}, or not finite')
    parts = np.concatenate([similarity(slice(0, 3)), similarity(slice(3, 7))])
    require(np.allclose(whole, parts, atol=1e-5), 'a slice of the queries gives other similarities than all of them')
    require((query == before[0]).all() and (gallery == before[1]).all(), 'it modifies the embeddings')


def _check_similarity(build: Builder) -> None:
    rng = np.random.default_rng(0)
    embeddings = {m: rng.standard_normal((12, 8)).astype(np.float32) for m in MODALITIES}
    embeddings = {m: x / np.linalg.norm(x, axis=1, keepdims=True) for m, x in embeddings.items()}
    samples = {m: tuple(Sample(f'{m}{i}', i // 3, 1 + (m != VISIBLE), m) for i in range(12)) for m in MODALITIES}
    whole = Embeddings(tuple(s for m in MODALITIES for s in samples[m]), np.concatenate(list(embeddings.values())))
    trial = Trial('checked', 0, samples[INFRARED][:7], samples[VISIBLE][:11])
    query, gallery = whole.of(trial.query), whole.of(trial.gallery)

    def make() -> Any:
        return build(model=torch.nn.Module() if build.inputs is None else build.inputs)

    measure = make()
    if fit := Similarity.fit(measure):
        fit(whole)
        file = io.BytesIO()
        torch.save(dict(measure.state_dict()), file)
        file.seek(0)
        other = make()
        other.load_state_dict(torch.load(file, weights_only=True))  # as from a checkpoint: tensors and plain values
        repeated = compare(other, query, gallery, trial)(slice(None))
        require(
            np.array_equal(compare(measure, query, gallery, trial)(slice(None)), repeated),
            'another instance with its state dict gives other similarities',
        )
    similarity = compare(measure, query, gallery, trial)
    parts = np.concatenate([similarity(slice(0, 3)), similarity(slice(3, 7))])
    require(
        np.allclose(similarity(slice(None)), parts, atol=1e-5),
        'a slice of the queries gives other similarities than all of them',
    )
    require((query == whole.of(trial.query)).all(), 'it modifies the embeddings')


def _check_index(build: Builder) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((24, 8)).astype(np.float32)
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)
    entries = [
        SimpleNamespace(row=row, modality=MODALITIES[row % 2], camera=str(row % 3), time=f'2026-11-29 22:{row:02}:00')
        for row in range(24)
    ]
    queries = vectors[:5].astype(np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    every, none = np.arange(24), np.empty(0, dtype=np.int64)
    no_filter = SimpleNamespace(cameras=(), after=None, before=None, modality=None)
    filters: list[dict[str, Any]] = [
        {'cameras': ('0', '2')},
        {'modality': VISIBLE},
        {'after': datetime(2026, 11, 29, 22, 3), 'before': datetime(2026, 11, 29, 22, 19)},
    ]
    allowed = [every[every % 3 != 1], every[::2], every[3:20]]

    def compare_with_all(index: Any, live: np.ndarray, rows: np.ndarray | None, where: Any, what: str) -> None:
        scores, numbers = index.search(vectors, queries, 6, rows, where)
        require(
            scores.shape == numbers.shape == (5, 6) and scores.dtype == np.float32 and numbers.dtype == np.int64,
            f'{what} returns {scores.dtype} {scores.shape} and {numbers.dtype} {numbers.shape}, '
            'not float32 (Q, k) and int64 (Q, k)',
        )
        for query, own, hits in zip(queries, scores, numbers, strict=True):
            known = hits[hits >= 0]
            require(len(set(known.tolist())) == len(known), f'{what} returns an image twice')
            require(np.isin(known, live).all(), f'{what} finds images that are not allowed, or were removed')
            right = vectors.astype(np.float32) @ query
            require(
                np.allclose(own[hits >= 0], right[known], atol=2e-3) and (np.diff(own[hits >= 0]) <= 0).all(),
                f'{what} returns scores that are not cosine similarities, best first',
            )
            require(len(known) and right[known[0]] >= right[live].max() - 2e-3, f'{what} misses the most similar image')

    with tempfile.TemporaryDirectory() as folder:
        index = build(folder=Path(folder), length=8)
        for _ in range(2):  # again, as after a crash
            index.update(vectors, every, entries, none)
            compare_with_all(index, every, None, no_filter, 'a search')
        compare_with_all(build(folder=Path(folder), length=8), every, None, no_filter, 'another instance')
        for own, rows in zip(filters, allowed, strict=True):
            where = SimpleNamespace(**{**vars(no_filter), **own})
            compare_with_all(index, rows, rows, where, f'a search by {" and ".join(own)}')
        left = every[2:]
        index.update(vectors, left, [], every[:2])
        compare_with_all(index, left, left, no_filter, 'a search after images were removed')
        index.update(vectors, every, entries[:2], none)
        compare_with_all(index, every, None, no_filter, 'a search after numbers were used again')


def _check_detector(build: Builder) -> None:
    detect = build(device=torch.device('cpu'))
    images = [torch.randint(0, 256, (3, *size), dtype=torch.uint8) for size in ((96, 128), (96, 128), (72, 64))]
    before = [image.clone() for image in images]
    detections = detect(images)
    require(len(detections) == len(images), f'it returns {len(detections)} results for {len(images)} images')
    for boxes, scores in detections:
        require(
            boxes.ndim == 2 and boxes.shape[1] == 4 and scores.shape == boxes.shape[:1],
            f'it returns boxes {tuple(boxes.shape)} and scores {tuple(scores.shape)}, not (N, 4) and (N,)',
        )
        require(
            bool(torch.isfinite(boxes).all() and (boxes[:, 2:] >= boxes[:, :2]).all()),
            'it returns boxes that are not left, top, right, bottom',
        )
    require(all(map(torch.equal, images, before)), 'it modifies the images')
    require(len(detect([])) == 0, 'it returns results for no image')


def _check_launcher(build: Builder) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        program = 'import sys; print("ran"); sys.exit({})'
        commands = [
            JobCommand(f'run {status}', (sys.executable, '-c', program.format(status)), folder / f'{status}.log')
            for status in (0, 3)
        ]
        launcher = build(jobs=None, folder=folder)
        launcher.submit(commands)
        states, begin = list(launcher.states()), time.monotonic()
        while any(state.status != 'ended' for state in states):
            require(time.monotonic() < begin + TIMEOUT, f'after {TIMEOUT} seconds, it has not run two short commands')
            time.sleep(0.05)
            states = list(launcher.states())
        require(len(states) == 2, f'it returns {len(states)} states for 2 commands')
        statuses = [state.exit for state in states]
        require(statuses == [0, 3], f'it returns the exit statuses {statuses} for commands that end with 0 and 3')
        for command in commands:
            text = command.output.read_text(encoding='utf-8') if command.output.exists() else ''
            require('ran' in text, 'it does not write what a command prints to its output file')
        launcher.submit(commands[1:])  # such as the rows of a table after its common start
        while (states := list(launcher.states()))[0].status != 'ended':
            require(time.monotonic() < begin + 2 * TIMEOUT, 'it does not run the commands of a second submit()')
            time.sleep(0.05)
        require([s.exit for s in states] == [3], 'after a second submit(), it returns states of the first')
        require(isinstance(launcher.stop(), bool), 'stop() does not return True or False')


CHECKS = {
    'detectors': _check_detector,
    'launchers': _check_launcher,
    'indexes': _check_index,
    'similarities': _check_similarity,
    'transforms': _check_transform,
    'samplers': _check_sampler,
    'rerankers': _check_reranker,
}
