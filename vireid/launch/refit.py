"""The second training of a run: on all people, for as many steps as was best for people who were held out of the first.

See `refit` in docs/training.md. `vireid/studies/jobs.py` trains the first run, in a subfolder of the second.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from vireid.core.config.experiment import Experiment, check_config
from vireid.core.config.files import lay_over
from vireid.core.config.frozen import thaw
from vireid.core.registry.manager import Manager
from vireid.errors import VireidError, raise_all

FOLDER = 'selection'  # of the first run, in that of the second


def first(experiment: Experiment) -> Experiment:
    """Returns the experiment of the first run, which selects the number of steps."""
    return experiment.with_overrides({'refit': None})


def second(experiment: Experiment, steps: int = 0) -> Experiment:
    """Returns the experiment of the second run.

    Args:
        experiment: an experiment with `refit`.
        steps: the number of steps that the first run selected.

    Raises:
        VireidError: listing all errors of its settings.
    """
    config, manager = experiment.to_config(), experiment.manager
    raise_all(find_refit_problems(config, manager))
    chosen = {'steps': steps, 'epochs': None, 'evaluate_every': None}
    ends = {'select': 'last', 'before_training': False}
    return Experiment.unchecked(_laid_over(config), manager).with_overrides(
        {f'training.{key}': value for key, value in chosen.items()}
        | {f'evaluation.{key}': value for key, value in ends.items()}
    )


def find_refit_problems(config: Mapping[str, Any], manager: Manager, filled: Collection[str] = ()) -> list[VireidError]:
    """Returns the errors that the settings in `refit` cause in an otherwise valid config.

    Args:
        config: the sections.
        manager: the plugins that provide the components.
        filled: keys that may be missing because they are set elsewhere.
    """
    if config.get('refit') is None:
        return []
    try:
        problems = check_config(_laid_over(config), manager, filled)
    except VireidError as error:
        problems = [error]
    return [problem.at('refit') for problem in problems]


def _laid_over(config: Mapping[str, Any]) -> dict[str, Any]:
    return lay_over(thaw(config['refit']), {**config, 'refit': None}, 'refit')
