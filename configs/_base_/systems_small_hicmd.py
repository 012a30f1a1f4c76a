# Applied on top of configs/systems/hicmd.py; see systems_small.py. As many images per step as the other systems, in 16
# pairs. The optimizers stay those of the config, with 8 times its learning rates for a short run; critics are narrow.
model = dict(backbone=dict(depth=18, last_stride=2, weights=None), critic_width=8)
images = dict(size=(96, 48))
sampler = dict(identities=4, visible=4, infrared=4)
_cosine = [
    dict(type='LinearLR', start_factor=0.1, total_iters=30, by='step'),
    dict(type='CosineAnnealingLR', T_max=200, by='step'),
]
step = dict(
    optimizers=dict(
        critics=dict(optimizer=dict(lr=8e-4), schedule=_cosine),
        generator=dict(optimizer=dict(lr=8e-4), schedule=_cosine),
        identity=dict(
            optimizer=dict(_delete_=True, type='Adam', lr=8e-4, weight_decay=5e-4),
            groups={'identity.mix': dict(lr=8e-6)},
            schedule=_cosine,
        ),
    ),
)
training = dict(steps=200, precision='auto')
