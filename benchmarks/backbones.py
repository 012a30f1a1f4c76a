"""Which networks of torchvision and timm can be a backbone: stages, strides, channels, or why one is refused.

Tries every classification network of torchvision and some families of timm, on shapes alone.

    python benchmarks/backbones.py
    python benchmarks/backbones.py --library timm --networks 'convnext*' 'vit_small*'
"""

from __future__ import annotations

import argparse
import fnmatch
import sys
import warnings
from collections import Counter

import timm
import torch
import torchvision

from vireid.core.errors import VireidError
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--library', choices=('torchvision', 'timm'), nargs='+', default=('torchvision', 'timm'))
    parser.add_argument('--networks', nargs='+', metavar='PATTERN', help='names, * for any letters')
    arguments = parser.parse_args()
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
