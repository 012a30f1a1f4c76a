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


def full_apple_gpu() -> None:
    raise RuntimeError(
        'MPS backend out of memory (MPS allocated: 9.05 GB, other allocations: 1.00 MB, max allowed: 9.07 GB). Tried '
        'to allocate 200.00 MB on private pool. Use PYTORCH_MPS_HIGH_WATERMARK_RATIO=0.0 to disable upper limit'
    )


def full_in_cuda() -> None:
    raise RuntimeError('CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported')


def full_in_a_library() -> None:
    raise RuntimeError('CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`')


@pytest.mark.parametrize(
    ('fail', 'told'),
    [
        (allocate, '4503599627370496 bytes'),
        (full_gpu, '2.00 GiB'),
        (full_python, None),
        (full_apple_gpu, '200.00 MB'),
        (full_in_cuda, 'CUDA'),
        (full_in_a_library, 'CUBLAS'),
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
