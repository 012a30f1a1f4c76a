"""The commands as Python functions, for notebooks and scripts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vireid.core.config.experiment import Experiment
from vireid.core.config.overrides import Overrides
from vireid.core.scoring.results import Results
from vireid.core.training.run import Run
from vireid.errors import AlreadyExists, WrongValue
from vireid.exchange.evaluation import score_checkpoint
from vireid.launch.launch import prepare
from vireid.launch.resolve import resolve
from vireid.launch.run_folder import evaluation_folder, free_folder
from vireid.plugin_manager.manager import create_manager
from vireid.reporting import figures
from vireid.reporting.record import RunRecord, read_runs
from vireid.studies.comparison import Comparison
from vireid.studies.comparison_runs import train_and_compare
from vireid.studies.jobs import Job, make_job, select
from vireid.studies.systems import read_systems
from vireid.studies.tables import METRICS_SHOWN, PaperTable, make_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Config = str | Path | Mapping[str, Any] | Experiment


def load_experiment(
    config: Config, plugins: Sequence[str | Path] = (), trust_config: bool = False, **overrides: Any
) -> Experiment:
    """Reads and checks a config.

    Args:
        config: a config file, `package::file` for a config of a plugin, or a dict of sections.
        plugins: Python files with your components. Plugin files that a YAML or JSON config names must be listed here.
        trust_config: allow a YAML or JSON config to choose loggers with a server and a cache folder, and bases outside
            its folder.
        **overrides: values that replace those of the config: `training=dict(steps=100)` is merged, as a config into its
            base; `**{'training.steps': 100}` sets a single value, as `--cfg-options` does.

    Returns:
        The experiment.

    Raises:
        VireidError: lists all errors of the config.
    """
    return _resolve(config, plugins, trust_config, overrides)[0]


def _resolve(
    config: Config, plugins: Sequence[str | Path], trust_config: bool, values: Mapping[str, Any]
) -> tuple[Experiment, Overrides]:
    overrides = Overrides(values=values, label='an argument', plugins=plugins, trust=trust_config)
    return resolve(config, overrides, manager=create_manager(), build=True), overrides


def train(
    config: Config,
    work_dir: str | Path | None = None,
    *,
    resume: str | Path | None = None,
    init: str | Path | None = None,
    partial: bool = False,
    plugins: Sequence[str | Path] = (),
    **overrides: Any,
) -> Run:
    """Trains and evaluates the model of a config.

    Args:
        config: see `load_experiment`.
        work_dir: folder for `config.yaml`, `checkpoints/`, `result.json` and the output of the loggers; by default a
            new folder in `runs/`.
        resume: checkpoint to resume from.
        init: checkpoint whose weights initialize the model; the same as `training.init`.
        partial: load only the matching weights of `init`; the same as `training.init_partial`.
        plugins: Python files with your components.
        **overrides: see `load_experiment`.

    Returns:
        The run: its `model`, `results`, `work_dir` and `checkpoint`.

    Raises:
        VireidError: for an invalid config, missing data or any other error that you can fix.
    """
    if init is not None:
        overrides |= {'training.init': str(init)}
    if partial:
        overrides |= {'training.init_partial': True}
    experiment = load_experiment(config, plugins, **overrides)
    folder = Path(work_dir) if work_dir is not None else free_folder(Path('runs'), experiment.name)
    if resume is None and any(folder.glob('checkpoints/*.pt')):
        raise AlreadyExists(
            f'{folder} already holds a run', todo='pass its checkpoint as resume, or choose another work_dir'
        )
    calibration = None
    if experiment.refit is not None:
        experiment, calibration = select(experiment, folder)
    trainer = prepare(experiment, folder, resume=resume, calibration=calibration)
    trainer.train()
    return trainer.run


def evaluate(
    config: Config,
    checkpoint: str | Path | None = None,
    work_dir: str | Path | None = None,
    *,
    plugins: Sequence[str | Path] = (),
    **overrides: Any,
) -> Results:
    """Evaluates a checkpoint with the protocol of a config.

    Args:
        config: the config of the checkpoint, or one with the same model; see `load_experiment`.
        checkpoint: a checkpoint of a run; None for a model without trainable parameters.
        work_dir: folder for `result.json` and the output of the loggers; by default a new folder: `test` or
            `test-N` beside `checkpoints`, or one in `runs` without a checkpoint.
        plugins: Python files with your components.
        **overrides: see `load_experiment`.

    Returns:
        The scores of every trial; `print(results.table())` shows them.

    Raises:
        VireidError: if the checkpoint does not match the model, or was trained on test identities or images.
    """
    experiment = load_experiment(config, plugins, **overrides)
    return score_checkpoint(experiment, checkpoint, work_dir or evaluation_folder(experiment.name, checkpoint))


def plot(
    figure: str,
    runs: str | Path | RunRecord | Sequence[str | Path | RunRecord],
    out: str | Path | None = None,
    **options: Any,
) -> Figure:
    """Draws a figure of finished runs, as `vireid plot` does.

    Args:
        figure: `cmc`, `rankings`, `cam`, `features`, `translations`, `swaps`, `weights`, `embedding`, `distances`,
            `reliability` or `graph`.
        runs: one or several folders of runs, or records returned by `vireid.reporting.record.read_runs`.
        out: also write the figure to this `.pdf`, `.svg` or `.png` file.
        **options: `width` in inches, and options of the figure, such as `kind='best'` for `rankings`.

    Returns:
        The matplotlib figure, which you can modify.

    Raises:
        VireidError: if matplotlib is not installed, or the runs lack the data of the figure.
    """
    given = [runs] if isinstance(runs, (str, Path, RunRecord)) else list(runs)
    figures.check_options(figure, options)
    if out is not None:
        figures.check_path(out)
    read = iter(read_runs([str(run) for run in given if not isinstance(run, RunRecord)]))
    records = [run if isinstance(run, RunRecord) else next(read) for run in given]
    drawn = figures.draw(figure, records, **options)
    if out is not None:
        figures.save(drawn, out)
    return drawn


def compare(
    systems: Sequence[Config],
    *,
    seeds: Sequence[int] = (0, 1, 2),
    work_dir: str | Path = 'runs/compare',
    allow_differences: bool = False,
    plugins: Sequence[str | Path] = (),
    trust_config: bool = False,
    **overrides: Any,
) -> Comparison:
    """Compares systems, as `vireid compare` does; configs are trained with each seed unless their runs are finished.

    Args:
        systems: folders of finished runs, and configs; see `load_experiment`.
        seeds: random seeds of the configs.
        work_dir: folder for the runs of the configs, `NAME/seed_N`.
        allow_differences: also compare runs with different protocols, data or budgets, and note it.
        plugins: Python files with your components.
        trust_config: see `load_experiment`.
        **overrides: overrides of the configs; see `load_experiment`.

    Returns:
        The comparison: `rows()`, `pairs`, `text()`, `markdown()`.

    Raises:
        VireidError: if a run fails, or the runs cannot be compared.
    """
    _require_several(systems, 'systems')
    seeds = list(dict.fromkeys(seeds)) if isinstance(seeds, Iterable) else seeds  # accepts a generator
    if not isinstance(seeds, list) or not seeds or not all(isinstance(seed, Integral) for seed in seeds):
        raise WrongValue(f'seeds is {seeds!r}', allowed='a list of integers, or a range')
    given: list[Path | list[Job]] = []
    for system in systems:
        if isinstance(system, (str, Path)) and Path(system).is_dir():
            given.append(Path(system))
            continue
        jobs = []
        for seed in seeds:
            experiment, own = _resolve(system, plugins, trust_config, {**overrides, 'seed': int(seed)})
            folder = Path(work_dir) / experiment.name / f'seed_{seed}'
            jobs.append(make_job(experiment, own, folder, f'{experiment.name} seed {seed}'))
        given.append(jobs)
    return train_and_compare(given, allow_differences)


def table(runs: Sequence[str | Path], metrics: Sequence[str] = METRICS_SHOWN) -> PaperTable:
    """Returns a result table of finished runs, as `vireid table` does, with one row per config.

    Args:
        runs: folders of the runs.
        metrics: metrics to show for each plain row of the results.

    Returns:
        The table: `rows`, `format('md')` (or `latex`, `csv`, `text`).

    Raises:
        VireidError: if a run is not finished, or a metric is unknown.
    """
    _require_several(runs, 'runs')
    return make_table(read_systems(runs, queries=False), metrics)


def _require_several(given: Any, what: str) -> None:
    if isinstance(given, (str, Path)) or not isinstance(given, Sequence):
        raise WrongValue(f'{what} is {given!r}', allowed='a list')
