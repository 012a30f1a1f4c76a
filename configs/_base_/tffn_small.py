# Laid over a TFFN config: a size that two CPU cores train in minutes, from random weights.
model = dict(backbone=dict(depth=18, weights=None))
images = dict(size=(144, 72))
sampler = dict(identities=6)
step = dict(
    optimizer=dict(_delete_=True, type='Adam', lr=8e-4, weight_decay=5e-4),
    schedule=[
        dict(type='LinearLR', start_factor=0.1, total_iters=30, by='step'),
        dict(type='CosineAnnealingLR', T_max=360, by='step'),
    ],
)
training = dict(_delete_=True, steps=360, precision='auto')
