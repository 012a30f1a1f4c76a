"""Checks before a run: validates the config and dry-builds everything that needs no data.

`config check`, `--dry-run` and every run use it. Models and optimizers are built on torch's `meta` device, where
tensors have shapes but no memory.
"""

from __future__ import annotations

import copy
import functools
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.accelerators import CPUAccelerator
from lightning_fabric.plugins.environments import LightningEnvironment
from lightning_fabric.strategies.single_device import SingleDeviceStrategy

from vireid.core.config.experiment import DROPPABLE, SETTINGS, Experiment, check_config, sections
from vireid.core.config.overrides import split_key
from vireid.core.config.transform_chain import TransformChain
from vireid.core.registry.manager import Manager
from vireid.core.types import VISIBLE, Modality, Progress
from vireid.errors import Mismatch, MissingFile, MissingPackage, VireidError, WrongValue, raise_all
from vireid.interfaces import Step
from vireid.launch.on_device import split
from vireid.launch.random_weights import SkipRandomWeights
from vireid.launch.refit import find_refit_problems
from vireid.runtime.randomness import preserved


def preflight(experiment: Experiment, pretrained: bool = False, trains: bool = True) -> None:
    """Dry-builds everything that needs no data, so that errors stop a run before data is read.

    Args:
        experiment: the experiment.
        pretrained: load pretrained weights, to find out now if they are unavailable.
        trains: whether the model will be trained; if so, one without trainable parameters is an error.

    Raises:
        VireidError: listing everything that cannot be built.
    """
    raise_all(_building(experiment, pretrained, trains))


def attempt_all(*steps: Callable[[], Any]) -> list[Any]:
    """Calls each step and returns the results; raises the errors of all steps together.

    Raises:
        VireidError: listing all errors.
    """
    results, problems = [], list[VireidError]()
    for step in steps:
        try:
            results.append(step())
        except VireidError as error:
            problems.extend(error.errors or (error,))
    raise_all(problems)
    return results


def find_problems(config: Mapping[str, Any], manager: Manager, filled: Collection[str] = ()) -> list[VireidError]:
    """Returns all errors in a config that can be found before data is read, by validation and by dry-building.

    Args:
        config: the sections.
        manager: the plugins that provide the components.
        filled: keys that may be missing because they are set elsewhere, such as `dataset.root` by a flag.
    """
    training = config.get('training')
    problems = check_config(config, manager, filled) + missing_init(
        training.get('init') if isinstance(training, Mapping) else None
    )
    known = sections().parameters
    whole = {name: config[name] for name in known if name in config}
    whole_enough = all(isinstance(whole.get(name), dict) for name, parameter in known.items() if parameter.required)
    if not whole_enough or any(isinstance(problem, MissingPackage) for problem in problems):
        return problems  # missing parts explain why others cannot be built
    problems = problems or find_refit_problems(config, manager, filled)
    reported = {problem.path for problem in problems if problem.path}
    rest = _without(whole, [problem.path for problem in problems if isinstance(problem, DROPPABLE)])
    unbuilt = _building(_partial_experiment(rest, manager), trains=False, wrong=bool(problems))
    return problems + [error for error in unbuilt if error.path not in reported]


def _partial_experiment(config: Mapping[str, Any], manager: Manager) -> Experiment:
    """Returns an experiment for a config with missing settings; reading one of these raises AttributeError."""
    sections = dict(config)
    for name, settings in SETTINGS.items():
        try:
            sections[name] = settings(**sections.get(name, {}))
        except TypeError:
            defaults = {f.name: f.default for f in fields(settings) if f.default is not MISSING}
            sections[name] = SimpleNamespace(**defaults | sections[name])
    return Experiment(**sections, manager=manager, given=config)


def missing_init(init: Any) -> list[VireidError]:
    """Returns an error if the checkpoint `training.init` does not exist."""
    if not isinstance(init, str) or Path(init).is_file():
        return []
    todo = 'give the path of a .pt file of a run'
    return [MissingFile(f'training.init: no checkpoint {init}', todo=todo, path='training.init')]


def _without(config: Mapping[str, Any], paths: Sequence[str]) -> dict[str, Any]:
    """Returns a copy of a config without the invalid keys, so that the rest can be built."""
    rest: dict[str, Any] = copy.deepcopy(dict(config))
    for path in sorted(paths, reverse=True):
        *holders, last = split_key(rest, path)
        node: Any = rest
        for part in holders:
            node = node[int(part)] if isinstance(node, (list, tuple)) else node.get(part, {})
        if isinstance(node, dict):  # a list item stays; its error is reported again with the same path and dropped
            node.pop(last, None)
    return rest


