# DMCF's levels fused by TFFN's MLFM, which is one more task and joins the embedding.
_base_ = 'dmcf_sysu.py'
_losses = dict(id=dict(type='CrossEntropy'), tri=dict(type='BatchHardTriplet', margin=1.8))
model = dict(
    necks=dict(
        v2=dict(type='StageEmbedding', inputs='low', channels=256, pool='Max'),
        v3=dict(type='StageEmbedding', inputs='middle', channels=256, pool='Max'),
        v4=dict(type='StageEmbedding', inputs='high', channels=256, pool='Max'),
        mlfm=dict(type='MLFM', inputs=('v2', 'v3', 'v4')),
    ),
    heads=dict(mlfm=dict(type='GlobalHead', losses=_losses)),
    embedding=('low', 'middle', 'high', 'mlfm'),
)
