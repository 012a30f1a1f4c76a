# The field's baseline: two streams, a BNNeck, cross-entropy and triplet, SGD with a warm-up. docs/systems/agw.md.
model = dict(
    backbone=dict(type='TwoStreamResNet', depth=50, shared_from=1, out_stages=(4,), last_stride=1, weights='imagenet'),
    heads=dict(
        stage4=dict(
            type='GlobalHead',
            losses=dict(id=dict(type='CrossEntropy'), tri=dict(type='BatchHardTriplet', margin=0.3)),
        ),
    ),
    weighter=dict(type='Fixed'),
    embedding='stage4',
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
    optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True),
    groups={'backbone.*': dict(lr=0.01)},
    schedule=[
        dict(type='LinearLR', start_factor=0.1, total_iters=9),
        dict(type='MultiStepLR', milestones=[20, 50], gamma=0.1),
    ],
)
training = dict(epochs=80)
