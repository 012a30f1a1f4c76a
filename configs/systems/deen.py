# DEEN (Zhang and Wang, CVPR 2023): generated copies of each embedding. docs/systems/deen.md.
_base_ = ['../_base_/baseline.py', '../_base_/sysu.py', '../_base_/run.py']

model = dict(
    backbone=dict(
        inserts=dict(
            mfa=dict(type='MFA', with_input=True, after=dict(stage1=1, stage2=1, stage3=1)),
            dee=dict(type='DEE', after='stage3'),
        ),
    ),
    necks=dict(pooled=dict(type='Pool', inputs='stage4')),
    heads=dict(
        _delete_=True,
        expanded=dict(
            type='GlobalHead',
            inputs='pooled',
            losses=dict(
                id=dict(type='CrossEntropy'),
                tri=dict(type='BatchHardTriplet', margin=0.3),
                cpm=dict(type='CPM', margin=0.2, weight=0.8),
                ort=dict(type='Orthogonality', weight=0.01),
            ),
        ),
    ),
    embedding=('pooled', 'expanded'),
    normalize_parts=True,
)
images = dict(
    size=(384, 144),
    train=[
        dict(type='Resize'),
        dict(type='Pad', padding=10),
        dict(type='RandomGrayscale', p=0.5),
        dict(type='RandomCrop'),
        dict(type='RandomHorizontalFlip'),
        dict(type='ToFloat'),
        dict(type='Normalize', mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
        # the fill is in normalized values
        dict(type='RandomErasing', p=0.5, scale=(0.2, 0.8), ratio=(0.3, 3.33), value=(0.485, 0.456, 0.406)),
    ],
)
sampler = dict(identities=6)
step = dict(
    schedule=[
        dict(type='LinearLR', start_factor=0.1, total_iters=9),
        dict(type='MultiStepLR', milestones=[20, 80], gamma=0.1),
    ],
)
training = dict(epochs=150)
evaluation = dict(flip=True)
