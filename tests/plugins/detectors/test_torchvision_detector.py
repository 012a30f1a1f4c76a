"""The detector of torchvision: its boxes are people, and its weights those of its network."""

from __future__ import annotations

import pytest
import torch
from torchvision import models

from vireid.errors import DamagedFile, Mismatch, MissingFile, UnknownName
from vireid.plugin_manager.manager import create_manager
from vireid.plugins.detectors import torchvision_detector
from vireid.plugins.detectors.torchvision_detector import TorchvisionDetector

SMALL = 'ssdlite320_mobilenet_v3_large'  # the fastest to build


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    """A file with random weights of the small network."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp('weights') / 'ssdlite.pth'
    torch.save(models.get_model(SMALL, weights=None, weights_backbone=None).state_dict(), path)
    return path


def test_weights_of_a_file_are_those_of_the_network(weights):
    detector = TorchvisionDetector(SMALL, str(weights))
    held = torch.load(weights, weights_only=True)
    assert all(torch.equal(tensor, held[name]) for name, tensor in detector.network.state_dict().items())
    assert not detector.network.training


def test_it_is_built_by_its_name(weights):
    config = {'type': 'TorchvisionDetector', 'network': SMALL, 'weights': str(weights)}
    detector = create_manager().components.build('detectors', config, where='detector', device='cpu')
    found = detector([torch.randint(0, 256, (3, 72, 96), dtype=torch.uint8)] * 2)
    assert [(boxes.shape[1], scores.ndim) for boxes, scores in found] == [(4, 1)] * 2


def test_it_keeps_people_with_a_sufficient_score(weights, monkeypatch):
    detector = TorchvisionDetector(SMALL, str(weights), least_score=0.6)
    boxes = torch.arange(16.0).reshape(4, 4)
    result = {'boxes': boxes, 'labels': torch.tensor([1, 2, 1, 1]), 'scores': torch.tensor([0.9, 0.9, 0.5, 0.6])}
    monkeypatch.setattr(detector.network, 'forward', lambda images: [result for _ in images])
    ((kept, scores),) = detector([torch.zeros(3, 8, 8, dtype=torch.uint8)])
    assert kept.tolist() == boxes[[0, 3]].tolist()
    assert scores.tolist() == pytest.approx([0.9, 0.6])


def test_images_are_colors_from_0_to_1(weights, monkeypatch):
    detector = TorchvisionDetector(SMALL, str(weights))
    seen = []
    monkeypatch.setattr(detector.network, 'forward', lambda images: seen.extend(images) or [])
    detector([torch.full((3, 8, 8), 255, dtype=torch.uint8)])
    assert seen[0].dtype == torch.float32
    assert seen[0].unique().tolist() == [1.0]


def test_a_file_of_another_network_is_refused(tmp_path):
    path = tmp_path / 'resnet.pth'
    torch.save(models.resnet18(weights=None).state_dict(), path)
    with pytest.raises(Mismatch, match=rf'resnet\.pth.* {SMALL}: \d+ of \d+ ') as caught:
        TorchvisionDetector(SMALL, str(path))
    assert 'detector.network=NAME' in str(caught.value.todo)


def test_a_file_that_is_none_is_refused(tmp_path):
    (tmp_path / 'a.pth').write_bytes(b'<!doctype html>')
    with pytest.raises(DamagedFile, match=r'a\.pth') as caught:
        TorchvisionDetector(SMALL, str(tmp_path / 'a.pth'))
    assert not isinstance(caught.value, Mismatch)  # it is not compared with the network


def test_an_unknown_network_is_refused():
    with pytest.raises(UnknownName, match=r"'retinanet_resnet50'.*'retinanet_resnet50_fpn'"):
        TorchvisionDetector('retinanet_resnet50')


def test_without_network_access_it_says_what_to_download(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    published = models.get_model_weights(SMALL).DEFAULT

    def fail(*args, **kwargs):
        raise OSError('ENETUNREACH')

    monkeypatch.setattr(type(published), 'get_state_dict', fail)
    with pytest.raises(MissingFile, match='ENETUNREACH') as caught:
        TorchvisionDetector(SMALL)
    assert published.url in str(caught.value.todo)
    assert '--cfg-options detector.weights=' in str(caught.value.todo)


def test_its_networks_are_torchvision_s():
    assert set(torchvision_detector.NETWORKS) <= set(models.list_models(models.detection))
