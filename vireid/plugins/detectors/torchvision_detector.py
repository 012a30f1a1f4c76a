"""A detector of torchvision, trained on COCO, that finds people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import torch
from annotated_types import Ge, Le
from torch import Tensor
from torchvision import models

from vireid.boundary.weights import find_weights, fits, read_weights, require_finite
from vireid.errors import Mismatch, UnknownName, did_you_mean
from vireid.plugins.backbones.weights import published_weights

PUBLISHED = 'coco'
PERSON = 1  # the label of people in COCO
NETWORKS = (
    'fasterrcnn_mobilenet_v3_large_320_fpn',
    'fasterrcnn_mobilenet_v3_large_fpn',
    'fasterrcnn_resnet50_fpn',
    'fasterrcnn_resnet50_fpn_v2',
    'retinanet_resnet50_fpn',
    'retinanet_resnet50_fpn_v2',
    'fcos_resnet50_fpn',
    'ssd300_vgg16',
    'ssdlite320_mobilenet_v3_large',
)


class TorchvisionDetector:
    """Finds people with a detection network of torchvision.

    Args:
        network: its name in torchvision. The default is fast; `fasterrcnn_resnet50_fpn_v2` finds smaller people, and
            is slower.
        weights: `coco`, which torchvision downloads once, or a file with a state dict of this network for COCO.
        least_score: minimum score of a person, 0 to 1.
        device: the device on which it runs.

    Raises:
        VireidError: if the network is unknown, or its weights cannot be downloaded or read, or do not fit.
    """

    def __init__(
        self,
        network: str = NETWORKS[0],
        weights: str = PUBLISHED,
        least_score: Annotated[float, Ge(0), Le(1)] = 0.5,
        device: Any = 'cpu',
    ) -> None:
        if network not in NETWORKS:
            raise UnknownName(
                f'unknown detector {network!r}{did_you_mean(network, NETWORKS)}', allowed=', '.join(NETWORKS)
            )
        self.device, self.least_score = torch.device(device), least_score
        self.network = models.get_model(network, weights=None, weights_backbone=None)
        self.network.load_state_dict(_weights(network, weights, self.network.state_dict()))
        self.network.eval().to(self.device)

    @torch.inference_mode()
    def __call__(self, images: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
        """Returns the (N, 4) boxes and (N,) scores of the people in each (3, H, W) uint8 image."""
        if not images:
            return []
        results = self.network([image.to(self.device).float() / 255 for image in images])
        people = []
        for result in results:
            kept = (result['labels'] == PERSON) & (result['scores'] >= self.least_score)
            people.append((result['boxes'][kept].cpu(), result['scores'][kept].cpu()))
        return people


def _weights(network: str, weights: str, expected: dict[str, Tensor]) -> dict[str, Tensor]:
    """Returns the state dict of a network, from torchvision or a file.

    Raises:
        VireidError: if they cannot be downloaded or read, or are those of another network.
    """
    allowed = f'{PUBLISHED}, or a file with the state dict of {network} for the classes of COCO'
    if weights == PUBLISHED:
        published = models.get_model_weights(network).DEFAULT
        content = published_weights(published, f'COCO weights of {network}', allowed, 'detector.weights')
    else:
        content = read_weights(weights, allowed)
    match = find_weights(content, expected)
    misfits = [n for n, tensor in expected.items() if n not in match.tensors or not fits(match.tensors[n], tensor)]
    if misfits:
        raise Mismatch(
            f'weights {weights!r} do not fit {network}: {match.fits} of {match.expected} tensors fit; '
            f'{misfits[0]} does not',
            allowed=allowed,
            todo='name the network that they belong to: --cfg-options detector.network=NAME',
        )
    require_finite(match.tensors, weights, expected)
    return {name: match.tensors[name] for name in expected}
