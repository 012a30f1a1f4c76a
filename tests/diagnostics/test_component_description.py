"""Components are described from their docstrings and signatures."""

from __future__ import annotations

import pytest

from vireid.core.registry.signature import signature_of
from vireid.diagnostics.component_description import Argument, describe
from vireid.plugin_manager.manager import create_manager

COMPONENTS = create_manager().components


class Base:
    def __init__(self, inputs, width: int = 3, *, names: tuple[str, ...] = ('a', 'b')):
        """Makes it.

        Args:
            inputs: what it reads.
            width: how wide,
                in pixels.
        """


class Neck(Base):
    """Fuses
    features.

    More about it: as in a paper.

    Args:
        width: overridden.
    """


def function(a, b=None):
    """A function."""


def with_types(a, b):
    """As torchvision writes it.

    Args:
        a (tuple of float (min, max) or float): a range: from min to max.
        b (int): a number.
    """


def test_a_docstring_up_to_its_first_section_and_its_first_paragraph():
    found = describe(Neck)
    assert found.summary == 'Fuses features.'
    assert found.text == 'Fuses\nfeatures.\n\nMore about it: as in a paper.'
    assert found.place.endswith(':Neck')


def test_inherited_arguments_with_what_the_nearest_docstring_says_of_them():
    assert describe(Neck).arguments == (
        Argument('inputs', '', None, ''),
        Argument('width', 'int', '3', 'overridden.'),
        Argument('names', 'tuple[str, ...]', "('a', 'b')", ''),
    )
    assert {a.name: a.text for a in describe(Base).arguments} == {
        'inputs': 'what it reads.',
        'width': 'how wide, in pixels.',
        'names': '',
    }


def test_types_in_the_docstring_are_no_part_of_the_description():
    assert [a.text for a in describe(with_types).arguments] == ['a range: from min to max.', 'a number.']


def test_arguments_as_they_are_written_in_a_call():
    assert describe(Neck).signature() == "inputs, width=3, names=('a', 'b')"
    assert describe(Neck).signature(without=['inputs']) == "width=3, names=('a', 'b')"
    assert (describe(function).summary, describe(function).signature()) == ('A function.', 'a, b=None')


def test_what_is_written_in_c_has_no_arguments_to_show():
    assert describe(dict).arguments == ()


@pytest.mark.parametrize('component', COMPONENTS.listing(), ids=lambda c: f'{c.kind} {c.name}')
def test_every_builtin_component_says_what_it_is_and_takes(component):
    target = COMPONENTS.get(component.kind, component.name)
    found = describe(target)
    assert found.summary
    assert {argument.name for argument in found.arguments} >= {
        name for name, parameter in signature_of(target).parameters.items() if parameter.required
    }
