"""Files of tensors from outside: what `torch.save` and safetensors wrote, read to the CPU; nothing in them runs."""

from __future__ import annotations

import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vireid.boundary.reading import open_regular, require_sizes, require_small

# bytes that tensors may add up to, and times the size of their file besides: several may share one memory
FREE, SHARED = 512 * 2**20, 8
HEAD = 2**24  # bytes of a file in which a module names its parts
# what training scripts keep beside weights, made by these: NumPy's numbers and arrays, before version 2 and since, and
# the arguments of the script
NUMPY = ('multiarray.scalar', 'multiarray._reconstruct', 'numeric._frombuffer')
BESIDE = (
    *(f'numpy.{core}.{name}' for core in ('core', '_core') for name in NUMPY),
    *('numpy.ndarray', 'numpy.dtype', 'argparse.Namespace'),
    *(f'pathlib{inner}.{name}' for inner in ('', '._local') for name in ('Path', 'PosixPath', 'WindowsPath')),
)


class CodeFound(ValueError):
    """A file names code, which is never run.

    Attributes:
        name: of the code, such as `torchvision.models.resnet.ResNet`.
        is_module: it is a whole network, not its weights alone.
    """

    def __init__(self, name: str, is_module: bool) -> None:
        self.name, self.is_module = name, is_module
        super().__init__(f'it holds {"a whole module" if is_module else "code"}, {name}, which is not run')


class Unread:
    """Stands for what lies beside the tensors, such as scores: it takes all and keeps nothing."""

    def __new__(cls, *values: Any) -> Unread:
        return super().__new__(cls)

    def __init__(self, *values: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...


def load_tensors(path: str | Path, beside: bool = False) -> Any:
    """Reads what `torch.save` wrote: tensors and plain values.

    Args:
        path: the file.
        beside: NumPy's values and the arguments of a script are passed over (`Unread`), not refused as code.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is damaged, announces more than it has, or holds anything else.
        CodeFound: if it names code.
        pickle.UnpicklingError: if it is no file of torch.
    """
    import torch

    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                if any(name.endswith('/constants.pkl') for name in archive.namelist()):
                    raise CodeFound('torch.jit.ScriptModule', is_module=True)
                require_sizes(archive.infolist(), size, packed=False)
                torn = archive.testzip()  # torch stores a sum of every part and compares none
            if torn is not None:
                raise ValueError(f'{torn} does not have the sum that was written with it')
        file.seek(0)
        # NumPy's own functions can be made to build arrays of what is no memory of theirs; `Unread` cannot
        with warnings.catch_warnings(), torch.serialization.safe_globals([(Unread, n) for n in BESIDE if beside]):
            warnings.simplefilter('ignore')  # of pickle protocols
            try:
                content = torch.load(file, map_location='cpu', weights_only=True)
            except pickle.UnpicklingError as error:
                if code := re.search(r'GLOBAL (\S+)', str(error)):
                    file.seek(0)
                    head = file.read(HEAD)
                    raise CodeFound(code[1], b'_parameters' in head and b'_modules' in head) from error
                raise
    require_small(content)
    found = list(tensors(content))
    unusual = next((t for t in found if t.layout is not torch.strided or t.is_quantized), None)
    if unusual is not None:
        raise ValueError(f'a tensor is {unusual.layout}')
    # a value that is shown a billion times takes no memory until something copies it
    total = sum(tensor.numel() * tensor.element_size() for tensor in found)
    if total > FREE + SHARED * size:
        raise ValueError(f'its tensors announce {total:,} bytes and the file has {size:,}')
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
    """Says whether torch could not make anything of a file: its own advice then is to run it; ours is not."""
    return isinstance(error, pickle.UnpicklingError)
