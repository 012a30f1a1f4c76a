"""Any network of torchvision or timm whose first stages have one copy per modality and whose later ones are shared."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vireid.boundary.weights import read_weights
from vireid.core.data.randomness import preserved
from vireid.core.errors import VireidError
from vireid.core.types import Modality
from vireid.plugins.backbones.chain import Chain, find_chain
from vireid.plugins.backbones.networks import ALLOWED, Library, build_network, pretrained_weights, require_network
from vireid.plugins.backbones.streams import TwoStreams, with_channels
from vireid.plugins.backbones.vision_transformer import (
    EMBEDDING,
    TokenEmbedding,
    embedding_keys,
    is_vision_transformer,
    tokens_as_map,
    transformer_stages,
)
from vireid.plugins.backbones.weights import fitting

PROBE = (256, 128)  # divides by 32, and height and width differ


class TwoStreamNetwork(TwoStreams):
    """A network of torchvision or timm in two streams, cut into stages by the stride of its maps.

    `stage1` ends with the last module that makes a map of stride 4, `stage2` 8, `stage3` 16, `stage4` 32. Stage 0 is
    what comes before stride 4, or the patch embedding of a network that starts with one. A network whose maps all have
    one stride is cut into four stages of equal depth; the map of a vision transformer is its tokens, without prefix
    tokens and without the final norm. Stages before `shared_from` have one copy per modality and are `paired`, later
    ones are shared and `joint`. Channels and sizes are found by running one image. Classifiers and stages after the
    last of `out_stages` are not kept.

    Networks that are made for one size (vision transformers, Swin of timm) are built at their own, filled with weights,
    then set to `image_size`. Published weights expect images normalised as when they were trained: timm's
    `pretrained_cfg` tells `mean` and `std`.

    Args:
        network: its name, such as `mobilenet_v2`; for timm also with a tag of its weights.
        library: `torchvision` or `timm` (pip install 'vireid[timm]').
        shared_from: first shared stage, 0 (one network for all) to 5 (nothing shared).
        out_stages: stages whose maps are handed on, of those that the network has; 3 is 1/16 of the image.
        weights: `pretrained` (torchvision's DEFAULT or timm's, downloaded once), the path of a file with this network
            (of torch.save, or `.safetensors`), below any key and behind any prefix, or None for random weights.
        options: arguments of the network's constructor, such as {'drop_path_rate': 0.1}.
        pretrained: False ignores `weights`: the framework says so where a checkpoint is about to replace them.
        image_size: (H, W) of the images, from which the maps' sizes follow; None leaves them open.
        modalities: channels of the images by modality, 1 to 4; 3 of visible and infrared ones if None.
        streams: modalities without a stream of their own, and whose they take: {'x': 'visible'}.

    Raises:
        VireidError: if the network, an option or a stage does not exist, the network is no chain of modules up to the
            last stage or makes no maps, or the weights are out of reach or do not fit.
    """

    def __init__(
        self,
        network: str,
        library: Library = 'torchvision',
        shared_from: int = 0,
        out_stages: Sequence[int] = (3,),
        weights: str | None = 'pretrained',
        options: dict[str, Any] | None = None,
        pretrained: bool = True,
        image_size: tuple[int, int] | None = None,
        modalities: Mapping[Modality, int] | None = None,
        streams: dict[Modality, Modality] | None = None,
    ) -> None:
        super().__init__(shared_from, out_stages, modalities, streams)
        build = _Builder(network, library, options or {}, weights if pretrained else None, image_size, self.out_stages)
        self.add_stages(build)
        self.layouts = {s: build.layouts[s] for s in self.out_stages}
        self.prefix, self.grid = build.prefix, build.grid
        shapes = self._shapes(image_size or build.size, build.name)
        for s in self.out_stages:
            if shapes[s][0] != build.channels.get(s, shapes[s][0]):
                raise VireidError(
                    f'stage {s} of {build.name} makes {build.channels[s]} channels of one image and {shapes[s][0]} of '
                    'another',
                    allowed='networks in whose maps channels and places can be told apart',
                )
        self.outputs = {
            f'stage{s}': self.spec(s, shapes[s][0], shapes[s][1:] if image_size else None) for s in self.out_stages
        }

    def as_map(self, stage: int, made: Tensor) -> Tensor:
        """Returns what a stage made as a map (B, C, H, W)."""
        if self.layouts[stage] == 'tokens':
            return tokens_as_map(made, self.prefix, self.grid)
        return made.permute(0, 3, 1, 2) if self.layouts[stage] == 'channels last' else made

    def _shapes(self, size: tuple[int, int], name: str) -> dict[int, tuple[int, int, int]]:
        """Returns (C, H, W) of the maps of an image of (H, W), by stage."""
        modality = next(m for m, own in self.stream_of.items() if m == own)
        image = torch.zeros(1, self.channels[modality], *size, device=next(self.parameters()).device)
        self.eval()
        try:
            with preserved(), torch.no_grad():
                made: Any = self({modality: image})
        except Exception as error:  # a network may fail in any way
            raise _does_not_run(name, size, error) from error
        self.train()
        maps = {s: made[f'stage{s}'] for s in self.out_stages}
        return {s: tuple((m if isinstance(m, Tensor) else m[modality]).shape[1:]) for s, m in maps.items()}


class _Builder:
    """Builds the stages of a network, the same at each call but for random weights.

    What the network is like is found at the first call.

    Attributes:
        name: of the network, for errors.
        parts: the names of the modules of each stage.
        layouts: of what each stage makes: `map`, `channels last` or `tokens`.
        channels: of the map of each stage, where one image has told them.
        size: (H, W) that the network takes, if `image_size` is None.
        prefix: tokens before those of the patches.
        grid: (H, W) of the tokens.
    """

    def __init__(
        self,
        network: str,
        library: Library,
        options: Mapping[str, Any],
        weights: str | None,
        image_size: tuple[int, int] | None,
        out_stages: Sequence[int],
    ) -> None:
        self.network, self.library, self.options, self.weights = network, library, options, weights
        self.image_size, self.out_stages = image_size, out_stages
        self.name = f'{network} of {library}'
        self.parts: dict[int, tuple[str, ...]] = {}
        self.layouts: dict[int, str] = {}
        self.channels: dict[int, int] = {}
        self.state: dict[str, Tensor] | None = None
        self.size, self.prefix, self.grid = PROBE, 0, (0, 0)
        require_network(network, library)

    def __call__(self, channels: int) -> dict[str, nn.Module]:
        network: Any = build_network(self.network, self.library, self.options)
        if not self.parts:
            self._find_stages(network)
            self.state = self._read(network)
        if self.state is not None:
            network.load_state_dict(self.state, strict=False)  # complete for what is kept, as `fitting` saw to
        if self.image_size and hasattr(network, 'set_input_size'):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter('ignore', UserWarning)  # how timm resamples position tables is its own matter
                    network.set_input_size(img_size=tuple(self.image_size))
            except Exception as error:
                raise _does_not_run(self.name, self.image_size, error) from error
        if channels != 3:
            with_channels(self._first_convolution(network), channels)
        stages: dict[str, nn.Module] = {}
        parts = {
            name: network.get_submodule(name) for part in self.parts.values() for name in part if name != EMBEDDING
        }
        if self._is_transformer(network):
            self.prefix, self.grid = network.num_prefix_tokens, tuple(network.patch_embed.grid_size)
            parts[EMBEDDING] = TokenEmbedding(network)
        for s in range(self.out_stages[-1] + 1):
            named = OrderedDict((name.replace('.', '_'), parts[name]) for name in self.parts.get(s, ()))
            stages[f'stage{s}'] = nn.Sequential(named)
        return stages

    def _find_stages(self, network: Any) -> None:
        broken: str | None = None
        last = ''
        if hasattr(network, 'set_input_size'):
            self.size = _own_size(network)
        if self._is_transformer(network):
            self.parts = transformer_stages(network)
            self.layouts = dict.fromkeys(self.parts, 'tokens')
        else:
            chain = self._run(network)
            found = chain.stages()
            self.parts = {s: tuple(link.name for link in part) for s, part in found.items()}
            self.layouts = {
                s: 'channels last' if part and part[-1].channels_last else 'map' for s, part in found.items()
            }
            self.channels = {s: part[-1].channels for s, part in found.items() if part}
            broken, last = chain.broken, chain.links[-1].name if chain.links else ''
        missing = [s for s in self.out_stages if s not in self.parts]
        if missing:
            there = ', '.join(str(s) for s in self.parts if s)
            if not last:
                given = f'{self.name} is a network without maps'
            elif broken:
                given = (
                    f'{self.name} has no stage {missing[0]}: its modules follow one another only up to {last!r}; '
                    f'{broken!r} reads something else'
                )
            else:
                given = f'{self.name} has no stage {missing[0]}: its last map is that of {last!r}'
            raise VireidError(
                given,
                allowed=f'out_stages {there}' if there else 'networks with maps, and vision transformers of timm',
                todo=self._advice() or ('choose one of these stages, or another network' if there else None),
            )

    def _is_transformer(self, network: nn.Module) -> bool:
        return self.library == 'timm' and is_vision_transformer(network)

    def _advice(self) -> str | None:
        if self.library == 'torchvision' and self.network.startswith('vit_'):
            return "use timm's: library='timm', network='vit_base_patch16_224'"
        return None

    def _run(self, network: nn.Module) -> Chain:
        """Finds the chain with an image of `size`, or of `image_size` if the network does not take that."""
        device = next(network.parameters()).device
        sizes = [self.size, *([tuple(self.image_size)] if self.image_size else [])]
        for size in sizes:
            try:
                chain = find_chain(network, torch.zeros(1, 3, *size, device=device))
            except Exception as error:  # a network may fail in any way
                if size == sizes[-1]:
                    raise _does_not_run(self.name, size, error, self._advice()) from error
            else:
                self.size = (size[0], size[1])
                return chain
        raise AssertionError('unreachable')

    def _read(self, network: nn.Module) -> dict[str, Tensor] | None:
        if self.weights is None:
            return None
        if self.weights == 'pretrained':
            state = pretrained_weights(self.network, self.library, self.options)
        else:
            state = read_weights(Path(self.weights), ALLOWED)
        kept = {name for s, part in self.parts.items() if s <= self.out_stages[-1] for name in part}
        embedding = embedding_keys(network) if self._is_transformer(network) else set()
        wanted = {
            key: tensor
            for key, tensor in network.state_dict().items()
            if key in embedding or any(key.startswith(f'{name}.') for name in kept)
        }
        return fitting(state, wanted, self.weights, self.name, 'give weights of this network, with its own names')

    def _first_convolution(self, network: nn.Module) -> nn.Conv2d:
        first = (
            'patch_embed' if self._is_transformer(network) else next(part[0] for part in self.parts.values() if part)
        )
        modules = network.get_submodule(first).modules()
        found = next((module for module in modules if isinstance(module, nn.Conv2d)), None)
        if found is None or found.in_channels != 3 or found.groups != 1:
            raise VireidError(
                f'{self.name} has no first convolution whose channels can be changed',
                allowed='networks that start with a convolution of 3 channels',
            )
        return found


def _own_size(network: Any) -> tuple[int, int]:
    size = getattr(getattr(network, 'patch_embed', None), 'img_size', None)
    return tuple(size or network.pretrained_cfg['input_size'][1:])  # type: ignore[return-value]


def _does_not_run(name: str, size: Sequence[int], error: Exception, todo: str | None = None) -> VireidError:
    said = (str(error) or type(error).__name__).splitlines()[0]
    return VireidError(
        f'{name} does not take images of {size[0]} x {size[1]}: {said}',
        allowed='images.size that the network takes; some networks have an option for it, such as img_size',
        todo=todo or 'set images.size or model.backbone.options, or choose another network',
    )
