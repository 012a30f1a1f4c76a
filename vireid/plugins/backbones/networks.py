"""Builds networks of torchvision and timm by name, and reports wrong names, options and failed downloads."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from importlib.util import find_spec
from typing import Any, Literal

import torch
import torchvision
from torch import Tensor, nn

from vireid.errors import (
    Mismatch,
    MissingFile,
    MissingPackage,
    Unavailable,
    UnknownKey,
    UnknownName,
    VireidError,
    WrongValue,
)
from vireid.plugins.backbones.weights import published_weights

Library = Literal['torchvision', 'timm']
ALLOWED = "'pretrained', the path of a state dict (.pth or .safetensors), or None for random weights"
# set by the framework; through some of these, timm would read a file or URL
RESERVED = (
    *('weights', 'pretrained', 'progress', 'device', 'dtype', 'in_chans', 'model_name', 'checkpoint_path', 'cache_dir'),
    *('pretrained_cfg', 'pretrained_cfg_overlay', 'pretrained_strict', 'pretrained_filter_fn'),
    *('scriptable', 'exportable', 'no_jit'),
)


def require_network(network: str, library: Library) -> None:
    """Checks that a library has a network of this name.

    Raises:
        VireidError: if it does not, or timm is not installed.
    """
    if library == 'timm' and find_spec('timm') is None:
        raise MissingPackage(f'{network!r}: timm is not installed', todo='pip install "vireid[timm]"')
    if library == 'timm':
        import timm

        names = timm.list_models()
        known = timm.is_model(network.partition('.')[0])
    else:
        names = torchvision.models.list_models(module=torchvision.models)
        known = network in names
    if not known:
        longer = [name for name in names if name.startswith(network)]
        near = longer[:4] or get_close_matches(network, names, n=4, cutoff=0.5)
        raise UnknownName(
            f'{library} has no network {network!r}',
            allowed=', '.join(near) or f'one of {len(names)} names',
            todo=None if near else f'import {library}; {library}{"" if library == "timm" else ".models"}.list_models()',
        )
    if library == 'timm' and '.' in network and network not in _tagged(network):
        raise UnknownName(
            f'timm has no pretrained weights {network!r}', allowed=', '.join(_tagged(network)) or 'a name without tag'
        )


def build_network(network: str, library: Library, options: Mapping[str, Any]) -> nn.Module:
    """Builds a network with random weights, on the default device.

    Args:
        network: its name.
        library: the library that has it.
        options: arguments of its constructor.

    Raises:
        VireidError: if there is no such network, or its constructor does not accept an option.
    """
    require_network(network, library)
    reserved = [name for name in options if name in RESERVED]
    try:
        built = _on_default_device(lambda: _create(network, library, options)) if not reserved else None
    except Exception as error:  # a constructor may raise anything
        if not options:
            raise Unavailable(f'{network} of {library} could not be constructed: {error}') from error
        raise _rejected(network, library, options, error) from error
    if built is None or (options and not set(options) <= _arguments(built)):
        raise _rejected(network, library, options, None)
    return built


def pretrained_weights(network: str, library: Library, options: Mapping[str, Any]) -> Any:
    """Returns the pretrained weights of a network, downloaded once: torchvision's DEFAULT or those of timm.

    Args:
        network: its name.
        library: the library that has it.
        options: arguments of its constructor.

    Raises:
        VireidError: if there are none, or they cannot be downloaded or do not fit the options.
    """
    if library == 'torchvision':
        published = torchvision.models.get_model_weights(network).DEFAULT  # type: ignore[attr-defined]
        return published_weights(published, f'weights of {network}', ALLOWED)
    return _from_timm(network, options)


def _from_timm(network: str, options: Mapping[str, Any]) -> dict[str, Tensor]:
    import timm

    if not _tagged(network):
        raise Unavailable(f'timm has no pretrained weights for {network}', allowed=ALLOWED)
    try:
        return timm.create_model(network, pretrained=True, **options).state_dict()
    except Exception as error:  # a download may raise anything
        if 'loading state_dict' in str(error):
            raise Mismatch(
                f'pretrained weights of {network} do not fit options {dict(options)}',
                allowed=ALLOWED,
                todo='remove the options that change sizes, or set weights=None',
            ) from error
        config = timm.models.get_pretrained_cfg(network)
        hub, url = (config.hf_hub_id, config.url) if config is not None else (None, None)
        file = f'model.safetensors of {hub} on the Hugging Face hub' if hub else url
        raise MissingFile(
            f'weights of {network} are not in the timm cache and cannot be downloaded: {str(error).splitlines()[0]}',
            allowed=ALLOWED,
            todo=f'download {file} on a machine with internet access, then pass its path: '
            '--cfg-options model.backbone.weights=model.safetensors',
        ) from error


def _tagged(network: str) -> list[str]:
    """Returns the names of timm's pretrained weights for a network."""
    import timm

    name = network.partition('.')[0]
    return [known for known in timm.list_pretrained(f'{name}*') if known.partition('.')[0] == name]


def _create(network: str, library: Library, options: Mapping[str, Any]) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', FutureWarning)  # GoogLeNet's, about its future weight initialization
        if library == 'torchvision':
            return torchvision.models.get_model(network, weights=None, **options)
        import timm

        return timm.create_model(network, **options)


def _on_default_device(build: Callable[[], nn.Module]) -> nn.Module:
    """Builds on the default device; a constructor that cannot run on `meta` runs on the CPU and is moved."""
    try:
        return build()
    except (NotImplementedError, RuntimeError):
        if torch.get_default_device().type != 'meta':
            raise
        with torch.device('cpu'):
            return build().to('meta')


def _arguments(network: nn.Module) -> set[str]:
    """Returns the possible options; a constructor with `**kwargs` also accepts the arguments of its base class."""
    names: set[str] = set()
    for cls in type(network).__mro__:
        parameters = inspect.signature(cls).parameters.values()
        names |= {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        if all(p.kind is not p.VAR_KEYWORD for p in parameters):
            break
    return names - set(RESERVED)


def _rejected(network: str, library: Library, options: Mapping[str, Any], error: Exception | None) -> VireidError:
    known = _arguments(_create(network, library, {}))
    unknown = [name for name in options if name not in known]
    if unknown:
        near = get_close_matches(unknown[0], known, n=1)
        given = f'{network} has no option {unknown[0]!r}' + (f', did you mean {near[0]!r}?' if near else '')
        return UnknownKey(given, allowed=', '.join(sorted(known)))
    given = f'{network} does not accept options {dict(options)}: {error}'
    return WrongValue(given, allowed=', '.join(sorted(known)))
