"""Files of tensors from outside: what `torch.save` and safetensors wrote, read to the CPU; nothing in them runs."""

from __future__ import annotations

import os
import pickle
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vireid.boundary.reading import open_regular, require_sizes, require_small

# bytes that tensors may add up to, and times the size of their file besides: several may share one memory
FREE, SHARED = 512 * 2**20, 8


def load_tensors(path: str | Path) -> Any:
    """Reads what `torch.save` wrote: tensors and plain values.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is damaged, announces more than it has, or holds anything else.
        pickle.UnpicklingError: if it names code.
    """
    import torch

    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                require_sizes(archive.infolist(), size, packed=False)
                torn = archive.testzip()  # torch stores a sum of every part and compares none
            if torn is not None:
                raise ValueError(f'{torn} does not have the sum that was written with it')
        file.seek(0)
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # of pickle protocols
            content = torch.load(file, map_location='cpu', weights_only=True)
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


def names_code(error: BaseException) -> bool:
    """Says whether a file was refused since it names code: torch's own advice then is to run it; ours is not."""
    return isinstance(error, pickle.UnpicklingError)
