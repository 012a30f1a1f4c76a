"""Reads tensor files from outside, written by `torch.save` or safetensors, to the CPU without executing code."""

from __future__ import annotations

import io
import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vireid.boundary.malformed import BeyondLimit, Malformed
from vireid.boundary.pickles import require_modest
from vireid.boundary.reading import open_regular, require_sizes, require_small

# the total size of tensors: so many bytes, plus so many times the file size, since several may share one storage
FREE, SHARED = 512 * 2**20, 8
HEAD = 2**24  # bytes of a file that are searched for the attribute names of a module
PICKLES = 5  # of a file of torch before 1.6: its mark, version and machine, the content, and the storages
# types that training scripts save beside weights: NumPy's scalars and arrays, before and since NumPy 2, and the
# script's arguments
NUMPY = ('multiarray.scalar', 'multiarray._reconstruct', 'numeric._frombuffer')
BESIDE = (
    *(f'numpy.{core}.{name}' for core in ('core', '_core') for name in NUMPY),
    *('numpy.ndarray', 'numpy.dtype', 'argparse.Namespace'),
    *(f'pathlib{inner}.{name}' for inner in ('', '._local') for name in ('Path', 'PosixPath', 'WindowsPath')),
)


class CodeFound(BeyondLimit):
    """A file refers to code, which is never executed.

    Attributes:
        name: the code, such as `torchvision.models.resnet.ResNet`.
        is_module: whether the file contains a whole module, not only its weights.
    """

    def __init__(self, name: str, is_module: bool) -> None:
        self.name, self.is_module = name, is_module
        super().__init__(f'it contains {"a whole module" if is_module else "code"}, {name}, which is not executed')


class Unread:
    """Replaces an object beside the tensors, such as scores: accepts any state and stores nothing."""

    def __new__(cls, *values: Any) -> Unread:
        return super().__new__(cls)

    def __init__(self, *values: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...


class UnreadNumbers(Unread):
    """Replaces an array or a number of NumPy."""


def load_tensors(path: str | Path, beside: bool = False) -> Any:
    """Reads what `torch.save` wrote: tensors and plain values.

    Args:
        path: the file.
        beside: skip NumPy's values and a script's arguments (they become `Unread`) instead of rejecting them as code.

    Raises:
        OSError: if it cannot be read.
        Malformed: if it is damaged or contains anything else.
        BeyondLimit: if it declares more than it contains, or would take far more time or memory than weights need.
        CodeFound: if it refers to code.
        pickle.UnpicklingError: if torch did not write it.
    """
    import torch

    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                names = archive.namelist()
                if any(name.endswith('/constants.pkl') for name in names):
                    raise CodeFound('torch.jit.ScriptModule', is_module=True)
                if not any(name.endswith('/data.pkl') for name in names):
                    kind = 'a NumPy archive' if any(name.endswith('.npy') for name in names) else 'a ZIP archive'
                    raise Malformed(f'it is {kind}, which torch.save did not write')
                require_sizes(archive.infolist(), size, packed=False)
                torn = archive.testzip()  # torch stores a checksum of every part but verifies none
            if torn is not None:
                raise Malformed(f'the checksum of {torn} does not match')
            file.seek(0)
            # torch's own reader, so that what is checked is what torch will unpickle
            record = torch._C.PyTorchFileReader(file).get_record('data.pkl')
            require_modest(io.BytesIO(record), size, 1)
        else:
            file.seek(0)
            require_modest(file, size, PICKLES)
        file.seek(0)
        # NumPy's own functions could build arrays over memory that they do not own; `Unread` cannot
        skipped: list[Any] = [(UnreadNumbers if n.startswith('numpy') else Unread, n) for n in BESIDE if beside]
        with warnings.catch_warnings(), torch.serialization.safe_globals(skipped):
            warnings.simplefilter('ignore')  # about pickle protocols
            try:
                content = torch.load(file, map_location='cpu', weights_only=True)
            except pickle.UnpicklingError as error:
                if code := re.search(r'GLOBAL (\S+)', str(error)):
                    file.seek(0)
                    head = file.read(HEAD)
                    raise CodeFound(code[1], b'_parameters' in head and b'_modules' in head) from error
                raise
    require_small(content)
    content_tensors = list(tensors(content))
    for tensor in content_tensors:
        if tensor.is_quantized:
            raise Malformed(f'its tensors are quantized ({tensor.dtype}); save them before quantization')
        if tensor.layout is not torch.strided:
            raise Malformed(f'a tensor has the layout {tensor.layout}')
    # an expanded tensor of a billion values takes no memory until something copies it
    total = sum(tensor.numel() * tensor.element_size() for tensor in content_tensors)
    if total > FREE + SHARED * size:
        raise BeyondLimit(f'its tensors declare {total:,} bytes and the file has {size:,}')
    return content


def tensors(value: Any) -> Iterator[Any]:
    """Yields the tensors in nested lists and dicts."""
    import torch

    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (Mapping, list, tuple)):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from tensors(item)


def is_foreign(error: BaseException) -> bool:
    """Returns whether torch could not parse a file; torch then advises to execute it, which vireid never does."""
    return isinstance(error, pickle.UnpicklingError)
