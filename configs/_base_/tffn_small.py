# Applied on top of a TFFN config: a size that two CPU cores train in minutes, from random weights. Stage 4 keeps
# ImageNet's stride, which saves a quarter of the time. Images of half the size are padded by half as much. There is no
# random erasing, which does not pay off in so few steps.
model = dict(backbone=dict(depth=18, last_stride=2, weights=None))
images = dict(
    size=(144, 72),
    train=[
        dict(type='Resize'),
        dict(type='Pad', padding=5),
        dict(type='RandomCrop'),
        dict(type='RandomHorizontalFlip'),
        dict(type='ToFloat'),
        dict(type='Normalize', mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    ],
)
sampler = dict(identities=6)
step = dict(
    optimizer=dict(_delete_=True, type='Adam', lr=8e-4, weight_decay=5e-4),
    schedule=[
        dict(type='LinearLR', start_factor=0.1, total_iters=30, by='step'),
        dict(type='CosineAnnealingLR', T_max=440, by='step'),
    ],
)
training = dict(_delete_=True, steps=440, precision='auto')
