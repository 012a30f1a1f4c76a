"""Which networks of torchvision and timm can be a backbone: stages, strides, channels, or why one is refused.

Tries every classification network of torchvision and some families of timm, on shapes alone.

    python benchmarks/backbones.py
    python benchmarks/backbones.py --library timm --networks 'convnext*' 'vit_small*'
"""

from __future__ import annotations

import argparse
import fnmatch
import statistics
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any

import timm
import torch
import torchvision

from vireid.errors import VireidError
from vireid.plugins.backbones.streams import STAGES
from vireid.plugins.backbones.two_stream_network import TwoStreamNetwork

TIMM = (
    'caformer_s18',
    'coatnet_nano_rw_224',
    'convmixer_768_32',
    'convnext_atto',
    'cspdarknet53',
    'davit_tiny',
    'deit3_small_patch16_224',
    'densenet121',
    'dla34',
    'edgenext_xx_small',
    'efficientformer_l1',
    'efficientnet_b0',
    'efficientvit_b0',
    'eva02_tiny_patch14_224',
    'fastvit_t8',
    'focalnet_tiny_srf',
    'ghostnet_100',
    'hgnetv2_b0',
    'hrnet_w18_small',
    'inception_next_atto',
    'inception_v4',
    'levit_128s',
    'mambaout_femto',
    'maxvit_nano_rw_256',
    'mixer_s32_224',
    'mobilenetv2_100',
    'mobilenetv3_small_100',
    'mobilenetv4_conv_small',
    'mobileone_s0',
    'mobilevit_xxs',
    'nasnetalarge',
    'nest_tiny',
    'nfnet_f0',
    'poolformer_s12',
    'pvt_v2_b0',
    'regnety_002',
    'repvgg_a0',
    'repvit_m1',
    'resnest14d',
    'resnet18',
    'resnetv2_50',
    'rexnet_100',
    'swin_tiny_patch4_window7_224',
    'swinv2_tiny_window8_256',
    'tiny_vit_5m_224',
    'tresnet_m',
    'twins_svt_small',
    'vgg11',
    'vit_base_patch14_dinov2',
    'vit_base_patch16_clip_224',
    'vit_base_patch16_siglip_224',
    'vit_small_patch16_dinov3',
    'vit_tiny_patch16_224',
    'xception41',
    'xcit_nano_12_p16_224',
)
SIZE = (256, 128)


def stages_of(network: str, library: str) -> tuple[dict[int, str], str]:
    """Returns `channels /stride` of each stage that a network has, and why it lacks others."""
    try:
        return _channels(network, library, STAGES), ''
    except VireidError:  # perhaps some stages are there
        found, why = {}, ''
    for stage in STAGES:
        try:
            found |= _channels(network, library, (stage,))
        except VireidError as error:
            why = error.given
    return found, why


def _channels(network: str, library: str, stages: tuple[int, ...]) -> dict[int, str]:
    with torch.device('meta'), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        made = TwoStreamNetwork(network, library, 0, stages, None, image_size=SIZE)
    specs = {s: made.outputs[f'stage{s}'] for s in stages}
    return {s: f'{spec.channels} /{round(SIZE[0] / spec.size[0])}' for s, spec in specs.items() if spec.size}


def bare(name: str, size: tuple[int, int]) -> Callable[[torch.Tensor], torch.Tensor]:
    """Returns the network's own way to the map of stage 3, and no further."""
    if name == 'mobilenet_v2':
        return torchvision.models.mobilenet_v2().features[:14]
    if name.startswith('vit'):
        network = timm.create_model(name, img_size=size)
        last = 3 * len(network.blocks) // 4 - 1
        return lambda images: network.forward_intermediates(
            images, indices=[last], intermediates_only=True, stop_early=True
        )[0]
    network = timm.create_model(name, features_only=True)
    wanted = next(i for i, stride in enumerate(network.feature_info.reduction()) if stride == 16)
    network = timm.create_model(name, features_only=True, out_indices=(wanted,))
    return lambda images: network(images)[0]


def overhead(name: str, library: str, rounds: int = 9, size: tuple[int, int] = (192, 96)) -> None:
    """Compares a step - forward, backward - through `TwoStreamNetwork` with one through the network alone."""
    images = torch.randn(16, 3, *size)
    ours: Any = TwoStreamNetwork(name, library, out_stages=(3,), weights=None, image_size=size)  # type: ignore[arg-type]
    alone = bare(name, size)
    both: dict[str, Callable[[], torch.Tensor]] = {
        'ours': lambda: ours({'visible': images[:8], 'infrared': images[8:]})['stage3'],
        'alone': lambda: alone(torch.cat([images[:8], images[8:]])),
    }
    times: dict[str, list[float]] = {key: [] for key in both}
    for turn in range(rounds + 1):
        for key in both if turn % 2 else reversed(both):
            start = time.perf_counter()
            both[key]().sum().backward()
            if turn:
                times[key].append(time.perf_counter() - start)
    ratios = sorted(a / b for a, b in zip(times['ours'], times['alone'], strict=True))
    quartiles = statistics.quantiles(ratios, n=4)
    milliseconds = 1000 * statistics.median(times['ours'])
    print(
        f'{name:36}{milliseconds:8.0f} ms  {statistics.median(ratios):.3f} of the network alone '
        f'(quartiles {quartiles[0]:.3f} to {quartiles[2]:.3f})',
        flush=True,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--library', choices=('torchvision', 'timm'), nargs='+', default=('torchvision', 'timm'))
    parser.add_argument('--networks', nargs='+', metavar='PATTERN', help='names, * for any letters')
    parser.add_argument('--overhead', action='store_true', help='time steps of a few networks, goal: <= 1.03')
    arguments = parser.parse_args()
    if arguments.overhead:
        for name in ('mobilenet_v2', 'mobilenetv2_100', 'convnext_atto', 'vit_tiny_patch16_224'):
            overhead(name, 'torchvision' if name == 'mobilenet_v2' else 'timm')
        return 0
    for library in arguments.library:
        names = torchvision.models.list_models(module=torchvision.models) if library == 'torchvision' else TIMM
        if arguments.networks:
            every = timm.list_models() if library == 'timm' else names
            names = [name for name in every if any(fnmatch.fnmatch(name, p) for p in arguments.networks)]
        counts: Counter[str] = Counter()
        print(f'\n{library:36}' + ''.join(f'{f"stage{s}":>12}' for s in STAGES))
        for name in names:
            found, why = stages_of(name, library)
            counts['all four stages' if len(found) == 4 else 'some stages' if found else 'refused'] += 1
            cells = ''.join(f'{found.get(s, "-"):>12}' for s in STAGES)
            print(f'{name:36}{cells if found else ""}  {why}'.rstrip(), flush=True)
        print(f'{len(names)} networks: ' + ', '.join(f'{count} {what}' for what, count in counts.items()))
    return 0


if __name__ == '__main__':
    sys.exit(main())
