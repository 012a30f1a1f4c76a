"""Scoring a model: embed every image of every trial once, then score all trials from that."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import torch
from torch.nn.functional import normalize

from vireid.core.data.image_set import ImageSet
from vireid.core.data.images import Reader, Transform
from vireid.core.data.loader import WorkerDied, default_workers, evaluation_loader
from vireid.core.distributed.batch_norm import share_buffers
from vireid.core.distributed.processes import gather_objects, world
from vireid.core.errors import VireidError
from vireid.core.registry.contracts import located, require_embedding
from vireid.core.scoring.embeddings import Embeddings
from vireid.core.scoring.results import Results
from vireid.core.scoring.retrieval import Scores, Ties, compare, score, score_similarity
from vireid.core.types import Batch, Sample, Trial, joint_order
from vireid.interfaces import Reranker, Similarity

FLIP = 'flip'


def embed_samples(
    embedder: Any,
    samples: Sequence[Sample],
    transform: Transform,
    *,
    batch_size: int = 64,
    workers: int | None = None,
    device: torch.device | str = 'cpu',
    flip: bool = False,
    read: Reader | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Embeddings:
    """Embeds each sample once.

    Args:
        embedder: has `embed(images, modality) -> (B, D)`; an `nn.Module` is put in evaluation mode meanwhile.
        samples: what to embed; duplicates are embedded once.
        transform: the evaluation transform, (3, H, W) uint8 -> (3, h, w) float32.
        batch_size: images at a time.
        workers: loader processes; chosen for the machine if None.
        device: where the images are sent.
        flip: embed the mirror images too.
        read: from a path to an image; decodes the file if None.
        on_progress: called with (done, total) images.
    """
    unique = {s.path: s for s in samples}
    # one modality after the other, so that each batch belongs to one stream
    ordered = [
        s for m in joint_order({s.modality for s in unique.values()}) for s in unique.values() if s.modality == m
    ]
    if not ordered:
        raise VireidError(
            'the protocol has no images to embed', todo='check the test identities and the cameras of this protocol'
        )
    training = isinstance(embedder, torch.nn.Module) and embedder.training
    if isinstance(embedder, torch.nn.Module):
        embedder.eval()
    own: list[list[tuple[torch.Tensor, torch.Tensor | None]]] = []
    # whole batches are shared out, so that each is what it is in one process, to the last bit
    rank, processes = world()
    chunks = [range(start, min(start + batch_size, len(ordered))) for start in range(0, len(ordered), batch_size)]
    rounds = -(-len(chunks) // processes)
    data = ImageSet(ordered, transform, read=read)
    workers = default_workers(device) if workers is None else workers

    def vectors(images: torch.Tensor, modality: str) -> torch.Tensor:
        with located(embedder):
            made = embedder.embed(images, modality)
        require_embedding(made, len(images), embedder)
        return made.float()

    def embed(batch: Batch) -> None:
        parts: list[tuple[torch.Tensor, torch.Tensor | None]] = []
        for modality, found in batch.images.items():
            images = found.to(device)
            embedded = vectors(images, modality)
            mirrored = vectors(images.flip(-1), modality) if flip else None
            both = None if mirrored is None else normalize(embedded + mirrored, dim=1).cpu()
            parts.append((normalize(embedded, dim=1).cpu(), both))
        own.append(parts)

    def tell(done: int) -> None:  # as often in every process, so that those told may agree on stopping
        if on_progress:
            on_progress(min(done * processes * batch_size, len(ordered)), len(ordered))

    if isinstance(embedder, torch.nn.Module):
        share_buffers(embedder)
    try:
        with torch.inference_mode():
            for batch in rest_of_batches(data, chunks[rank::processes], workers, own):
                embed(batch)
                tell(len(own))
            if len(own) < rounds:
                tell(rounds)
    finally:
        if training:
            embedder.train()
    every = gather_objects(own)
    pairs = [pair for number in range(len(chunks)) for pair in every[number % processes][number // processes]]
    plain = torch.cat([pair[0] for pair in pairs]).numpy()
    return Embeddings(tuple(ordered), plain, torch.cat([pair[1] for pair in pairs]).numpy() if flip else None)


def rest_of_batches(data: ImageSet, chunks: Sequence[range], workers: int, done: Sequence[Any]) -> Iterator[Batch]:
    """Yields the batches that are not `done`; if a loader process dies, once more those that are not by then.

    Raises:
        WorkerDied: if another one dies.
    """
    try:
        yield from evaluation_loader(data, chunks[len(done) :], workers)
    except WorkerDied as error:
        print(f'warning: {error.given}; its batch is read again', file=sys.stderr)
        yield from evaluation_loader(data, chunks[len(done) :], workers)


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
        embeddings: of every image of every trial; if they have `flipped`, those are scored beside the plain ones.
        protocol: its name.
        trials: what to score.
        similarity: ranks the gallery, and is named beside the protocol; cosine if None.
        reranker: scores re-ranked similarities, of the embeddings, beside the plain ones.
        ties: metrics of equally similar images are the `mean` over all their orders, or those of `gallery-order`, which
            is named beside the protocol.
        weights: which weights made the embeddings.
        data: what the images are.
        on_progress: called with (done, total) trials.
    """
    scores: dict[str, list[Scores]] = {}
    for done, trial in enumerate(trials):
        if on_progress:
            on_progress(done, len(trials))
        for flipped in (False, True) if embeddings.flipped is not None else (False,):
            query, gallery = embeddings.of(trial.query, flipped), embeddings.of(trial.gallery, flipped)
            if similarity is None:
                found = score(query, gallery, trial, ties)
            else:
                found = score_similarity(compare(similarity, query, gallery, trial), trial, ties)
            scores.setdefault(FLIP if flipped else '', []).append(found)
            if reranker is not None:
                beside = reranker.name if similarity is None else f'{reranker.name} of cosine'
                name = f'{FLIP}, {beside}' if flipped else beside
                found = score_similarity(reranker.similarity(query, gallery), trial, ties)
                scores.setdefault(name, []).append(found)
    if on_progress:
        on_progress(len(trials), len(trials))
    plain = tuple(scores.pop('', ()))
    variants = {name: tuple(found) for name, found in scores.items()}
    named = protocol if similarity is None else f'{protocol}, {similarity.name}'
    if ties == 'gallery-order':
        named += ', ties in gallery order'
    return Results(named, tuple(trials), plain, embeddings, variants, weights, data, similarity, split)


def all_samples(trials: Sequence[Trial], more: Sequence[Sample] = ()) -> list[Sample]:
    """Returns the union of all trials' images and of `more`, each once."""
    found = {s.path: s for t in trials for s in (*t.query, *t.gallery)}
    return list((found | {s.path: s for s in more}).values())
