# A few labelled people of one's own cameras, a pretrained start, a minute or two on two CPU cores. What few images
# would spoil stays as it is: normalisation is frozen, both modalities are grey, nothing but stripes is classified.
# A part of the training people is held out: training is kept only if it is better there than no training.
# docs/own-cameras.md says how the settings were chosen.
_base_ = 'zero_shot.py'

dataset = dict(val_share=0.3)
model = dict(
    necks=dict(whitened=dict(type='WithinIdentityWhitening', inputs='centred', groups=12)),
    heads=dict(
        stripes=dict(
            type='PartHead', inputs='stage3', parts=6, whole=False, pool='Average', channels=None, bnneck=True,
            losses=dict(id=dict(type='CrossEntropy')),
        ),
    ),
    embedding='whitened',
)  # fmt: skip
sampler = dict(fewer=True)
step = dict(groups={'backbone.*': dict(lr=1e-4)})
training = dict(freeze=['backbone.*:*Norm*'])
evaluation = dict(select='validation', select_by='mAP', untrained=True, rerank=dict(type='KReciprocal'))
