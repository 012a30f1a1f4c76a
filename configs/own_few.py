# For a few labeled people from your own cameras: starts from pretrained weights and takes a minute or two on two CPU
# cores. Of the backbone, only the last stage is trained, with fixed BatchNorm statistics. Images of both modalities are
# gray. Some people are held out first: if training helps with them, it is repeated on all people. See
# docs/own-cameras.md.
_base_ = 'zero_shot.py'

dataset = dict(val_share=0.3)
refit = dict(dataset=dict(val_share=0.0))
model = dict(
    necks=dict(
        stripes2=dict(pool='Average'),  # once trained, CenterWeighted gains nothing
        stripes=dict(pool='Average'),
        whitened2=dict(type='WithinIdentityWhitening', inputs='centered2', groups=8),
        whitened=dict(type='WithinIdentityWhitening', inputs='centered', groups=8),
    ),
    heads=dict(
        stripes=dict(
            type='PartHead', inputs='stage3', parts=8, whole=False, pool='Average', channels=None, bnneck=True,
            losses=dict(id=dict(type='CrossEntropy')),
        ),
    ),
    embedding=('whitened2', 'whitened'),
)  # fmt: skip
sampler = dict(fewer=True)
step = dict(groups={'backbone.*': dict(lr=5e-4)})
training = dict(steps=60, freeze=['backbone.*.running_*', 'backbone.*stage[012].*'])
evaluation = dict(
    batch_size=32, select='validation', select_by='mAP', before_training=True, rerank=dict(type='KReciprocal')
)
