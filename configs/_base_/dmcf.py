# DMCF (Cheng et al., IEEE Access 2020). What the paper leaves open, and what we chose: docs/papers.md.
_global = dict(id=dict(type='CrossEntropy'), tri=dict(type='BatchHardTriplet', margin=1.8))
_parts = dict(_global, parts=dict(type='CrossEntropy', reads='parts'))

model = dict(
    backbone=dict(
        type='TwoStreamResNet', depth=50, shared_from=5, out_stages=(2, 3, 4), last_stride=1, weights='imagenet'
    ),
    necks=dict(
        low=dict(type='CorrespondenceConcat', inputs='stage2'),
        middle=dict(type='CorrespondenceConcat', inputs='stage3'),
        high=dict(type='CorrespondenceConcat', inputs='stage4'),
    ),
    heads=dict(
        low=dict(type='PartHead', parts=0, pool='Max', channels=256, bnneck=True, losses=_global),
        middle=dict(type='PartHead', parts=2, pool='Max', channels=256, bnneck=True, losses=_parts),
        high=dict(type='PartHead', parts=3, pool='Max', channels=256, bnneck=True, losses=_parts),
    ),
    weighter=dict(type='HomoscedasticUncertainty', start=0.6, by='fraction', bounds=(-2, 5)),
    embedding=('low', 'middle', 'high'),
)
images = dict(
    size=(288, 144),
    train=[
        dict(type='ResizeScaled', scale=10 / 9),
        dict(type='RandomCrop'),
        dict(type='ToFloat'),
        dict(type='Normalize', mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    ],
    test=[
        dict(type='Resize'),
        dict(type='ToFloat'),
        dict(type='Normalize', mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    ],
)
sampler = dict(type='IdentityBalanced', identities=8, visible=4, infrared=4)
step = dict(
    type='SingleOptimizer',
    optimizer=dict(type='Adam', lr=0.01, betas=(0.9, 0.999)),
    groups={'backbone.*': dict(lr=0.001)},
)
training = dict(steps=50_000)
