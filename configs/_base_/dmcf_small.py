# Laid over a DMCF config: a size that two CPU cores train in minutes, from random weights.
model = dict(backbone=dict(depth=18, weights=None))
images = dict(size=(144, 72))
training = dict(steps=300, precision='bf16-mixed')
