# A few labelled people of one's own cameras, a pretrained start, a minute or two on two CPU cores. What few images
# would spoil stays as it is: the statistics of normalisation, all but the last stage, grey in both modalities. Part of
# the training people is held out: training is kept only if it is better there than no training. docs/own-cameras.md.
_base_ = 'zero_shot.py'

dataset = dict(val_share=0.3)
model = dict(
    necks=dict(
        whitened2=dict(type='WithinIdentityWhitening', inputs='centred2', groups=8),
        whitened=dict(type='WithinIdentityWhitening', inputs='centred', groups=8),
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
