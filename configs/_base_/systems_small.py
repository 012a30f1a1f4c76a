# Applied on top of a config in configs/systems: a size that two CPU cores train in two minutes, with one budget and one
# optimizer for all, so that only what the systems add is compared. `vireid ablate systems` replaces the random weights
# with a common start (start_resnet18.py). Stage 4 keeps ImageNet's stride.
model = dict(backbone=dict(depth=18, last_stride=2, weights=None))
images = dict(size=(96, 48))
sampler = dict(identities=4, visible=4, infrared=4)
step = dict(
    optimizer=dict(_delete_=True, type='Adam', lr=8e-4, weight_decay=5e-4),
    groups=dict(_delete_=True),
    schedule=[
        dict(type='LinearLR', start_factor=0.1, total_iters=30, by='step'),
        dict(type='CosineAnnealingLR', T_max=200, by='step'),
    ],
)
training = dict(_delete_=True, steps=200, precision='auto')
