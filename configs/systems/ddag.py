# DDAG (Ye et al., ECCV 2020): part attention, graph attention, dynamic aggregation. docs/systems/ddag.md.
_base_ = ['../_base_/baseline.py', '../_base_/sysu.py', '../_base_/run.py']
model = dict(
    necks=dict(graph=dict(type='GraphAttention', inputs='stage4', channels=512, num_heads=4, dropout=0.2)),
    heads=dict(
        stage4=dict(
            type='IWPAHead',
            parts=3,
            losses=dict(
                id=dict(reads='global'),
                tri=dict(reads='global'),
                part=dict(type='CrossEntropy', reads='refined'),
            ),
        ),
        graph=dict(type='GraphHead', dropout=0.2, losses=dict(id=dict(type='CrossEntropy'))),
    ),
    weighter=dict(type='WarmUp', tasks=dict(graph='adaptive')),
)
