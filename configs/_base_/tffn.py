# TFFN (Cheng et al., ICIP 2021). What the paper leaves open, and what we chose: docs/papers.md.
_losses = dict(id=dict(type='CrossEntropy'), tri=dict(type='BatchHardTriplet', margin=0.3))

model = dict(
    backbone=dict(
        type='TwoStreamResNet', depth=50, shared_from=2, out_stages=(2, 3, 4), last_stride=1, weights='imagenet'
    ),
    necks=dict(
        s2=dict(type='StageEmbedding', inputs='stage2', channels=1024),
        s3=dict(type='StageEmbedding', inputs='stage3', channels=1024),
        s4=dict(type='StageEmbedding', inputs='stage4', channels=1024),
        mlfm=dict(type='MLFM', inputs=('s2', 's3', 's4')),
        glfm=dict(type='GLFM', inputs='mlfm', num_heads=4),
    ),
    heads=dict(
        s2=dict(type='GlobalHead', losses=_losses),
        s3=dict(type='GlobalHead', losses=_losses),
        s4=dict(type='GlobalHead', losses=_losses),
        mlfm=dict(type='GlobalHead', losses=_losses),
        glfm=dict(type='GlobalHead', losses=_losses),
    ),
    weighter=dict(type='WarmUp', tasks=dict(glfm='adaptive')),
    embedding=('mlfm',),
)
images = dict(
    size=(288, 144),
    train=[
        dict(type='Resize'),
        dict(type='Pad', padding=10),
        dict(type='RandomCrop'),
        dict(type='RandomHorizontalFlip'),
        dict(type='ToFloat'),
        dict(type='Normalize', mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
        dict(type='RandomErasing', p=0.5, scale=(0.02, 0.4)),
    ],
    test=[
        dict(type='Resize'),
        dict(type='ToFloat'),
        dict(type='Normalize', mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    ],
)
sampler = dict(type='IdentityBalanced', identities=4, visible=4, infrared=4)
step = dict(
    type='SingleOptimizer',
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=5e-4),
    schedule=[
        dict(type='LinearLR', start_factor=0.1, total_iters=9),
        dict(type='MultiStepLR', milestones=[30, 50], gamma=0.1),
    ],
)
training = dict(epochs=70)
