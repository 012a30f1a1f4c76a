"""Configs against signatures read from source: what is read equals what Python says, at any depth."""

from __future__ import annotations

import textwrap
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

from vireid.core.config import files as config
from vireid.core.config.experiment import check_config, sections
from vireid.core.errors import VireidError
from vireid.core.registry.annotations import read_signature
from vireid.core.registry.components import Components
from vireid.core.registry.plugins import create_manager
from vireid.core.registry.schema import Schema
from vireid.core.registry.signatures import ArgumentsOf, Part, Signature, accepts, describe, signature_of

MANAGER = create_manager()
CONFIG = Path(__file__).parents[3] / 'configs' / 'dmcf_demo.py'
# values of every kind that a config can hold
VALUES: list[Any] = [
    None,
    True,
    0,
    1,
    -1,
    2.5,
    '',
    'imagenet',
    [],
    [1, 2],
    (1,),
    ['a'],
    [0.5, 0.5],
    {},
    {'a': 1},
    'all',
]


class TestReading:
    @pytest.mark.parametrize('component', MANAGER.components.listing(), ids=lambda c: f'{c.kind} {c.name}')
    def test_what_is_read_of_a_builtin_is_what_python_says_of_it(self, component):
        """Where the two differ, reading knows more: torch decorates some of its constructors."""
        read = read_signature(component.target)
        known = signature_of(MANAGER.components.get(component.kind, component.name))
        assert read is not None
        assert list(read.parameters) == list(known.parameters)
        assert read.open_ended == known.open_ended
        for name, parameter in known.parameters.items():
            assert read.parameters[name].required == parameter.required, name
            if parameter.hint is Any or read.parameters[name].hint is Any:
                continue
            for value in VALUES:
                assert accepts(read.parameters[name].hint, value) == accepts(parameter.hint, value), (name, value)
        for name in ('layout', 'train_only', 'reads_parts', 'makes', 'check_config'):
            assert read.constants.get(name) == known.constants.get(name)

    CODE = """
        from __future__ import annotations
        import functools
        import typing as t
        from collections.abc import Sequence
        from dataclasses import dataclass, field
        from typing import Annotated, Literal, Optional
        from vireid.core.registry.signatures import Part
        from somewhere import Unknown

        Size = Literal['small', 'large']
        Sizes = Sequence[Size]
        Pool = Annotated[str | dict, Part('poolings', weight=float)]

        class Own: pass
        class Text(str): pass

        class Base:
            layout = 'any'
            train_only: bool = True
            def __init__(self, a: int, *rest, size: Size = 'small') -> None: ...

        class Child(Base):
            layout = 'paired'

        class HandsOn(Base):
            def __init__(self, more: int, **kwargs) -> None: ...

        class Foreign(Unknown):
            pass

        class ForeignWithInit(Unknown):
            def __init__(self, a: 'Optional[int]' = None): ...

        class Bare:
            "Takes nothing."

        class New:
            def __new__(cls, a): ...

        @dataclass
        class Data:
            a: int
            b: str = ''

        @dataclass(frozen=True)
        class MoreData(Data):
            c: float = 0.5

        @functools.total_ordering
        class Decorated:
            def __init__(self, a: int): ...

        @dataclass
        class Kept:
            a: int = field(default=1, init=False)

        class UnderData(Data):
            c: int = 3

        class OwnInit(MoreData):
            def __init__(self, w: int = 1): ...

        def changed(function):
            return lambda other=3: function(other)

        @changed
        def decorated(a: int): ...

        class DecoratedInit:
            @changed
            def __init__(self, a: int): ...

        class Protocol:
            def __init__(self, trials: int = 1): ...

        class Cross(Protocol): ...

        class Left(Base):
            def __init__(self, left: int): ...

        class Diamond(Child, Left): ...

        class Assigned:
            __init__ = Base.__init__

        class Conditional:
            if True:
                def __init__(self, a: int): ...

        class Meta(type):
            def __call__(cls, **anything): ...

        class WithMeta(metaclass=Meta): ...

        class Positional:
            def __init__(self, a: int = 1, /, b: int = 2): ...

        if t.TYPE_CHECKING:
            from collections.abc import Iterable
            from torch import Tensor

        def later(steps: Iterable[int], rate: Tensor | float = 1.0, ref: Tensor | None = None): ...

        def function(
            a, b: Sizes = (), c: Own | int = 1, d: t.Any = 0, e: Unknown = None, f: Text = '', g: Pool = 'x',
            h: dict[str, Pool] | None = None, i: tuple[int, int] = (1, 1),
        ): ...
    """

    @pytest.fixture
    def module(self, tmp_path, monkeypatch, request) -> str:
        name = f'read_module_{abs(hash(request.node.name))}'
        (tmp_path / f'{name}.py').write_text(textwrap.dedent(self.CODE))
        monkeypatch.syspath_prepend(str(tmp_path))
        return name

    def test_inherited_arguments_and_constants(self, module):
        read = read_signature(f'{module}:Child')
        assert list(read.parameters) == ['a', 'size']
        assert read.constants == {'layout': 'paired', 'train_only': True}
        assert describe(read.parameters['size'].hint) == "'small', 'large'"

    def test_what_cannot_be_told_is_not_guessed(self, module):
        unsure = ('HandsOn', 'Foreign', 'New', 'Decorated', 'Nothing', 'Kept', 'decorated', 'DecoratedInit', 'Diamond')
        for name in (*unsure, 'Assigned', 'Conditional', 'WithMeta'):
            assert read_signature(f'{module}:{name}') is None, name
        assert list(read_signature(f'{module}:ForeignWithInit').parameters) == ['a']
        assert read_signature(f'{module}:Bare') == Signature('Bare', {})

    @pytest.mark.parametrize(
        ('name', 'arguments'),
        [
            ('UnderData', ['a', 'b']),
            ('OwnInit', ['w']),
            ('Cross', ['trials']),
            ('Positional', ['b']),
            ('later', ['steps', 'rate', 'ref']),
        ],
    )
    def test_which_constructor_counts(self, module, name, arguments):
        assert list(read_signature(f'{module}:{name}').parameters) == arguments

    def test_names_that_only_type_checkers_see_are_read_too(self, module):
        parameters = read_signature(f'{module}:later').parameters
        assert [accepts(parameters['steps'].hint, value) for value in ([1], 'text', 3)] == [True, False, False]
        assert [accepts(parameters['rate'].hint, value) for value in (1, 'text')] == [True, False]

    def test_dataclasses(self, module):
        read = read_signature(f'{module}:MoreData')
        assert [(n, describe(p.hint), p.required) for n, p in read.parameters.items()] == [
            ('a', 'an integer', True),
            ('b', 'a string', False),
            ('c', 'a number', False),
        ]

    @pytest.mark.parametrize(
        ('name', 'good', 'bad'),
        [
            ('a', [1, 'x', None], []),
            ('b', [['small'], ()], ['small', ['tiny']]),
            ('c', [1], ['x', {}]),  # no value of a config is an `Own`
            ('d', [1, 'x', None], []),
            ('e', [1, 'x', None], []),
            ('f', ['x', 1], []),
            ('g', ['x', {}], [1, None]),
            ('h', [{}, {'a': 'x'}, None], [{'a': 1}, [1]]),
            ('i', [[1, 2]], [[1], 'x']),
        ],
    )
    def test_annotations(self, module, name, good, bad):
        hint = read_signature(f'{module}:function').parameters[name].hint
        assert [v for v in good if not accepts(hint, v)] == []
        assert [v for v in bad if accepts(hint, v)] == []

    def test_parts_are_read_with_the_keys_of_their_owner(self, module):
        hint = read_signature(f'{module}:function').parameters['g'].hint
        (part,) = hint.__metadata__
        assert (part.kind, part.own) == ('poolings', {'weight': float})
        inner = typing.get_args(typing.get_args(read_signature(f'{module}:function').parameters['h'].hint)[0])[1]
        assert inner.__metadata__[0].kind == 'poolings'


