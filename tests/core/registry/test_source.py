"""Components are described from their source: imports and base classes are followed, nothing is run."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import pytest

from vireid.core.registry.plugins import create_manager
from vireid.core.registry.source import Argument, describe

NECK = '''
    """A module."""
    raise RuntimeError('this module was run')


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
'''


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    folder = tmp_path / 'described_package'
    (folder / 'inner').mkdir(parents=True)
    (folder / '__init__.py').write_text('raise RuntimeError("the package was run")\n')
    (folder / 'inner' / '__init__.py').write_text('from .neck import Neck as Renamed\nfrom . import neck\n')
    (folder / 'inner' / 'neck.py').write_text(textwrap.dedent(NECK))
    (folder / 'user.py').write_text(
        'from described_package.inner import Renamed\nfrom described_package.inner import neck\n\n\n'
        'class Own(neck.Base):\n    """Own."""\n\n\nclass Looped(Looped):\n    """Looped."""\n'
    )
    (folder / 'broken.py').write_text('def f(:\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    return 'described_package'


def test_class_docstring_and_the_arguments_of_its_base(package):
    found = describe(f'{package}.inner.neck:Neck')
    assert found.summary == 'Fuses features.'
    assert found.text == 'Fuses\nfeatures.\n\nMore about it: as in a paper.'
    assert found.arguments == (
        Argument('inputs', '', None),
        Argument('width', 'int', '3', 'overridden.'),
        Argument('names', 'tuple[str, ...]', "('a', 'b')"),
    )
    assert found.signature() == "inputs, width=3, names=('a', 'b')"
    assert found.signature(without=['inputs']) == "width=3, names=('a', 'b')"


def test_imports_are_followed_and_nothing_is_run(package):
    for name in ('inner:Renamed', 'user:Renamed'):
        assert describe(f'{package}.{name}').place == f'{package}.inner.neck:Neck'
    assert [a.name for a in describe(f'{package}.user:Own').arguments] == ['inputs', 'width', 'names']
    assert package not in sys.modules


def test_arguments_are_explained_by_the_class_or_else_by_its_init(package):
    found = {a.name: a.text for a in describe(f'{package}.inner.neck:Base').arguments}
    assert found == {'inputs': 'what it reads.', 'width': 'how wide, in pixels.', 'names': ''}


def test_functions_too(package):
    found = describe(f'{package}.inner.neck:function')
    assert (found.summary, found.signature()) == ('A function.', 'a, b=None')


@pytest.mark.parametrize(
    'target', ['inner.neck:Nothing', 'broken:f', 'nowhere:x', 'inner.neck.deeper:x', 'user:Looped']
)
def test_what_cannot_be_found_is_its_place(package, target):
    found = describe(f'{package}.{target}')
    assert found.place == f'{package}.{target}'
    assert found.arguments == ()


def test_a_class_that_is_there_already():
    class Typed:
        """Typed in."""

        def __init__(self, inputs, share: float = 0.5) -> None: ...

    found = describe(Typed)
    assert found.summary == 'Typed in.'
    assert found.signature() == 'inputs, share=0.5'


@pytest.mark.parametrize('component', create_manager().components.listing(), ids=lambda c: f'{c.kind} {c.name}')
def test_every_builtin_component_is_found(component):
    assert isinstance(component.target, str)
    found = describe(component.target)
    assert found.summary or component.kind == 'optimizers'  # torch puts their docstrings on afterwards
    assert found.arguments or component.name in {'Average', 'Max', 'ToFloat', 'MetricsFile'}
