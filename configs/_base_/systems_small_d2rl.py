# Applied on top of configs/systems/d2rl.py and its stage; see systems_small.py. The translation is narrow. The
# optimizers stay those of the config, which differ between stages. Both stages share the steps of one run.
model = dict(
    backbone=dict(depth=18, last_stride=2, weights=None),
    translators=dict(unify=dict(size=None, channels=8, blocks=1)),
    heads=dict(critic_v=dict(channels=8, scales=2), critic_i=dict(channels=8, scales=2)),
)
images = dict(size=(96, 48))
sampler = dict(identities=4)
training = dict(epochs=None, steps=100, precision='auto')
