"""Model selection: a run ends with its last weights, or with the best on the validation or the test split.

Selecting on the test split is common in the field. The selection rule is printed with the result.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from vireid.boundary import checkpoint
from vireid.boundary.writing import open_whole
from vireid.core.config.settings import EvaluationSettings
from vireid.core.scoring.results import Results
from vireid.core.types import Progress
from vireid.errors import MissingFile


class Selection:
    """Tracks the best evaluation of a run, whose weights are in `checkpoints/best.pt`.

    Attributes:
        best: `step` and `value` of the best evaluation, the value before training (`before`), the best value since
            (`after`), and the step of the latest evaluation (`seen`); empty before the first evaluation. It is part of
            every checkpoint.
        rule: description of the selection rule, for tables; empty for the last weights.
    """

    def __init__(self, settings: EvaluationSettings, identities: int) -> None:
        self.on, self.by = settings.select, settings.select_by
        self.best: dict[str, Any] = {}
        place = {'validation': f'{identities} validation identities', 'test': 'trial 0 of the test'}
        self.rule = f'best {self.by} on {place[self.on]}' if self.on != 'last' else ''

    def value(self, results: Results) -> float:
        """Returns the metric to maximize, from the first row; on the test split, from trial 0 only."""
        name = results.trials[0].name
        scores = [s for t, s in zip(results.trials, results.scores, strict=True) if t.name == name]
        if self.on == 'test':
            scores = scores[:1]
        named: dict[str, Callable[[Any], float]] = {'mAP': lambda s: s.mean_ap, 'mINP': lambda s: s.mean_inp}
        get = named.get(self.by) or (lambda s: s.rank(int(self.by[1:])))
        return float(np.mean([get(s) for s in scores]))

    def is_best(self, results: Results, progress: Progress) -> bool:
        """Records an evaluation; returns whether it is the best so far. In a tie the earlier one is best."""
        value, kind = self.value(results), 'after' if progress.step else 'before'
        self.best = {**self.best, kind: max(value, self.best.get(kind, value))}
        if 'step' in self.best and (value <= self.best['value'] or progress.step == self.best['seen']):
            self.best = {**self.best, 'seen': progress.step}
            return False
        self.best = {**self.best, 'step': progress.step, 'value': value, 'seen': progress.step}
        return True

    def bring_best(self, path: Path, beside: Path) -> None:
        """Ensures, when a run is resumed, that `path` contains the best weights that the checkpoint refers to.

        The newest best weights may be later ones, if the run was killed after writing them but before the checkpoint
        that refers to them, or if it is resumed from an earlier checkpoint.

        Args:
            path: where this run keeps its best weights.
            beside: the best weights in the folder of the checkpoint.

        Raises:
            MissingFile: if no file contains them.
        """
        if not self.best:
            return
        for file in dict.fromkeys([*checkpoint.kept(path), *checkpoint.kept(beside)]):
            if checkpoint.step_of(file) == self.best['step']:
                if file != path:
                    with file.open('rb') as source, open_whole(path) as copy:
                        shutil.copyfileobj(source, copy)
                return
        raise MissingFile(
            f'the best weights of this run so far are from step {self.best["step"]:,}, but they are not in '
            + ' or '.join(dict.fromkeys(map(str, (path, beside)))),
            todo='resume from the latest checkpoint of the run, checkpoints/last.pt, with best.pt and best-1.pt in '
            'the same folder',
        )

    def text(self) -> str:
        """Returns a description of the best weights and how they were selected."""
        weights = f'after step {self.best["step"]:,}' if self.best['step'] else 'before training'
        both = ''
        if 'before' in self.best and 'after' in self.best:
            both = f' ({100 * self.best["before"]:.1f} before training, {100 * self.best["after"]:.1f} after)'
        return f'{weights}, {self.rule}{both}'
