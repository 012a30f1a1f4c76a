"""The results of an evaluation: scores of every trial, as rows, as a table and as a file."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vireid.boundary.showing import as_json
from vireid.boundary.writing import write_whole
from vireid.console.wording import aligned
from vireid.core.scoring.embeddings import Embeddings
from vireid.core.scoring.retrieval import compare
from vireid.core.types import Trial
from vireid.interfaces import Similarity
from vireid.statistics.identical import identical_embeddings, identical_note
from vireid.statistics.interval import add_intervals
from vireid.statistics.scores import METRICS, RANKS, Scores, matched_within, metric_values

FILE = 'result.json'
QUERIES = 'queries.npz'  # the metrics of each query, in the same folder
MIN_TIED_SHARE = 0.01  # smallest share of tied queries that a table mentions; a few always tie by rounding


@dataclass(frozen=True)
class Results:
    """The scores of all trials of a protocol.

    Attributes:
        protocol: name of the protocol, printed with every result.
        trials: the trials.
        scores: plain scores, one per trial.
        embeddings: embeddings of all images of all trials.
        variants: additional scores of the same trials (flip averaging, re-ranking) by name.
        weights: the weights that were scored, such as `after step 500`.
        data: name of the data, such as `SYSU-MM01`, or a note that it is synthetic.
        similarity: the similarity that ranked the gallery; None is cosine similarity.
        split: `test`, or `validation` if the validation split was scored in its place.
    """

    protocol: str
    trials: tuple[Trial, ...]
    scores: tuple[Scores, ...]
    embeddings: Embeddings
    variants: Mapping[str, tuple[Scores, ...]] = field(default_factory=dict)
    weights: str = ''
    data: str = ''
    similarity: Similarity | None = None
    split: Literal['test', 'validation'] = 'test'

    def similarities(self, trial: Trial) -> np.ndarray:
        """Returns the (Q, G) similarities that ranked a trial."""
        query, gallery = self.embeddings.of(trial.query), self.embeddings.of(trial.gallery)
        if self.similarity is not None:
            return compare(self.similarity, query, gallery, trial)(slice(None))
        similarities: np.ndarray = query @ gallery.T
        return similarities

    def rows(self) -> list[dict[str, Any]]:
        """Returns a dict for each trial name, followed by one for each of `variants`; all metrics are fractions.

        Keys: `name`; `variant`, empty for plain scores; `trials`, their number; `queries` and `valid`, each (minimum,
        maximum) over the trials; and for each of R1, R5, R10, R20, mAP, mINP the `mean` and population `std` over the
        trials. With fewer than 100 test identities, each metric also has `low` and `high`, a 95% interval over
        `identities`. If metrics depend on the order of equally similar images, `tied` is the share of valid queries
        affected (mean over trials), and `ties` how they were scored: `mean` over their orders, or `gallery-order`.
        """
        rows = []
        for name in dict.fromkeys(trial.name for trial in self.trials):
            for variant, scores in {'': self.scores, **self.variants}.items():
                own = [s for t, s in zip(self.trials, scores, strict=True) if t.name == name]
                columns = [metric_values(s.columns()) for s in own]
                means = {key: [float(c[key].mean()) for c in columns] for key in METRICS}
                row = {
                    'name': f'{name}, {variant}' if variant else name,
                    'variant': variant,
                    'trials': len(own),
                    'queries': (min(s.queries for s in own), max(s.queries for s in own)),
                    'valid': (min(s.valid for s in own), max(s.valid for s in own)),
                    **{key: {'mean': float(np.mean(v)), 'std': float(np.std(v))} for key, v in means.items()},
                }
                values = {key: np.concatenate([c[key] for c in columns]) for key in METRICS}
                trial = np.repeat(np.arange(len(own)), [s.valid for s in own])
                add_intervals(row, values, np.concatenate([s.identities for s in own]), trial)
                if ties := [s.ties for s in own if s.ties is not None]:
                    row['tied'] = float(np.mean([s.tied.mean() for s in own]))
                    row['ties'] = 'gallery-order' if ties[0].cmc is None else 'mean'
                rows.append(row)
        return rows

    def queries(self) -> dict[str, np.ndarray]:
        """Returns the metrics of each valid query of each row and trial, as columns of equal length.

        Columns: `row` (index in `rows()`), `trial`, `identity`, `ahead`, `ap`, `inp`; see `Scores`. For means over
        the orders of ties also `R1`, `R5`, `R10` and `R20`, since `ahead` does not determine them then.
        """
        columns: dict[str, list[np.ndarray]] = {}
        scored = [s for scores in (self.scores, *self.variants.values()) for s in scores]
        means = any(s.ties is not None and s.ties.within is not None for s in scored)
        row = 0
        for name in dict.fromkeys(trial.name for trial in self.trials):
            for scores in (self.scores, *self.variants.values()):
                for trial, s in zip(self.trials, scores, strict=True):
                    if trial.name == name:
                        place = {'row': np.full(s.valid, row), 'trial': np.full(s.valid, trial.index)}
                        metrics = s.columns()
                        if means:
                            metrics |= {f'R{k}': matched_within(metrics, k) for k in RANKS}
                        for key, values in {**place, **metrics}.items():
                            columns.setdefault(key, []).append(values)
                row += 1
        return {key: np.concatenate(values) for key, values in columns.items()}

    @cached_property
    def identical(self) -> dict[str, int] | None:
        """The counts of `identical_embeddings`; None if they are not worth reporting."""
        place = {sample.path: index for index, sample in enumerate(self.embeddings.samples)}
        trials = [[[place[s.path] for s in side] for side in (t.query, t.gallery)] for t in self.trials if place]
        return identical_embeddings(self.embeddings.features, trials)

    def table(self) -> str:
        """Returns the rows as aligned text, in percent; with several trials, mean and standard deviation."""
        text = table(self.protocol, self.rows())
        return f'{text}\n{identical_note(self.identical)}' if self.identical else text

    __repr__ = table  # for notebooks

    def to_dict(self) -> dict[str, Any]:
        """Returns the data, the protocol, the weights and the rows as plain values."""
        about: dict[str, Any] = {'data': self.data, 'protocol': self.protocol, 'weights': self.weights}
        return about | ({'identical': self.identical} if self.identical else {}) | {'rows': self.rows()}

    def caption(self) -> str:
        """Returns the caption of the table: the data and the weights."""
        return ', '.join(filter(None, [self.data, self.weights]))


def table(protocol: str, rows: Sequence[Mapping[str, Any]], last: str = 'trials') -> str:
    """Formats rows as an aligned table.

    Args:
        protocol: name of the protocol, in the header.
        rows: see `Results.rows`.
        last: header of the last column, the number of trials or models averaged.
    """
    lines = [[protocol, *METRICS, 'valid queries', last]]
    below: dict[int, str] = {}
    for row in rows:
        lines.append([row['name'], *metrics_in_percent(row), valid_queries(row), str(row['trials'])])
        if 'identities' in row:  # few test identities
            ranges = [f'{100 * row[key]["low"]:.0f}-{100 * row[key]["high"]:.0f}' for key in METRICS]
            lines.append([f'  95% interval over {row["identities"]} identities', *ranges, '', ''])
        if row.get('tied', 0) >= MIN_TIED_SHARE:
            below[len(lines) - 1] = f'  {tied_queries(row)}'
    text = aligned(lines)
    # inserted after alignment, so that these long lines do not widen the first column
    spaced = [line for place, row in enumerate(text) for line in (row, below.get(place)) if line is not None]
    return '\n'.join([text[0], '-' * len(text[0]), *spaced[1:]])


def metrics_in_percent(row: Mapping[str, Any]) -> list[str]:
    """Formats a row's metrics in percent, with the standard deviation if there are several trials."""
    several = row['trials'] > 1
    return [f'{100 * row[k]["mean"]:.2f}' + (f' ±{100 * row[k]["std"]:.2f}' if several else '') for k in METRICS]


