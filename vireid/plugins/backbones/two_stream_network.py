"""TwoStreamNetwork: any torchvision or timm network with modality-specific early stages and shared later stages."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vireid.boundary.weights import read_weights
from vireid.core.registry.components import BuildPart
from vireid.core.types import FeatureSpec, Modality
from vireid.errors import Mismatch, VireidError
from vireid.plugins.backbones.inserts import Inserts
from vireid.plugins.backbones.layer_chain import LayerChain, find_chain
from vireid.plugins.backbones.networks import ALLOWED, Library, build_network, pretrained_weights, require_network
from vireid.plugins.backbones.streams import STAGES, TwoStreams, with_channels
from vireid.plugins.backbones.vision_transformer import (
    EMBEDDING,
    TokenEmbedding,
    embedding_keys,
    is_vision_transformer,
    set_patches,
    tokens_as_map,
    transformer_stages,
)
from vireid.plugins.backbones.weights import fitting
from vireid.runtime.randomness import preserved

PROBE = (256, 128)  # divisible by 32, with different height and width


_CHAINS: dict[Any, LayerChain] = {}  # by network, options and image size, which a chain depends on


class TwoStreamNetwork(TwoStreams):
    """A torchvision or timm network in two streams, split into stages by the stride of its maps.

    `stage1` ends with the last module that outputs a map of stride 4; `stage2`, `stage3` and `stage4` end at strides 8,
    16 and 32. Stage 0 is everything before stride 4, or the patch embedding of a network that starts with one. A
    network whose maps all have the same stride is split into four stages of equal depth. The map of a vision
    transformer consists of its tokens, without prefix tokens and before the final norm; with `class_token`, a stage
    outputs the vector of its class token instead, after the final norm if it is stage 4. Stages before `shared_from`
    have one copy per modality and `paired` outputs; later stages are shared and have `joint` outputs. Channels and
    sizes are found by running one image. The classifier and the stages after the last of `out_stages` are dropped.

    Networks with a fixed input size (vision transformers, timm's Swin) are built at that size, loaded with weights, and
    then set to `image_size`. Pretrained weights expect images normalized as in their training; see `mean` and `std` in
    timm's `pretrained_cfg`.

    Args:
        network: name of the network, such as `mobilenet_v2`; for timm, optionally with the tag of its weights.
        library: `torchvision` or `timm` (pip install "vireid[timm]").
        shared_from: first shared stage, 0 (everything shared) to 5 (nothing shared).
        out_stages: stages whose maps are output, among those that the network has; 3 has stride 16.
        weights: `pretrained` (torchvision's DEFAULT or timm's, downloaded once), the path of a file with weights of
            this network (from torch.save, or `.safetensors`; under any key and with any prefix), or None for random
            weights.
        options: arguments of the network's constructor, such as {'drop_path_rate': 0.1}.
        pretrained: False ignores `weights`; the framework passes it when a checkpoint will replace the weights.
        image_size: (H, W) of the images, which determines the map sizes; None leaves the map sizes unknown.
        modalities: image channels by modality, 1 to 4; None means 3 channels for visible and infrared.
        streams: modalities that use the stream of another modality, as in {'x': 'visible'}; the others have their own.
        build_part: builds the inserts.
        inserts: necks at the end of stages whose output is a map, as in `TwoStreamResNet`.
        class_token: whether the stages of a vision transformer output class tokens, (N, C), instead of maps.
        patch_stride: pixels from one patch of a vision transformer to the next; below the patch size, patches overlap.
            Pixels at the bottom and right that do not fill a patch are not seen. None means the patch size, which must
            then divide the image.

    Raises:
        VireidError: if the network, an option or a stage does not exist, the network is not a chain of modules up to
            the last output stage or has no maps, the patches of a vision transformer do not divide the image, or the
            weights cannot be loaded or do not fit.
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
        build_part: BuildPart | None = None,
        inserts: Inserts | None = None,
        class_token: bool = False,
        patch_stride: int | None = None,
    ) -> None:
        super().__init__(shared_from, out_stages, modalities, streams)
        build = _Builder(network, library, options or {}, weights if pretrained else None, image_size, self.out_stages)
        build.class_token, build.patch_stride = class_token, patch_stride
        self.add_stages(build)
        self.layouts, self.prefix, self.grid = dict(build.layouts), build.prefix, build.grid
        needed = [s for s in STAGES if s in build.layouts and s <= self.last] if inserts else self.out_stages
        shapes = self._shapes(image_size or build.size, build.name, needed)
        for s in self.out_stages:
            if shapes[s][0] != build.channels.get(s, shapes[s][0]):
                raise Mismatch(
                    f'stage {s} of {build.name} outputs {build.channels[s]} channels for one image and {shapes[s][0]} '
                    'for another',
                    allowed='networks whose maps have an unambiguous channel axis',
                )
        maps = [s for s in needed if build.layouts[s] == 'map']
        specs = {f'stage{s}': FeatureSpec(shapes[s][0], 'map', size=_pair(shapes[s], image_size)) for s in maps}
        self.add_inserts(inserts, specs, build_part, one_block=True)
        self.outputs = {f'stage{s}': self.spec(s, shapes[s][0], _pair(shapes[s], image_size)) for s in self.out_stages}
        if class_token:
            self.outputs = {name: replace(spec, kind='vector') for name, spec in self.outputs.items()}

    def as_map(self, stage: int, output: Tensor) -> Tensor:
        """Returns the output of a stage as a map (B, C, H, W), or as the vector of its class token (B, C)."""
        if self.layouts[stage] == 'class token':
            return output[:, 0]
        if self.layouts[stage] == 'tokens':
            return tokens_as_map(output, self.prefix, self.grid)
        return output.permute(0, 3, 1, 2) if self.layouts[stage] == 'channels last' else output

    def _shapes(self, size: tuple[int, int], name: str, stages: Sequence[int]) -> dict[int, tuple[int, ...]]:
        """Returns the (C, H, W) of the given stages for an image of (H, W), or (C,) of vectors."""
        own, self.out_stages = self.out_stages, tuple(stages)
        modality = next(m for m, own in self.stream_of.items() if m == own)
        image = torch.zeros(1, self.channels[modality], *size, device=next(self.parameters()).device)
        self.eval()
        try:
            with preserved(), torch.no_grad():
                outputs: Any = self({modality: image})
        except Exception as error:  # a network may raise anything
            raise _does_not_run(name, size, error) from error
        self.train()
        self.out_stages = own
        maps = {s: outputs[f'stage{s}'] for s in stages}
        return {s: tuple((m if isinstance(m, Tensor) else m[modality]).shape[1:]) for s, m in maps.items()}


