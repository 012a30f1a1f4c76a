# TONE (Ye et al., AAAI 2018): the features that HCML compares. docs/systems/hcml.md.
_base_ = ['../_base_/baseline.py', '../_base_/sysu.py', '../_base_/run.py']
model = dict(
    backbone=dict(shared_from=5),
    necks=dict(both=dict(type='CorrespondenceConcat', inputs='stage4')),
    heads=dict(
        stage4=None,
        both=dict(
            type='GlobalHead',
            channels=2048,
            losses=dict(
                id=dict(type='CrossEntropy'),
                contrastive=dict(type='CrossModalContrastive', margin=0.5, weight=0.2),
            ),
        ),
    ),
    embedding='both',
)
