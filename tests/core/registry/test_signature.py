"""Arguments against signatures: every wrong one is found before anything is built."""

from __future__ import annotations

import functools
import numbers
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional, Union

import pytest
from annotated_types import Ge, Gt, Interval, Le
from hypothesis import given
from hypothesis import strategies as st

from vireid.core.registry.hints import describe
from vireid.core.registry.schema import check
from vireid.core.registry.signature import Parameter, Signature, signature_of
from vireid.errors import MissingKey, UnknownKey, VireidError, WrongValue, raise_all

if TYPE_CHECKING:
    from somewhere import Nowhere


def accepts(hint: Any, value: Any) -> bool:
    """Says whether a value fits a hint."""
    return check(Signature('anything', {'value': Parameter(hint)}), {'value': value}, where='') == []


class Neck:
    """A component with one argument of each common kind."""

    def __init__(
        self,
        inputs: list[str],
        channels: int,
        rate: float = 0.1,
        size: tuple[int, int] = (288, 144),
        pooling: Literal['avg', 'max'] = 'avg',
        depth: int | None = None,
        groups: dict[str, int] | None = None,
    ) -> None:
        raise AssertionError('checking must not build')


def said(target: Callable[..., Any], supplied: Collection[str] = (), **arguments: Any) -> list[VireidError]:
    """Returns all problems."""
    return check(target, arguments, supplied=supplied, where='model.necks.s2')


def neck(**arguments: Any) -> list[VireidError]:
    return said(Neck, ('inputs',), **{'channels': 8, **arguments})


def test_a_sound_call_has_no_problem() -> None:
    assert neck(rate=0.5, size=(1, 2), pooling='max', depth=None, groups={'a': 1}) == []


@pytest.mark.parametrize(
    'arguments',
    [{'rate': 1}, {'size': [288, 144]}, {'depth': 50}, {'groups': {}}, {'rate': -1.5}, {'rate': float('inf')}],
    ids=str,
)
def test_an_int_passes_for_a_float_and_a_list_for_a_tuple(arguments: dict[str, Any]) -> None:
    assert neck(**arguments) == []


@pytest.mark.parametrize(
    ('argument', 'value', 'allowed'),
    [
        ('channels', True, 'an integer'),
        ('channels', 8.0, 'an integer'),
        ('channels', '8', 'an integer'),
        ('channels', None, 'an integer'),
        ('rate', False, 'a number'),
        ('rate', '1e-4', 'a number'),
        ('size', (288,), '(an integer, an integer)'),
        ('size', (288, 144, 3), '(an integer, an integer)'),
        ('size', (288, 144.0), '(an integer, an integer)'),
        ('size', 288, '(an integer, an integer)'),
        ('size', '28', '(an integer, an integer)'),
        ('pooling', 'mean', "'avg', 'max'"),
        ('pooling', None, "'avg', 'max'"),
        ('pooling', ['avg'], "'avg', 'max'"),
        ('depth', '50', 'an integer or None'),
        ('depth', True, 'an integer or None'),
        ('groups', {'a': 'x'}, 'a dict of integers or None'),
        ('groups', [1], 'a dict of integers or None'),
        ('groups', {1: 1}, 'a dict of integers or None'),
    ],
)
def test_a_wrong_type_is_shown_with_its_place_value_type_and_what_is_allowed(
    argument: str, value: Any, allowed: str
) -> None:
    (error,) = neck(**{argument: value})
    assert (type(error), error.path, error.allowed) == (WrongValue, f'model.necks.s2.{argument}', allowed)
    assert f'{value!r} ({type(value).__name__})' in error.given


def test_an_unknown_argument_gets_the_nearest_and_all_that_may_be_set() -> None:
    (error,) = neck(chanels=3)
    assert (type(error), error.path) == (UnknownKey, 'model.necks.s2.chanels')
    assert "'channels'?" in error.given
    assert error.allowed == 'channels, depth, groups, pooling, rate, size'


def test_an_argument_like_nothing_gets_no_guess() -> None:
    (error,) = neck(zzz=3)
    assert '?' not in error.given
    assert error.allowed.startswith('channels, depth')