def _building(
    experiment: Experiment, pretrained: bool = False, trains: bool = True, wrong: bool = False
) -> list[VireidError]:
    """Dry-builds everything that needs no data; returns the errors.

    Args:
        experiment: the experiment.
        pretrained: load pretrained weights.
        trains: build the step even if the model has no trainable parameters.
        wrong: whether the config is known to be invalid; other exceptions are then ignored as consequences.
    """
    problems: list[VireidError] = []

    def attempt(build: Callable[[], Any]) -> Any:
        try:
            with preserved(), warnings.catch_warnings():
                warnings.simplefilter('ignore')  # about copying weights to `meta`, and schedules before a step
                return build()
        except VireidError as error:
            problems.extend(error.errors or (error,))
        except Exception:
            if not wrong:
                raise
        return None

    attempt(experiment.build_protocol)
    attempt(experiment.build_reranker)
    attempt(lambda: _try_training(experiment, experiment.build_transform('train'), experiment.images.train))
    attempt(lambda: _try_transforms(experiment, experiment.build_transform('test'), experiment.images.test))
    for name, (of, chain) in (attempt(experiment.build_views) or {}).items():
        view = experiment.images.views[name]
        attempt(functools.partial(_try_training, experiment, chain, view.train, of))
    model = attempt(lambda: on_meta(lambda: experiment.build_model(2, pretrained), retry=not wrong))
    if model is not None:
        attempt(lambda: experiment.build_similarity(model))
        if trains or any(parameter.requires_grad for parameter in model.parameters()):
            attempt(lambda: _try_step(experiment, model))
    return problems


def on_meta(build: Callable[[], torch.nn.Module], retry: bool = True) -> torch.nn.Module:
    """Builds a model on the `meta` device; if that fails, and `retry` is set, on the CPU.

    A constructor that computes with values fails on `meta`.
    """
    try:
        with torch.device('meta'), SkipRandomWeights():
            return build()
    except Exception:
        if not retry:
            raise
    return build()


def _try_step(experiment: Experiment, model: torch.nn.Module) -> None:
    """Builds the step and advances its schedules once, since torch checks some arguments only then."""
    model.to_empty(device='cpu')  # Fabric rejects `meta`; untouched memory is not really allocated
    strategy = SingleDeviceStrategy(torch.device('cpu'), accelerator=CPUAccelerator())
    fabric = Fabric(strategy=strategy, plugins=LightningEnvironment())  # single process, even under a launcher
    step = experiment.build_step(model, fabric)
    for schedule in Step.schedules(step):
        try:
            schedule.step()
        except Exception as error:
            raise WrongValue(
                f'step.schedule: {type(schedule).__name__} fails on its first step: {type(error).__name__}: {error}',
                todo='fix its arguments',
                path='step.schedule',
            ) from error


def _try_training(
    experiment: Experiment, chain: TransformChain, configs: Sequence[Mapping[str, Any]], modality: Modality = VISIBLE
) -> None:
    """Applies transforms of training images to an image, and splits them if some are to run on the device."""
    _try_transforms(experiment, chain, configs, modality)
    if experiment.images.on_device:
        split(chain)


def _try_transforms(
    experiment: Experiment, chain: TransformChain, configs: Sequence[Mapping[str, Any]], modality: Modality = VISIBLE
) -> None:
    """Applies transforms to an image."""
    height, width = experiment.images.size
    image = torch.zeros(3, 2 * height, width, dtype=torch.uint8)  # the aspect ratio of a person
    for position, config in enumerate(configs):
        try:
            image = chain.apply(position, image, modality, Progress(0, 0, 1, 1))
        except Exception as error:  # torchvision checks some arguments only when called
            raise WrongValue(
                f'{chain.where}.{position}: {config["type"]} fails on a {_sizes(image)} image: {error}',
                todo='fix its arguments, or the transforms before it',
                path=f'{chain.where}.{position}',
            ) from error
    if image.shape != (3, height, width) or image.dtype != torch.float32:
        raise Mismatch(
            f'{chain.where} returns a {_sizes(image)} image',
            allowed=f'3 x {height} x {width} float32, as set by images.size',
            todo='end with ToFloat and Normalize, and resize with Resize or RandomCrop',
            path=chain.where,
        )


def _sizes(image: Any) -> str:
    return f'{" x ".join(map(str, image.shape))} {str(image.dtype).removeprefix("torch.")}'