class Pool:
    def __init__(self, p: float = 3.0) -> None: ...


class Head:
    def __init__(
        self,
        inputs: tuple,
        build_part: Any,
        pool: Annotated[str | dict | None, Part('poolings')] = None,
        pools: dict[str, Annotated[dict | None, Part('poolings', share=float)]] | None = None,
        chain: Sequence[Annotated[dict, Part('poolings')]] = (),
        groups: Mapping[str, Annotated[dict, ArgumentsOf('pool', 'poolings')]] | None = None,
    ) -> None: ...


@dataclass
class Settings:
    count: int = 0
    head: Annotated[dict, Part('heads', default='Head')] | None = None
    mode: Literal['a', 'b'] = 'a'


class TestChecking:
    @pytest.fixture
    def schema(self) -> Schema:
        components = Components()
        components.add('poolings', 'Pool', Pool)
        components.add('heads', 'Head', Head)
        return Schema(components)

    def said(self, schema: Schema, **head: Any) -> list[str]:
        found = schema.check_call(signature_of(Settings), {'head': head}, '')
        return [str(problem).splitlines()[0] for problem in found]

    def test_what_is_sound_at_every_depth(self, schema):
        parts = {'type': 'Pool', 'p': 2}
        assert self.said(
            schema, pool=parts, pools={'x': {**parts, 'share': 1}, 'y': None}, chain=[parts, {'type': 'Pool'}],
            groups={'any name': {'p': 1.5}},
        ) == []  # fmt: skip
        assert self.said(schema, pool='Pool') == []
        assert schema.check_call(signature_of(Settings), {'head': None}, '') == []

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
            ({'inputs': 1}, 'head.inputs is filled in by the framework'),
            ({'build_part': 1}, 'head.build_part is filled in by the framework'),
            ({'type': 'Hed'}, "head: no head called 'Hed', did you mean 'Head'?"),
        ],
        ids=lambda value: str(value)[:50],
    )
    def test_what_is_wrong_at_any_depth_has_its_path(self, schema, head, text):
        assert self.said(schema, **head) == [text] or self.said(schema, **head)[0].startswith(text)

    def test_what_its_author_declared_wrong_is_told_and_stops_nothing(self, schema):
        class Odd:
            def __init__(self, part: Annotated[dict, Part('poolingz')] | None = None) -> None: ...

            @staticmethod
            def check_config(config, where, components):
                raise KeyError('key')

        schema.components.add('losses', 'Odd', Odd)
        hint = Annotated[dict, Part('losses')]
        found = schema.check_value(hint, {'type': 'Odd', 'part': {}}, 'x', {})
        assert [str(problem).splitlines()[0] for problem in found] == [
            "x.part: its Part names 'poolingz', which is no kind",
            "x: check_config of Odd raised KeyError: 'key'",
        ]

    def test_of_several_kinds_the_one_that_fits_counts(self, schema):
        either = Annotated[dict, Part('poolings')] | Annotated[dict, Part('heads')]
        assert schema.check_value(either, {'type': 'Head'}, 'x', {}) == []
        assert schema.check_value(either, {'type': 'Pool'}, 'x', {}) == []
        assert len(schema.check_value(either, {'type': 'Nothing'}, 'x', {})) == 1

    def test_each_item_of_a_fixed_tuple_has_its_own(self, schema):
        hint = tuple[Annotated[dict, Part('poolings')], int]
        assert schema.check_value(hint, [{'type': 'Pool'}, 3], 'x', {}) == []
        assert len(schema.check_value(hint, [{'type': 'Pool', 'q': 1}, 'y'], 'x', {})) == 2
        assert len(schema.check_value(hint, [{'type': 'Pool'}], 'x', {})) == 1

    def test_all_of_it_at_once(self, schema):
        assert len(self.said(schema, pool=3, chain=[{}, 5], pools={'x': {'type': 'Pool', 'p': 'x', 'q': 1}})) == 5

    def test_what_is_filled_in_elsewhere_may_be_missing_there_alone(self, schema):
        def needs(root: str) -> None: ...

        schema.components.add('datasets', 'D', needs)
        hint = Annotated[dict, Part('datasets')]
        (problem,) = schema.check_value(hint, {'type': 'D'}, 'dataset', {})
        assert 'dataset: needs needs the argument' in str(problem)
        assert Schema(schema.components, ['dataset.root']).check_value(hint, {'type': 'D'}, 'dataset', {}) == []


