"""Rankings: draws ranking lists while a run trains."""

from __future__ import annotations

from vireid.core.scoring.results import Results
from vireid.core.training.run import Run
from vireid.core.types import Progress
from vireid.plugin_manager.manager import hookimpl
from vireid.reporting import figures
from vireid.reporting.collect import collect_lists
from vireid.reporting.record import RunRecord

FILE = 'rankings.png'


class Rankings:
    """Draws `rankings.png` after each evaluation: the ranking lists of a few random queries, always the same ones.

    With `training.evaluate_every`, the image shows what the model has learned so far. Without matplotlib, the logger is
    disabled when the run starts.
    """

    @hookimpl
    def run_started(self) -> None:
        figures.require_matplotlib()

    @hookimpl(trylast=True)
    def evaluated(self, run: Run, progress: Progress, results: Results) -> None:
        evidence = collect_lists(results, run.experiment.name, run.experiment.images.scale_raw)
        record = RunRecord(run.work_dir, run.experiment.name, {}, (), None, {}, evidence)
        figures.save(figures.draw('rankings', [record], kind='random'), run.work_dir / FILE)
        print(f'ranking lists after step {progress.step:,}: {run.work_dir / FILE}\n', flush=True)
