"""Embeds every image of all trials once, then scores all trials from these embeddings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch.nn.functional import normalize

from vireid.core.data.image_set import ImageSet
from vireid.core.data.images import ReadImage, Transform
from vireid.core.data.loader import Batches, default_workers
from vireid.core.registry.contracts import located, require_embedding
from vireid.core.scoring.embeddings import Embeddings
from vireid.core.scoring.results import Results
from vireid.core.scoring.retrieval import compare, score, score_similarity
from vireid.core.types import Batch, Sample, Trial, joint_order
from vireid.errors import TooFew
from vireid.interfaces import Reranker, Similarity
from vireid.runtime.batch_norm import share_buffers
from vireid.runtime.memory import within_memory
from vireid.runtime.processes import gather_objects, world
from vireid.statistics.scores import Scores, Ties

FLIP = 'flip'


def embed_samples(
    embedder: Any,
    samples: Sequence[Sample],
    transform: Transform,
    *,
    batch_size: int = 64,
    precision: Literal['32-true', 'bf16-mixed'] = '32-true',
    workers: int | None = None,
    device: torch.device | str = 'cpu',
    flip: bool = False,
    read: ReadImage | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Embeddings:
    """Embeds each sample once.

    Args:
        embedder: object with `embed(images, modality) -> (B, D)`; a module is temporarily set to eval mode.
        samples: the samples; duplicates are embedded once.
        transform: the test transform, (3, H, W) uint8 -> (3, h, w) float32.
        batch_size: images per batch.
        precision: of the embedder; embeddings are normalized in float32.
        workers: loader processes; None selects a number for this machine.
        device: device of the embedder.
        flip: also embed the mirror images.
        read: loads an image from a path; None decodes the file.
        on_progress: called with (done, total) images.

    Raises:
        VireidError: if there are no samples, an image cannot be read, or the embedder returns the wrong shape.
    """
    unique = {s.path: s for s in samples}
    # sorted by modality, so that each batch goes through one stream
    ordered = [
        s for m in joint_order({s.modality for s in unique.values()}) for s in unique.values() if s.modality == m
    ]
    if not ordered:
        raise TooFew(
            'the protocol has no images to embed', todo='check the test identities and the cameras of this protocol'
        )
    training = isinstance(embedder, torch.nn.Module) and embedder.training
    if isinstance(embedder, torch.nn.Module):
        embedder.eval()
    own: list[list[tuple[torch.Tensor, torch.Tensor | None]]] = []
    # whole batches are distributed, so that embeddings are bit-identical to those of a single process
    rank, processes = world()
    chunks = [range(start, min(start + batch_size, len(ordered))) for start in range(0, len(ordered), batch_size)]
    rounds = -(-len(chunks) // processes)
    data = ImageSet(ordered, transform, read=read)
    workers = default_workers(device) if workers is None else workers

    def vectors(images: torch.Tensor, modality: str) -> torch.Tensor:
        what = f'embedding {len(images)} images at once on {images.device}'
        reduced = torch.autocast(images.device.type, torch.bfloat16, enabled=precision == 'bf16-mixed')
        with within_memory(what, 'lower evaluation.batch_size'), located(embedder), reduced:
            embedding = embedder.embed(images, modality)
        require_embedding(embedding, len(images), embedder)
        return embedding.float()

    def embed(batch: Batch) -> None:
        parts: list[tuple[torch.Tensor, torch.Tensor | None]] = []
        for modality, images in batch.images.items():
            embedded = vectors(images, modality)
            mirrored = vectors(images.flip(-1), modality) if flip else None
            both = None if mirrored is None else normalize(embedded + mirrored, dim=1).cpu()
            parts.append((normalize(embedded, dim=1).cpu(), both))
        own.append(parts)

    def report(done: int) -> None:  # equally often in every process, so that callbacks can agree on stopping
        if on_progress:
            on_progress(min(done * processes * batch_size, len(ordered)), len(ordered))

    if isinstance(embedder, torch.nn.Module):
        share_buffers(embedder)
    try:
        with torch.inference_mode():
            for batch in Batches(data, chunks[rank::processes], workers, torch.device(device)):
                embed(batch)
                report(len(own))
            if len(own) < rounds:
                report(rounds)
    finally:
        if training:
            embedder.train()
    every = gather_objects(own)
    pairs = [pair for number in range(len(chunks)) for pair in every[number % processes][number // processes]]
    plain = torch.cat([pair[0] for pair in pairs]).numpy()
    return Embeddings(tuple(ordered), plain, torch.cat([pair[1] for pair in pairs]).numpy() if flip else None)


def score_trials(
    embeddings: Embeddings,
    protocol: str,
    trials: Sequence[Trial],
    *,
    similarity: Similarity | None = None,
    reranker: Reranker | None = None,
    ties: Ties = 'mean',
    weights: str = '',
    data: str = '',
    split: Literal['test', 'validation'] = 'test',
    on_progress: Callable[[int, int], None] | None = None,
) -> Results:
    """Scores every trial from one set of embeddings.

    Args:
        embeddings: embeddings of all images of all trials; if they have `flipped`, these are scored as a variant.
        protocol: name of the protocol.
        trials: the trials.
        similarity: ranks the gallery and is added to the protocol's name; None is cosine similarity.
        reranker: re-ranks the embeddings; scored as a variant.
        ties: how to score equally similar images: the `mean` over all their orders, or in `gallery-order`, which is
            added to the protocol's name.
        weights: description of the weights that produced the embeddings.
        data: name of the data.
        split: the split that the trials are drawn from.
        on_progress: called with (done, total) trials.

    Raises:
        VireidError: if a trial cannot be scored, or an embedding or similarity is missing or invalid.
    """
    scores: dict[str, list[Scores]] = {}
    for done, trial in enumerate(trials):
        if on_progress:
            on_progress(done, len(trials))
        for flipped in (False, True) if embeddings.flipped is not None else (False,):
            query, gallery = embeddings.of(trial.query, flipped), embeddings.of(trial.gallery, flipped)
            if similarity is None:
                plain = score(query, gallery, trial, ties)
            else:
                plain = score_similarity(compare(similarity, query, gallery, trial), trial, ties)
            scores.setdefault(FLIP if flipped else '', []).append(plain)
            if reranker is not None:
                reranked = reranker.name if similarity is None else f'{reranker.name} of cosine'
                name = f'{FLIP}, {reranked}' if flipped else reranked
                scores.setdefault(name, []).append(score_similarity(reranker.similarity(query, gallery), trial, ties))
    if on_progress:
        on_progress(len(trials), len(trials))
    main = tuple(scores.pop('', ()))
    variants = {name: tuple(of_trials) for name, of_trials in scores.items()}
    named = protocol if similarity is None else f'{protocol}, {similarity.name}'
    if ties == 'gallery-order':
        named += ', ties in gallery order'
    return Results(named, tuple(trials), main, embeddings, variants, weights, data, similarity, split)


def all_samples(trials: Sequence[Trial], more: Sequence[Sample] = ()) -> list[Sample]:
    """Returns the union of all trials' images and `more`, without duplicates."""
    samples = {s.path: s for t in trials for s in (*t.query, *t.gallery)}
    return list((samples | {s.path: s for s in more}).values())