@pytest.mark.parametrize(
    ('path', 'words'),
    [
        ('seed', 'an integer'),
        ('images.size', '(an integer, an integer)'),
        ('images.train.0.type', 'a string'),
        ('images.train.9.type', None),
        ('images.train.1.padding', 'an integer or a list of an integer or None'),
        ('model.backbone.depth', '18, 34, 50, 101'),
        ('model.necks.low.inputs', 'a string or a list of a string'),
        ('model.heads.low.losses.tri.weight', 'a number'),
        ('model.heads.low.losses.tri.margin', 'a number or None'),
        ('model.heads.low.pool', "dict(type='...', ...), one of poolings, or its name"),
        ('step.optimizer.lr', 'a number'),
        ('step.schedule.0.by', "'epoch', 'step'"),
        ('step.schedule.0.nothing', None),
        ('nothing.at.all', None),
    ],
)
def test_what_may_stand_at_a_path(path, words):
    read = config.load(CONFIG)
    hint = Schema(MANAGER.components).hint_at(sections(), read, path.split('.'))
    assert words == (None if hint is None else describe(hint))


@pytest.mark.parametrize('value', [None, 3, 'x', [1], {'a': 1}, {'type': None}, [[]], {'type': {'a': 1}}, float('nan')])
@pytest.mark.parametrize('section', ['model', 'images', 'training', 'step', 'loggers', 'requires', 'seed', 'plugins'])
def test_nothing_in_a_section_makes_the_check_itself_fail(section, value):
    found = check_config({**config.load(CONFIG), section: value}, MANAGER)
    assert all(isinstance(problem, VireidError) for problem in found)
    assert found or (section, value) == ('seed', 3)
