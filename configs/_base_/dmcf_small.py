# Applied on top of a DMCF config: a size that two CPU cores train in minutes, from random weights. The learning rates
# warm up and decay: with constant rates, the result after so few steps would depend on chance.
model = dict(backbone=dict(depth=18, weights=None))
images = dict(size=(144, 72))
sampler = dict(identities=6)
step = dict(
    optimizer=dict(lr=0.003),
    schedule=[
        dict(type='LinearLR', start_factor=0.1, total_iters=30, by='step'),
        dict(type='CosineAnnealingLR', T_max=280, by='step'),
    ],
)
training = dict(steps=280, precision='auto')
