# MSR (Feng, Lai, Xie: TIP 2019): networks and metrics of each modality, shared last layers. docs/systems/msr.md.
_base_ = ['../_base_/baseline.py', '../_base_/sysu.py', '../_base_/run.py']
model = dict(
    backbone=dict(shared_from=4),
    necks=dict(
        shared=dict(type='StageEmbedding', inputs='stage4', channels=1024),
        specific=dict(type='ModalityMetric', inputs='shared'),
    ),
    heads=dict(
        stage4=None,
        shared=dict(
            type='GlobalHead',
            losses=dict(
                id=dict(type='CrossEntropy'),
                euclidean=dict(type='CrossModalityEuclidean', weight=0.5, task='euclidean'),
            ),
        ),
        specific=dict(
            type='GlobalHead',
            losses=dict(
                id=dict(type='CrossEntropy'),
                tri=dict(type='EachModality', loss=dict(type='BatchHardTriplet', margin=0.3), weight=0.5),
            ),
        ),
        view=dict(
            type='CameraHead', inputs='shared', cameras=6, losses=dict(view=dict(type='CameraCrossEntropy', weight=0.1))
        ),
    ),
    embedding='specific',
)