def test_a_missing_argument_is_named_with_its_kind_and_where_to_set_it() -> None:
    (error,) = said(Neck, ('inputs',))
    assert (type(error), error.path) == (MissingKey, 'model.necks.s2.channels')
    assert '(an integer)' in error.given
    assert 'model.necks.s2.channels' in error.todo


def test_all_problems_are_found_at_once() -> None:
    problems = said(Neck, size=3, sizes=3, pooling=1)
    assert len(problems) == 5  # size, sizes, pooling; inputs and channels are missing
    with pytest.raises(VireidError) as caught:
        raise_all(problems)
    assert all(str(problem) in str(caught.value) for problem in problems)


def test_no_problem_raises_nothing_and_one_is_raised_as_it_is() -> None:
    raise_all([])
    problem = VireidError('given', allowed='allowed', todo='todo')
    with pytest.raises(VireidError) as caught:
        raise_all([problem])
    assert caught.value is problem


def test_what_the_framework_supplies_is_never_missing_nor_offered_nor_to_be_set() -> None:
    assert said(Neck, ('inputs', 'channels')) == []
    (error,) = said(Neck, ('inputs', 'channels'), nothing=1)
    assert 'inputs' not in str(error)
    assert 'channels' not in str(error)
    (error,) = said(Neck, ('inputs', 'channels'), inputs=['stage2'])
    assert (type(error), error.path) == (UnknownKey, 'model.necks.s2.inputs')
    assert 'inputs' in error.todo


def test_supplying_what_a_component_does_not_take_is_no_problem() -> None:
    assert said(Neck, ('inputs', 'channels', 'num_identities')) == []


def test_a_component_without_arguments_says_so() -> None:
    class Bare:
        pass

    assert said(Bare) == []
    (error,) = said(Bare, size=1)
    assert (type(error), error.path, error.allowed) == (UnknownKey, 'model.necks.s2.size', 'no arguments')


def test_a_component_with_keyword_arguments_takes_any_name_and_still_checks_those_it_names() -> None:
    def timm_model(name: str, depth: int = 50, **options: float) -> None: ...

    assert said(timm_model, name='resnet', anything=1, options=0.5) == []
    assert len(said(timm_model, name=3, depth='x', anything=1)) == 2
    assert len(said(timm_model, name='resnet', anything=[1], options={'a': 1})) == 2
    assert len(said(timm_model, anything=1)) == 1


def test_positional_rest_arguments_cannot_be_set() -> None:
    def chain(*steps: int, last: int = 0) -> None: ...

    assert 'steps' not in signature_of(chain).parameters
    assert said(chain) == []
    assert len(said(chain, steps=[1])) == 1


def test_keyword_only_and_inherited_arguments_and_dataclasses_are_checked() -> None:
    class Wide(Neck):
        pass

    @dataclass
    class Settings:
        epochs: int
        precision: str = '32-true'

    def keyword(*, count: int) -> None: ...

    assert len(said(Wide, inputs=[], channels='x')) == 1
    assert len(said(Settings, epochs='x', precision=32)) == 2
    assert len(said(Settings)) == 1
    assert (len(said(keyword)), len(said(keyword, count='x')), said(keyword, count=1)) == (1, 1, [])


def test_a_hint_that_only_type_checkers_know_is_not_checked() -> None:
    def odd(x: Nowhere, y: int = 1) -> None: ...

    assert said(odd, x=object()) == []
    assert len(said(odd, x=1, y='text')) == 1  # the others still are
    assert len(said(odd, z=1)) == 2  # z is unknown, x is missing


def test_a_hint_that_pydantic_does_not_understand_is_not_checked_and_the_others_are() -> None:
    def odd(x: Annotated[int, ['no', 'hash']] = 1, y: list[Unknown] = (), z: int = 1) -> None: ...  # noqa: F821

    assert said(odd, x=1, y=[object], z=2) == []
    assert len(said(odd, y=[1], z='text')) == 1


