"""A lack of memory is told with what did not fit and what to lower; other errors are left alone."""

from __future__ import annotations

import pytest
import torch

from vireid.errors import OutOfMemory, VireidError
from vireid.runtime.memory import within_memory


def allocate() -> None:
    torch.empty(2**50)


def full_gpu() -> None:
    raise torch.cuda.OutOfMemoryError(
        'CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 8.00 GiB of which 1.00 GiB is '
        'free. If reserved but unallocated memory is large try setting PYTORCH_CUDA_ALLOC_CONF'
    )


def full_python() -> None:
    raise MemoryError


@pytest.mark.parametrize(
    ('fail', 'told'),
    [
        (allocate, '4503599627370496 bytes'),
        (full_gpu, '2.00 GiB'),
        (full_python, None),
    ],
)
def test_what_did_not_fit_and_what_to_lower(fail, told):
    with pytest.raises(OutOfMemory, match=told) as error, within_memory('a step on 8 images', 'lower the batch'):
        fail()
    assert error.value.given.startswith('a step on 8 images ')
    assert 'DefaultCPUAllocator' not in error.value.given  # nor what torch says around it
    assert 'PYTORCH' not in error.value.given
    assert error.value.todo == 'lower the batch'


def test_other_errors_pass():
    for error in (RuntimeError('mat1 and mat2 shapes cannot be multiplied'), ValueError('odd'), VireidError('known')):
        with pytest.raises(type(error)) as caught, within_memory('a step', 'lower it'):
            raise error
        assert caught.value is error
