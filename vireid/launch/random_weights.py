"""Models whose weights are about to be replaced are built without drawing random ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

# torch.nn.init calls the last two, but some of its functions are passed to a mode as a whole
DRAWS = (
    nn.init.uniform_, nn.init.normal_, nn.init.trunc_normal_, nn.init.xavier_uniform_, nn.init.xavier_normal_,
    nn.init.kaiming_uniform_, nn.init.kaiming_normal_, nn.init.orthogonal_, nn.init.sparse_,
    Tensor.uniform_, Tensor.normal_,
)  # fmt: skip


class SkipRandomWeights(TorchFunctionMode):
    """Within it, `nn.Parameter`s are not filled with random numbers: they keep whatever is in their memory.

    A ResNet-50 with two streams is built in less than a tenth of the time. Use it only if every parameter is then
    loaded, or only shapes are needed. Buffers are filled as usual, as a checkpoint may not contain them.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Calls the function, unless it draws the values of a parameter."""
        named = kwargs or {}
        if func in DRAWS:
            tensor = args[0] if args else named['tensor']
            if isinstance(tensor, nn.Parameter):
                return tensor
        return func(*args, **named)