def test_arguments_without_hints_take_anything() -> None:
    def loose(x, y=1): ...  # type: ignore[no-untyped-def]

    assert said(loose, x=object(), y='text') == []


def test_a_partly_applied_function_is_checked_by_name() -> None:
    def scale(x: int, factor: float) -> None: ...

    twice = functools.partial(scale, factor=2.0)
    assert said(twice, x=1) == []
    assert len(said(twice, x=1, facto=3)) == 1


@pytest.mark.parametrize('target', [dict, int], ids=['dict', 'int'])
def test_a_target_whose_signature_python_does_not_know_is_left_to_refuse_for_itself(target: type) -> None:
    assert said(target) == []


@pytest.mark.parametrize(
    ('hint', 'good', 'bad'),
    [
        (int, [0, -3, 10**30], [True, 1.0, '1', None]),
        (float, [0.5, 1, float('inf')], [True, '1', None, float('nan')]),
        (bool, [True, False], [0, 1, 'true']),
        (str, ['', 'x'], [1, None]),
        (Path, ['x', Path('x')], [1, None]),
        (None, [None], [0, '']),
        (Union[numbers.Number, Sequence], [1, 2.5, [1, 2]], ['x', True, None]),  # noqa: UP007, as torchvision has it
        (int | None, [1, None], [1.5, True]),
        (Optional[str], ['x', None], [1]),  # noqa: UP045
        (Union[int, str], [1, 'x'], [1.5, True, None]),  # noqa: UP007
        (int | tuple[int, int], [1, (1, 2), [1, 2]], [(1,), 'x']),
        (Literal['a', 1], ['a', 1], ['b', True, 1.0, None]),
        (Literal['a'] | None, ['a', None], ['b']),
        (list[int], [[], [1], (1, 2)], [[True], ['x'], 'x', 1]),
        (list, [[], ['x'], (1,)], ['x', {}]),
        (tuple[int, ...], [(), (1,), [1, 2, 3]], [(1.5,), 3]),
        (tuple[int, str], [(1, 'x'), [1, 'x']], [('x', 1), (1,), ()]),
        (tuple, [(), [1]], ['x', 1]),
        (Sequence[str], [['a'], ('a',), []], ['a', [1], {'a': 1}]),
        (Sequence[Literal['a', 'b']], [['a'], ('b', 'a')], [['c'], 'a']),
        (Sequence[Sequence[int]], [[[1], (2,)]], [[1], [['x']]]),
        (Collection[int], [[1], (1,)], ['x', [None]]),
        (Iterable[int], [[1], (1,)], ['x', {}, 3]),
        (Iterable, [[1], (1,)], ['x', {}, 3]),
        (dict, [{}, {'a': 1}], [[], 'x']),
        (dict[str, Any], [{}, {'a': 'b'}], [{1: 1}, []]),
        (Mapping[str, float], [{'a': 1, 'b': 0.5}], [{'a': 'x'}, {'a': True}]),
        (dict[str, dict[str, list[int]]], [{'a': {'b': [1]}}], [{'a': {'b': ['x']}}, {'a': [1]}]),
        (list[dict], [[{}], []], [[1], {}]),
        (Any, [None, 1, 'x'], []),
        (object, [None, 1, 'x'], []),
        (Callable[[int], int], [], ['a name', 1]),
        (Annotated[int, Ge(1)], [1, 5], [0, 1.5]),
        (Literal[1, 2], [1, 2], [True, 1.0, '1', 3]),
        (str | None, ['x', None], [float('nan'), 1]),
        (int | str, [1, 'x'], [float('nan'), 1.5]),
        (set[int], [], [[1], {'a': 1}, 'x']),
        (bytes, [], ['x', 1]),
        (numbers.Integral, [3], [True, 1.5, '3']),
        (Annotated[int, Ge(1), Le(3)] | None, [1, None], [4]),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_a_hint_accepts(hint: Any, good: list[Any], bad: list[Any]) -> None:
    assert [value for value in good if not accepts(hint, value)] == []
    assert [value for value in bad if accepts(hint, value)] == []


@given(st.lists(st.integers()))
def test_lists_and_tuples_are_interchangeable(items: list[int]) -> None:
    for hint in (list[int], tuple[int, ...], Sequence[int]):
        assert accepts(hint, items)
        assert accepts(hint, tuple(items))
    assert accepts(tuple[int, int], items) == (len(items) == 2)


@pytest.mark.parametrize(
    ('hint', 'words'),
    [
        (int, 'an integer'),
        (float, 'a number'),
        (bool, 'True or False'),
        (str, 'a string'),
        (Path, 'a path'),
        (None, 'None'),
        (int | None, 'an integer or None'),
        (Literal['a', 'b'], "'a', 'b'"),
        (list, 'a list'),
        (tuple, 'a list'),
        (list[int], 'a list of integers'),
        (tuple[int, ...], 'a list of integers'),
        (tuple[int, float], '(an integer, a number)'),
        (Sequence[str], 'a list of strings'),
        (Iterable[int], 'a list of integers'),
        (dict, 'a dict'),
        (dict[str, int], 'a dict of integers'),
        (Annotated[int, Ge(1)], 'an integer of at least 1'),
        (Annotated[float, Gt(0)], 'a number above 0'),
        (Annotated[float, Interval(ge=0, lt=1)], 'a number of at least 0 and below 1'),
        (Annotated[float, Ge(0), Le(1)], 'a number from 0 to 1'),
        (Neck, 'Neck'),
    ],
    ids=lambda value: str(value)[:30],
)
def test_hints_in_a_users_words(hint: Any, words: str) -> None:
    assert describe(hint) == words


class Below:
    def __init__(self, depth: int = 3, width: int = 4) -> None: ...


class HandsOn(Below):
    def __init__(self, extra: float, **kwargs) -> None:
        super().__init__(**kwargs)


class HandsOnAgain(HandsOn):
    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)


class Swallows:
    def __init__(self, known: int = 1, **kwargs) -> None: ...


class TakesAny:
    def __init__(self, known: int = 1, **more: float) -> None: ...


class TestOtherKeywords:
    """`**kwargs` hands on what the next class takes; it takes more only if it says what that is."""

    @pytest.mark.parametrize('target', [HandsOn, HandsOnAgain])
    def test_what_is_handed_on_is_checked_as_the_next_class_says(self, target):
        assert said(target, extra=0.5, depth=2) == []
        (error,) = said(target, extra=0.5, depth='2')
        assert (type(error), error.path, error.allowed) == (WrongValue, 'model.necks.s2.depth', 'an integer')
        (error,) = said(target, extra=0.5, dept=2)
        assert (type(error), error.path) == (UnknownKey, 'model.necks.s2.dept')
        assert "'depth'?" in error.given

    def test_what_the_class_itself_needs_has_to_be_given(self):
        (error,) = said(HandsOn)
        assert (type(error), error.path) == (MissingKey, 'model.necks.s2.extra')

    def test_what_the_class_gives_itself_need_not_be_given(self):
        class Base:
            def __init__(self, depth: int) -> None: ...

        class Fixed(Base):
            def __init__(self, **kwargs) -> None:
                super().__init__(depth=5, **kwargs)

        assert said(Fixed) == []

    def test_an_annotation_further_down_is_checked_too(self):
        class Base:
            def __init__(self, **more: float) -> None: ...

        class Above(Base):
            def __init__(self, **kwargs) -> None: ...

        (error,) = said(Above, foo='text')
        assert (type(error), error.path, error.allowed) == (WrongValue, 'model.necks.s2.foo', 'a number')

    def test_what_nobody_takes_is_refused(self):
        (error,) = said(Swallows, shedule=3)
        assert (type(error), error.path) == (UnknownKey, 'model.necks.s2.shedule')

    def test_an_annotation_opens_it_and_is_checked(self):
        assert said(TakesAny, anything=1.5) == []
        (error,) = said(TakesAny, anything='x')
        assert (type(error), error.path, error.allowed) == (WrongValue, 'model.necks.s2.anything', 'a number')
