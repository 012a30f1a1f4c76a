# Hi-CMD (Choi et al., CVPR 2020): identity apart from pose and illumination, by swapping. docs/systems/hicmd.md.
_base_ = ['../_base_/baseline.py', '../_base_/sysu.py', '../_base_/run.py']
_adam = dict(type='Adam', lr=1e-4, betas=(0.5, 0.999), weight_decay=1e-4)
_halve = [dict(type='StepLR', step_size=50_000, gamma=0.5, by='step')]
model = dict(
    _delete_=True,
    type='HiCMD',
    backbone=dict(type='TwoStreamResNet', depth=50, shared_from=5, out_stages=(4,), last_stride=2, weights='imagenet'),
    losses=dict(id=dict(type='CrossEntropy'), tri=dict(type='CosineTriplet', margin=0.5)),
    erasing=dict(type='RandomErasing', p=0.5, scale=(0.02, 0.4)),
    penalty=0.01,
    weighter=dict(
        type='Fixed',
        tasks=dict(same=50, cross=50, cycle=50, codes=10, prior=1, fool=20, critic=20, id=1, tri=2),
    ),
)
images = dict(
    size=(256, 128),
    train=[
        dict(type='Resize'),
        dict(type='RandomHorizontalFlip'),
        dict(type='ToFloat'),
        dict(type='Normalize', mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    ],
)
sampler = dict(identities=4, visible=1, infrared=1)
step = dict(
    _delete_=True,
    type='MultipleOptimizers',
    optimizers=dict(
        critics=dict(parameters=['critics.*'], tasks=['critic'], optimizer=_adam, schedule=_halve),
        generator=dict(
            parameters=['prototypes.*', 'attributes.*', 'decoder.*'],
            tasks=['same', 'cross', 'cycle', 'codes', 'prior', 'fool', 'id', 'tri'],
            optimizer=_adam,
            schedule=_halve,
        ),
        identity=dict(
            parameters=['identity.*'],
            tasks=['id', 'tri'],
            optimizer=dict(type='SGD', lr=1e-3, momentum=0.9, nesterov=True, weight_decay=1e-4),
            groups={'identity.mix': dict(lr=1e-5)},
            schedule=_halve,
        ),
    ),
    order=['critics', ['generator', 'identity']],
    all_turns=True,
)
training = dict(_delete_=True, steps=200_000)
