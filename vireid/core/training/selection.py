"""Which weights a run ends with: the last ones, or the best on validation identities, or on the test.

Choosing on the test is what the field does. The choice follows one rule that is printed with the result.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from vireid.boundary.writing import open_whole
from vireid.core.config.settings import EvaluationSettings
from vireid.core.errors import VireidError
from vireid.core.scoring.results import Results
from vireid.core.training import checkpoint
from vireid.core.types import Progress


class Selection:
    """Remembers the best evaluation of a run so far; its weights are in `checkpoints/best.pt`.

    Attributes:
        best: `step` and `value` of the best evaluation, the best `value` before training (`before`) and in it
            (`after`), and `seen`, the step of the newest one; empty before the
            first. It is part of every checkpoint.
        rule: in words, for tables.
    """

    def __init__(self, settings: EvaluationSettings, identities: int) -> None:
        self.on, self.by = settings.select, settings.select_by
        self.best: dict[str, Any] = {}
        place = {'validation': f'{identities} validation identities', 'test': 'trial 0 of the test'}
        self.rule = f'best {self.by} on {place[self.on]}' if self.on != 'last' else ''

    def value(self, results: Results) -> float:
        """Returns the metric that decides: of the first row; on the test, of its trial 0 alone."""
        name = results.trials[0].name
        scores = [s for t, s in zip(results.trials, results.scores, strict=True) if t.name == name]
        if self.on == 'test':
            scores = scores[:1]
        named: dict[str, Callable[[Any], float]] = {'mAP': lambda s: s.mean_ap, 'mINP': lambda s: s.mean_inp}
        get = named.get(self.by) or (lambda s: s.rank(int(self.by[1:])))
        return float(np.mean([get(s) for s in scores]))

    def is_best(self, results: Results, progress: Progress) -> bool:
        """Takes an evaluation in; says whether it is the best so far (the earlier one, if equal)."""
        value, kind = self.value(results), 'after' if progress.step else 'before'
        self.best = {**self.best, kind: max(value, self.best.get(kind, value))}
        if 'step' in self.best and (value <= self.best['value'] or progress.step == self.best['seen']):
            self.best = {**self.best, 'seen': progress.step}
            return False
        self.best = {**self.best, 'step': progress.step, 'value': value, 'seen': progress.step}
        return True

    def bring_best(self, path: Path, beside: Path) -> None:
        """Makes sure, on resuming, that `path` holds the best weights so far; they may lie `beside` the checkpoint.

        They may be earlier ones than the best: a run that was killed between writing new best weights and remembering
        them, or that goes on from an earlier checkpoint, has others in first place.

        Raises:
            VireidError: if no file holds them.
        """
        if not self.best:
            return
        for found in dict.fromkeys([*checkpoint.kept(path), *checkpoint.kept(beside)]):
            if checkpoint.step_of(found) == self.best['step']:
                if found != path:
                    with found.open('rb') as source, open_whole(path) as copy:
                        shutil.copyfileobj(source, copy)
                return
        raise VireidError(
            f'the best weights of this run so far are those of step {self.best["step"]:,}, and they are not in '
            + ' or '.join(dict.fromkeys(map(str, (path, beside)))),
            todo='resume from the newest checkpoint of the run, checkpoints/last.pt, with best.pt and best-1.pt there',
        )

    def load_best(self, model: Any, path: Path) -> str:
        """Puts the best weights into the model; returns which they are, in words."""
        checkpoint.load_weights(model, checkpoint.load(path)['model'], path)
        return self.text()

    def text(self) -> str:
        """Says which weights are the best ones and how they were chosen."""
        weights = f'after step {self.best["step"]:,}' if self.best['step'] else 'before training'
        both = ''
        if 'before' in self.best and 'after' in self.best:
            both = f' ({100 * self.best["before"]:.1f} before training, {100 * self.best["after"]:.1f} after)'
        return f'{weights}, {self.rule}{both}'
