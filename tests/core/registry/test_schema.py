"""Configs against the signatures of all that they name, at any depth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

from vireid.core.config import files as config
from vireid.core.config.experiment import check_config
from vireid.core.registry.components import Components
from vireid.core.registry.schema import ArgumentsOf, Component, check
from vireid.core.registry.signature import Parameter, Signature
from vireid.errors import MissingKey, UnknownComponent, UnknownKey, UnknownName, VireidError, WrongValue
from vireid.plugin_manager.manager import create_manager

MANAGER = create_manager()
CONFIG = Path(__file__).parents[3] / 'configs' / 'dmcf_demo.py'


class Pool:
    def __init__(self, p: float = 3.0) -> None: ...


class Head:
    def __init__(
        self,
        inputs: tuple,
        build_part: Any,
        pool: Annotated[str | dict | None, Component('poolings')] = None,
        pools: dict[str, Annotated[dict | None, Component('poolings', share=float)]] | None = None,
        chain: Sequence[Annotated[dict, Component('poolings')]] = (),
        groups: Mapping[str, Annotated[dict, ArgumentsOf('pool', 'poolings')]] | None = None,
    ) -> None: ...


@dataclass
class Settings:
    count: int = 0
    head: Annotated[dict, Component('heads', default='Head')] | None = None
    mode: Literal['a', 'b'] = 'a'


class TestChecking:
    @pytest.fixture
    def components(self) -> Components:
        components = Components()
        components.add('poolings', 'Pool', Pool)
        components.add('heads', 'Head', Head)
        return components

    def said(self, components: Components, **head: Any) -> list[VireidError]:
        return check(Settings, {'head': head}, where='', components=components)

    def said_of(self, components: Components, hint: Any, value: Any, where: str = 'x') -> list[VireidError]:
        """Returns what is wrong with one value."""
        signature = Signature('anything', {where: Parameter(hint)})
        return check(signature, {where: value}, where='', components=components)

    def test_what_is_sound_at_every_depth(self, components):
        parts = {'type': 'Pool', 'p': 2}
        assert self.said(
            components, pool=parts, pools={'x': {**parts, 'share': 1}, 'y': None}, chain=[parts, {'type': 'Pool'}],
            groups={'any name': {'p': 1.5}},
        ) == []  # fmt: skip
        assert self.said(components, pool='Pool') == []
        assert check(Settings, {'head': None}, where='', components=components) == []

    @pytest.mark.parametrize(
        ('head', 'kind', 'path', 'fact'),
        [
            ({'pool': 3}, WrongValue, 'head.pool', '3 (int)'),
            ({'pool': 'Poll'}, UnknownComponent, 'head.pool', "'Pool'?"),
            ({'pool': {'type': 'Pool', 'q': 1}}, UnknownKey, 'head.pool.q', "'q'"),
            ({'pool': {'type': 'Pool', 'share': 1}}, UnknownKey, 'head.pool.share', "'share'"),
            ({'pool': {'type': 'Pool', 'p': 'x'}}, WrongValue, 'head.pool.p', "'x' (str)"),
            ({'pool': {'p': 1}}, MissingKey, 'head.pool', "{'p': 1}"),
            ({'pool': {'type': 7}}, UnknownComponent, 'head.pool', '7'),
            ({'pool': {'type': ['Pool']}}, UnknownComponent, 'head.pool', "['Pool']"),
            ({'pools': {'x': {'type': 'Pool', 'share': 'x'}}}, WrongValue, 'head.pools.x.share', "'x' (str)"),
            ({'pools': {'x': 3}}, WrongValue, 'head.pools.x', '3 (int)'),
            ({'pools': [1]}, WrongValue, 'head.pools', '[1] (list)'),
            ({'chain': [{'type': 'Pool'}, {'type': 'Pool', 'p': None}]}, WrongValue, 'head.chain.1.p', '(NoneType)'),
            ({'chain': {'type': 'Pool'}}, WrongValue, 'head.chain', "{'type': 'Pool'} (dict)"),
            ({'pool': 'Pool', 'groups': {'x': {'q': 1}}}, UnknownKey, 'head.groups.x.q', "'q'"),
            ({'pool': 'Pool', 'groups': {'x': 1}}, WrongValue, 'head.groups.x', '1 (int)'),
            ({'inputs': 1}, UnknownKey, 'head.inputs', 'framework'),
            ({'build_part': 1}, UnknownKey, 'head.build_part', 'framework'),
            ({'type': 'Hed'}, UnknownComponent, 'head', "'Head'?"),
        ],
        ids=lambda value: str(value)[:50],
    )
    def test_what_is_wrong_at_any_depth_has_its_path(self, components, head, kind, path, fact):
        errors = self.said(components, **head)
        assert (type(errors[0]), errors[0].path) == (kind, path)
        assert fact in errors[0].given

    def test_what_its_author_declared_wrong_is_told_and_stops_nothing(self, components):
        class Odd:
            def __init__(self, part: Annotated[dict, Component('poolingz')] | None = None) -> None: ...

        components.add('losses', 'Odd', Odd)
        hint = Annotated[dict, Component('losses')]
        (error,) = self.said_of(components, hint, {'type': 'Odd', 'part': {}})
        assert (type(error), error.path) == (UnknownName, 'x.part')
        assert "'poolingz'" in error.given

    def test_of_several_kinds_the_one_that_fits_counts(self, components):
        either = Annotated[dict, Component('poolings')] | Annotated[dict, Component('heads')]
        assert self.said_of(components, either, {'type': 'Head'}) == []
        assert self.said_of(components, either, {'type': 'Pool'}) == []
        assert len(self.said_of(components, either, {'type': 'Nothing'})) == 2  # one for each

    def test_each_item_of_a_fixed_tuple_has_its_own(self, components):
        hint = tuple[Annotated[dict, Component('poolings')], int]
        assert self.said_of(components, hint, [{'type': 'Pool'}, 3]) == []
        assert len(self.said_of(components, hint, [{'type': 'Pool', 'q': 1}, 3])) == 1
        assert len(self.said_of(components, hint, [{'type': 'Pool'}, 'y'])) == 1
        assert len(self.said_of(components, hint, [{'type': 'Pool'}])) == 1

    def test_all_of_it_at_once(self, components):
        assert len(self.said(components, pool=3, chain=[{}, 5], pools={'x': {'type': 'Pool', 'p': 'x', 'q': 1}})) == 5

    def test_what_is_filled_in_elsewhere_may_be_missing_there_alone(self, components):
        def needs(root: str) -> None: ...

        components.add('datasets', 'D', needs)
        hint = Annotated[dict, Component('datasets')]
        (problem,) = self.said_of(components, hint, {'type': 'D'}, 'dataset')
        assert (type(problem), problem.path) == (MissingKey, 'dataset.root')
        whole = Signature('anything', {'dataset': Parameter(hint)})
        config = {'dataset': {'type': 'D'}}
        assert check(whole, config, where='', components=components, filled=['dataset.root']) == []


@pytest.mark.parametrize('value', [None, 3, 'x', [1], {'a': 1}, {'type': None}, [[]], {'type': {'a': 1}}, float('nan')])
@pytest.mark.parametrize('section', ['model', 'images', 'training', 'step', 'loggers', 'requires', 'seed', 'plugins'])
def test_nothing_in_a_section_makes_the_check_itself_fail(section, value):
    found = check_config({**config.load(CONFIG), section: value}, MANAGER)
    assert all(isinstance(problem, VireidError) for problem in found)
    assert found or (section, value) == ('seed', 3)
