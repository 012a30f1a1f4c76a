# Applied on top of configs/systems/d2rl.py and its stage; see systems_small.py. The translation is narrow. The
# optimizers stay those of the config, which differ between stages; translator and critics have 8 times its learning
# rates for a short run. Both stages share the steps of one run.
model = dict(
    backbone=dict(depth=18, last_stride=2, weights=None),
    translators=dict(unify=dict(size=None, channels=8, blocks=1)),
    heads=dict(critic_v=dict(channels=8, scales=2), critic_i=dict(channels=8, scales=2)),
)
images = dict(size=(96, 48))
sampler = dict(identities=4)
step = dict(
    optimizers=dict(translator=dict(optimizer=dict(lr=8e-4)), critics=dict(optimizer=dict(lr=8e-4))),
)
training = dict(epochs=None, steps=100, precision='auto')