def tied_queries(row: Mapping[str, Any]) -> str:
    """Describes the effect of ties on a row that has some, and how they were scored."""
    share = f'{100 * row["tied"]:.1f}%'
    done = 'in gallery order' if row.get('ties') == 'gallery-order' else 'as the mean over all orders'
    return f'ties between equally similar images affect {share} of the queries, which are scored {done}'


def valid_queries(row: Mapping[str, Any]) -> str:
    """Formats the number of queries with a match: `2,208 of 3,803`, with ranges if trials differ."""
    return ' of '.join(f'{a:,}' if a == b else f'{a:,}-{b:,}' for a, b in (row['valid'], row['queries']))


def described(content: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what identifies the metrics of a `result.json`: the data, the protocol and the rows."""
    about = {key: content.get(key, '') for key in ('data', 'protocol')}
    return {**about, 'rows': [[row['name'], row.get('variant', '')] for row in content['rows']]}


def write(folder: Path, content: Mapping[str, Any], queries: Mapping[str, np.ndarray] | None = None) -> None:
    """Writes `result.json` atomically into a folder, after the metrics of each query if given.

    Args:
        folder: the folder, created if needed.
        content: the content of `result.json`.
        queries: the columns of `queries.npz`, see `Results.queries`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if queries is not None:
        packed = io.BytesIO()
        about = np.array(as_json(described(content)))  # compared with `result.json`, as the metrics are
        np.savez_compressed(packed, **queries, about=about)  # type: ignore[arg-type]
        write_whole(folder / QUERIES, packed.getvalue())
    write_whole(folder / FILE, as_json(content, indent=1) + '\n')
