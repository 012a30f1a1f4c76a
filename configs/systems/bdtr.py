# BDTR (Ye et al., IJCAI 2018). docs/systems/bdtr.md.
_base_ = ['../_base_/baseline.py', '../_base_/sysu.py', '../_base_/run.py']
model = dict(
    backbone=dict(shared_from=5),
    necks=dict(both=dict(type='CorrespondenceConcat', inputs='stage4')),
    heads=dict(
        stage4=None,
        both=dict(
            type='GlobalHead',
            channels=1024,
            losses=dict(
                id=dict(type='CrossEntropy'),
                ranking=dict(type='BiDirectionalRanking', margin=0.5, intra_margin=0.1, intra_weight=0.1),
            ),
        ),
    ),
    embedding='both',
)
