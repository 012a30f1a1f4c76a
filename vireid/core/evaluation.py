"""Scoring a model: embed every picture of every trial once, then score all trials from that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from vireid.core.data import ImageSet, Transform, default_workers, evaluation_loader
from vireid.core.errors import VireidError
from vireid.core.retrieval import RANKS, Scores, score
from vireid.core.types import Sample, Trial, joint_order


@dataclass(frozen=True)
class Embeddings:
    """L2-normalised embeddings of samples.

    Attributes:
        samples: N samples, sorted by modality.
        features: (N, D) float32.
    """

    samples: tuple[Sample, ...]
    features: np.ndarray
    _index: dict[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, '_index', {s.path: i for i, s in enumerate(self.samples)})

    def of(self, samples: Sequence[Sample]) -> np.ndarray:
        """Returns the (n, D) embeddings of `samples`, in their order."""
        return self.features[[self._index[s.path] for s in samples]]


@dataclass(frozen=True)
class Results:
    """All trials of a protocol, scored.

    Attributes:
        protocol: its name, printed with every number.
        trials: what was scored.
        scores: one for each trial.
        embeddings: of every image of every trial.
    """

    protocol: str
    trials: tuple[Trial, ...]
    scores: tuple[Scores, ...]
    embeddings: Embeddings

    def rows(self) -> list[dict[str, Any]]:
        """Returns one dict per trial name: mean and standard deviation over its trials, all as fractions.

        Keys: `name`, `trials`, `queries`, `valid`, and for each of R1, R5, R10, R20, mAP, mINP a (mean, std) pair
        (population standard deviation).
        """
        rows = []
        for name in dict.fromkeys(trial.name for trial in self.trials):
            scores = [s for t, s in zip(self.trials, self.scores, strict=True) if t.name == name]
            row: dict[str, Any] = {
                'name': name,
                'trials': len(scores),
                'queries': scores[0].queries,
                'valid': scores[0].valid,
            }
            columns = {f'R{k}': [s.rank(k) for s in scores] for k in RANKS}
            columns['mAP'] = [s.mean_ap for s in scores]
            columns['mINP'] = [s.mean_inp for s in scores]
            row.update({key: (float(np.mean(values)), float(np.std(values))) for key, values in columns.items()})
            rows.append(row)
        return rows

    def table(self) -> str:
        """Returns the rows as aligned text, in percent, mean +- standard deviation where there are several trials."""
        header = [self.protocol, *(f'R{k}' for k in RANKS), 'mAP', 'mINP', 'valid queries', 'trials']
        lines = [header]
        for row in self.rows():
            figures = []
            for key in header[1:-2]:
                mean, std = row[key]
                figures.append(f'{100 * mean:.2f}' + (f' ±{100 * std:.2f}' if row['trials'] > 1 else ''))
            lines.append([row['name'], *figures, f'{row["valid"]} of {row["queries"]}', str(row['trials'])])
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        text = ['  '.join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))])
                for line in lines]  # fmt: skip
        return '\n'.join([text[0], '-' * len(text[0]), *text[1:]])


def embed_samples(
    embedder: Any,
    samples: Sequence[Sample],
    transform: Transform,
    *,
    batch_size: int = 64,
    workers: int | None = None,
    device: torch.device | str = 'cpu',
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
        on_progress: called with (done, total) images.
    """
    unique = {s.path: s for s in samples}
    # one modality after the other, so that each batch belongs to one stream
    ordered = [
        s for m in joint_order({s.modality for s in unique.values()}) for s in unique.values() if s.modality == m
    ]
    if not ordered:
        raise VireidError(
            'the protocol has no pictures to embed', todo='check the test identities and the cameras of this protocol'
        )
    training = isinstance(embedder, torch.nn.Module) and embedder.training
    if isinstance(embedder, torch.nn.Module):
        embedder.eval()
    features = []
    loader = evaluation_loader(
        ImageSet(ordered, transform), batch_size, default_workers(device) if workers is None else workers
    )
    done = 0
    try:
        with torch.inference_mode():
            for batch in loader:
                for modality, images in batch.images.items():
                    embedded = embedder.embed(images.to(device), modality).float()
                    features.append(torch.nn.functional.normalize(embedded, dim=1).cpu())
                    done += len(images)
                if on_progress:
                    on_progress(done, len(ordered))
    finally:
        if training:
            embedder.train()
    return Embeddings(tuple(ordered), torch.cat(features).numpy())


def score_trials(embeddings: Embeddings, protocol: str, trials: Sequence[Trial]) -> Results:
    """Scores every trial from one set of embeddings."""
    scores = [score(embeddings.of(t.query), embeddings.of(t.gallery), t) for t in trials]
    return Results(protocol, tuple(trials), tuple(scores), embeddings)


def all_samples(trials: Sequence[Trial]) -> list[Sample]:
    """Returns the union of all trials' images, each once."""
    return list({s.path: s for t in trials for s in (*t.query, *t.gallery)}.values())