class _Builder:
    """Builds the stages of a network; each call returns new modules that differ only in random weights.

    The first call analyzes the network.

    Attributes:
        name: name of the network, for errors.
        parts: names of the modules of each stage.
        layouts: layout of each stage's output: `map`, `channels last`, `tokens` or `class token`.
        channels: channels of each stage's map, as far as the analysis found them.
        size: (H, W) that the network accepts, if `image_size` is None.
        is_resizable: whether it is a network of timm that can be set to another size.
        prefix: number of tokens before the patch tokens.
        grid: (H, W) of the patch tokens.
        class_token: whether a vision transformer outputs class tokens.
        patch_stride: pixels from one patch of a vision transformer to the next; None means the patch size.
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
        self.class_token, self.patch_stride = False, None  # type: bool, int | None
        self.is_resizable = False
        require_network(network, library)

    def __call__(self, channels: int) -> dict[str, nn.Module]:
        network: Any = build_network(self.network, self.library, self.options)
        if not self.parts:
            self._find_stages(network)
            self.state = self._read(network)
        if self.state is not None:
            network.load_state_dict(self.state, strict=False)  # `fitting` has checked the tensors of the kept stages
        self._set_size(network)
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

    def _set_size(self, network: Any) -> None:
        """Sets the network to `image_size` and `patch_stride`, if it depends on them."""
        size = (self.image_size[0], self.image_size[1]) if self.image_size else None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter('ignore', UserWarning)  # timm's, about resampling position embeddings
                if self._is_transformer(network):
                    set_patches(network, size, self.patch_stride)
                elif size and self.is_resizable:
                    network.set_input_size(img_size=size)
        except VireidError:
            raise
        except Exception as error:
            raise _does_not_run(self.name, size or self.size, error) from error

    def _find_stages(self, network: Any) -> None:
        broken: str | None = None
        last = ''
        self.is_resizable = hasattr(network, 'set_input_size')
        if self.is_resizable:
            self.size = _own_size(network)
        if self._is_transformer(network):
            self.parts = transformer_stages(network, self.class_token)
            self.layouts = dict.fromkeys(self.parts, 'class token' if self.class_token else 'tokens')
        elif self.class_token or self.patch_stride is not None:
            raise Mismatch(
                f'{self.name} has no {"class token" if self.class_token else "patches"}',
                allowed='class_token and patch_stride are settings of vision transformers of timm',
                todo=self._advice() or 'remove class_token and patch_stride',
            )
        else:
            chain = self._run(network)
            links = chain.stages()
            self.parts = {s: tuple(link.name for link in part) for s, part in links.items()}
            self.layouts = {
                s: 'channels last' if part and part[-1].channels_last else 'map' for s, part in links.items()
            }
            self.channels = {s: part[-1].channels for s, part in links.items() if part}
            broken, last = chain.broken, chain.links[-1].name if chain.links else ''
        missing = [s for s in self.out_stages if s not in self.parts]
        if missing:
            stages = ', '.join(str(s) for s in self.parts if s)
            if not last:
                given = f'{self.name} has no maps'
            elif broken:
                given = (
                    f'{self.name} has no stage {missing[0]}: its modules form a chain only up to {last!r}, as '
                    f'{broken!r} reads something else'
                )
            else:
                given = f'{self.name} has no stage {missing[0]}: its last map is the output of {last!r}'
            raise Mismatch(
                given,
                allowed=f'out_stages {stages}' if stages else 'networks with maps, or vision transformers of timm',
                todo=self._advice() or ('choose one of these stages, or another network' if stages else None),
            )

    def _is_transformer(self, network: nn.Module) -> bool:
        return self.library == 'timm' and is_vision_transformer(network)

    def _advice(self) -> str | None:
        if self.library == 'torchvision' and self.network.startswith('vit_'):
            return "use timm's: library='timm', network='vit_base_patch16_224'"
        return None

    def _run(self, network: nn.Module) -> LayerChain:
        """Finds the chain with an image of `size`, or of `image_size` if the network does not accept `size`."""
        device = next(network.parameters()).device
        sizes = [self.size, *([tuple(self.image_size)] if self.image_size else [])]
        for size in sizes:
            key = (self.library, self.network, repr(sorted(self.options.items())), size)
            try:
                if key not in _CHAINS:  # a run builds its network several times, mostly without values
                    _CHAINS[key] = find_chain(network, torch.zeros(1, 3, *size, device=device))
            except Exception as error:  # a network may raise anything
                if size == sizes[-1]:
                    raise _does_not_run(self.name, size, error, self._advice()) from error
            else:
                self.size = (size[0], size[1])
                return _CHAINS[key]
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
        expected = {
            key: tensor
            for key, tensor in network.state_dict().items()
            if key in embedding or any(key.startswith(f'{name}.') for name in kept)
        }
        return fitting(state, expected, self.weights, self.name, 'use weights of this network, with its tensor names')

    def _first_convolution(self, network: nn.Module) -> nn.Conv2d:
        first = (
            'patch_embed' if self._is_transformer(network) else next(part[0] for part in self.parts.values() if part)
        )
        modules = network.get_submodule(first).modules()
        convolution = next((module for module in modules if isinstance(module, nn.Conv2d)), None)
        if convolution is None or convolution.in_channels != 3 or convolution.groups != 1:
            raise Mismatch(
                f'{self.name} has no first convolution whose channels can be changed',
                allowed='networks that start with a convolution of 3 channels',
            )
        return convolution


def _pair(shape: tuple[int, ...], image_size: tuple[int, int] | None) -> tuple[int, int] | None:
    """Returns the (H, W) of a map; None for a vector, or if the size of the images is unknown."""
    return (shape[1], shape[2]) if image_size and len(shape) == 3 else None


def _own_size(network: Any) -> tuple[int, int]:
    try:
        size = network.patch_embed.img_size
    except AttributeError:
        size = None
    return tuple(size or network.pretrained_cfg['input_size'][1:])  # type: ignore[return-value]


def _does_not_run(name: str, size: Sequence[int], error: Exception, todo: str | None = None) -> VireidError:
    reason = (str(error) or type(error).__name__).splitlines()[0]
    return Mismatch(
        f'{name} does not accept images of {size[0]} x {size[1]}: {reason}',
        allowed='an images.size that the network accepts; some networks have an option for it, such as img_size',
        todo=todo or 'set images.size or model.backbone.options, or choose another network',
    )
