# GSM (Lin et al., PAMI 2017): a measure that is learned for pairs of a visible and an infrared image.
# docs/systems/gsm.md.
_base_ = ['../_base_/baseline.py', '../_base_/sysu.py', '../_base_/run.py']
model = dict(
    necks=dict(
        feature=dict(type='StageEmbedding', inputs='stage4', channels=400),
        gsm=dict(type='GeneralizedSimilarity', inputs='feature'),
    ),
    heads=dict(stage4=None, gsm=dict(type='VectorHead', losses=dict(pairs=dict(type='PairHinge')))),
    embedding='gsm',
)
evaluation = dict(similarity=dict(type='GSM'))
