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
from vireid.errors import VireidError
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

    def said(self, components: Components, **head: Any) -> list[str]:
        found = check(Settings, {'head': head}, where='', components=components)
        return [str(problem).splitlines()[0] for problem in found]

    def said_of(self, components: Components, hint: Any, value: Any, where: str = 'x') -> list[str]:
        """Returns the first lines of what is wrong with one value."""
        signature = Signature('anything', {where: Parameter(hint)})
        found = check(signature, {where: value}, where='', components=components)
        return [str(problem).splitlines()[0] for problem in found]

    def test_what_is_sound_at_every_depth(self, components):
        parts = {'type': 'Pool', 'p': 2}
        assert self.said(
            components, pool=parts, pools={'x': {**parts, 'share': 1}, 'y': None}, chain=[parts, {'type': 'Pool'}],
            groups={'any name': {'p': 1.5}},
        ) == []  # fmt: skip
        assert self.said(components, pool='Pool') == []
        assert check(Settings, {'head': None}, where='', components=components) == []

    @pytest.mark.parametrize(
        ('head', 'text'),
        [
            ({'pool': 3}, 'head.pool is 3 (int)'),
            ({'pool': 'Poll'}, "head.pool: no pooling called 'Poll', did you mean 'Pool'?"),
            ({'pool': {'type': 'Pool', 'q': 1}}, "head.pool.q: Pool has no argument 'q'"),
            ({'pool': {'type': 'Pool', 'share': 1}}, "head.pool.share: Pool has no argument 'share'"),
            ({'pool': {'type': 'Pool', 'p': 'x'}}, "head.pool.p is 'x' (str)"),
            ({'pool': {'p': 1}}, "head.pool: expected a component, got {'p': 1}"),
            ({'pool': {'type': 7}}, 'head.pool: no pooling called 7'),
            ({'pool': {'type': ['Pool']}}, "head.pool: no pooling called ['Pool']"),
            ({'pools': {'x': {'type': 'Pool', 'share': 'x'}}}, "head.pools.x.share is 'x' (str)"),
            ({'pools': {'x': 3}}, 'head.pools.x is 3 (int)'),
            ({'pools': [1]}, 'head.pools is [1] (list)'),
            ({'chain': [{'type': 'Pool'}, {'type': 'Pool', 'p': None}]}, 'head.chain.1.p is None (NoneType)'),
            ({'chain': {'type': 'Pool'}}, "head.chain is {'type': 'Pool'} (dict)"),
            ({'pool': 'Pool', 'groups': {'x': {'q': 1}}}, "head.groups.x.q: Pool has no setting 'q'"),
            ({'pool': 'Pool', 'groups': {'x': 1}}, 'head.groups.x is 1 (int)'),
            ({'inputs': 1}, 'head.inputs is set by the framework'),
            ({'build_part': 1}, 'head.build_part is set by the framework'),
            ({'type': 'Hed'}, "head: no head called 'Hed', did you mean 'Head'?"),
        ],
        ids=lambda value: str(value)[:50],
    )
    def test_what_is_wrong_at_any_depth_has_its_path(self, components, head, text):
        assert self.said(components, **head) == [text] or self.said(components, **head)[0].startswith(text)

    def test_what_its_author_declared_wrong_is_told_and_stops_nothing(self, components):
        class Odd:
            def __init__(self, part: Annotated[dict, Component('poolingz')] | None = None) -> None: ...

        components.add('losses', 'Odd', Odd)
        hint = Annotated[dict, Component('losses')]
        assert self.said_of(components, hint, {'type': 'Odd', 'part': {}}) == [
            "x.part: its Component names 'poolingz', which is not a component kind"
        ]

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
        assert 'dataset: needs needs the argument' in problem
        whole = Signature('anything', {'dataset': Parameter(hint)})
        config = {'dataset': {'type': 'D'}}
        assert check(whole, config, where='', components=components, filled=['dataset.root']) == []


@pytest.mark.parametrize('value', [None, 3, 'x', [1], {'a': 1}, {'type': None}, [[]], {'type': {'a': 1}}, float('nan')])
@pytest.mark.parametrize('section', ['model', 'images', 'training', 'step', 'loggers', 'requires', 'seed', 'plugins'])
def test_nothing_in_a_section_makes_the_check_itself_fail(section, value):
    found = check_config({**config.load(CONFIG), section: value}, MANAGER)
    assert all(isinstance(problem, VireidError) for problem in found)
    assert found or (section, value) == ('seed', 3)
