# Applied on top of configs/systems/aligngan.py and its stages; see systems_small.py. Generators and critics are narrow.
# The optimizers stay those of the config, which differ between stages. The three stages share the steps of one run.
model = dict(
    backbone=dict(depth=18, last_stride=2, weights=None),
    translators=dict(gan=dict(size=(64, 64), channels=16, blocks=2)),
    heads=dict(critic_v=dict(channels=16), critic_i=dict(channels=16)),
)
images = dict(size=(96, 48))
sampler = dict(identities=4)
training = dict(steps=67, precision='auto')
