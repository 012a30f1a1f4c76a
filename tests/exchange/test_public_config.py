"""The part of a config that may leave this machine: settings stay, places go."""

from __future__ import annotations

from vireid.exchange.public_config import public_config

CONFIG = {
    'dataset': {'type': 'Manifest', 'root': '/data/office', 'file': 'staff.csv', 'folds': 5, 'fold': 2},
    'images': {'size': [24, 12], 'reader': {'type': 'ImageCache', 'folder': '/cache'}},
    'training': {'steps': 5, 'init': '/runs/last.pt'},
    'model': {'backbone': {'type': 'TwoStreamResNet', 'weights': 'starts/office/last.pt'}, 'embedding': ['s4']},
    'loggers': [{'type': 'WeightsAndBiases', 'entity': 'acme'}],
    'plugins': ['/home/me/own.py'],
    'stages': ['first.py'],
    'protocol': {'type': 'sysu/agw', 'permutation': '~/perm.mat', 'mirror': 'https://me@host/x'},
    'name': 'office',
}  # fmt: skip


def test_places_are_removed_and_listed_and_settings_stay():
    config, removed = public_config(CONFIG, own=True)
    assert config == {
        'dataset': {'type': 'Manifest', 'root': None, 'folds': 5, 'fold': 2},
        'images': {'size': [24, 12]},
        'training': {'steps': 5, 'init': None},
        'model': {'backbone': {'type': 'TwoStreamResNet', 'weights': None}, 'embedding': ['s4']},
        'protocol': {'type': 'sysu/agw', 'permutation': None, 'mirror': None},
        'plugins': [],
        'name': 'office',
    }
    assert set(removed) == {
        'dataset.file', 'loggers', 'stages', 'images.reader', 'training.init', 'model.backbone.weights',
        'protocol.permutation', 'protocol.mirror',
    }  # fmt: skip


def test_texts_about_a_published_dataset_stay():
    config = CONFIG | {'dataset': {'type': 'SYSU-MM01', 'root': '/x', 'train_lists': ['train']}}
    assert public_config(config, own=False)[0]['dataset'] == {
        'type': 'SYSU-MM01', 'root': None, 'train_lists': ['train']
    }  # fmt: skip
