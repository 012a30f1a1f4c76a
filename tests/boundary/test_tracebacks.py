"""An error is reported where the user can mend it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from vireid.boundary.tracebacks import raised_at


class Observing(TorchDispatchMode):
    """Sees each operation, as the count of operations does."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize('observed', [False, True])
def test_it_is_the_line_that_called_torch_even_if_something_observes_the_call(observed: bool) -> None:
    mode = Observing() if observed else torch.no_grad()
    with pytest.raises(RuntimeError) as caught, mode:
        torch.zeros(2) @ torch.zeros(3)
    place, _, line = raised_at(caught.value).rpartition(', line ')
    assert Path(place) == Path(__file__)
    assert '@ torch.zeros(3)' in Path(__file__).read_text().splitlines()[int(line) - 1]
