# XIV, "Xmodal" (Li et al., AAAI 2020): a generated X modality and modality gap constraints. docs/systems/xmodal.md.
_base_ = ['../_base_/baseline.py', '../_base_/sysu.py', '../_base_/run.py']
_id = dict(type='CrossEntropy', label_smoothing=0.1)
_tri = dict(type='BatchHardTriplet', margin=0.3)
model = dict(
    translators=dict(x=dict(type='LightGenerator')),
    backbone=dict(shared_from=0),
    heads=dict(
        stage4=dict(
            embedding='before',
            losses=dict(
                id=dict(_delete_=True, type='EachModality', loss=_id),
                tri=dict(_delete_=True, type='EachModality', loss=_tri),
                cmg=dict(type='CrossModalityGap', margin=0.5, weight=0.2),
            ),
        ),
    ),
)
images = dict(
    size=(256, 128),
    train=[
        dict(type='Resize'),
        dict(type='RandomHorizontalFlip'),
        dict(type='Pad', padding=10),
        dict(type='RandomCrop'),
        dict(type='ToFloat'),
        dict(type='Normalize', mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
        dict(type='RandomErasing', p=0.5, scale=(0.02, 0.4)),
    ],
)
sampler = dict(identities=12)
step = dict(
    optimizer=dict(_delete_=True, type='Adam', lr=3.5e-4, weight_decay=5e-4),
    groups=dict(_delete_=True),
    schedule=[
        dict(type='LinearLR', start_factor=0.109, total_iters=9),
        dict(type='MultiStepLR', milestones=[39, 69], gamma=0.1),
    ],
)
training = dict(epochs=120)
