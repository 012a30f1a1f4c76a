# DMCF's levels fused by TFFN's MLFM: uncertainty weights the three levels, a warm-up the fourth task.
_base_ = 'dmcf_sysu.py'
_losses = dict(id=dict(type='CrossEntropy'), tri=dict(type='BatchHardTriplet', margin=1.8))
_levels = dict(type='HomoscedasticUncertainty', tasks=('low', 'middle', 'high'), start=0.6)
_fusion = dict(type='WarmUp', tasks=dict(mlfm='linear'), epochs=1)
model = dict(
    necks=dict(
        v2=dict(type='StageEmbedding', inputs='low', channels=256, pool='Max'),
        v3=dict(type='StageEmbedding', inputs='middle', channels=256, pool='Max'),
        v4=dict(type='StageEmbedding', inputs='high', channels=256, pool='Max'),
        mlfm=dict(type='MLFM', inputs=('v2', 'v3', 'v4')),
    ),
    heads=dict(mlfm=dict(type='GlobalHead', losses=_losses)),
    weighter=dict(_delete_=True, type='Composed', parts=dict(levels=_levels, fusion=_fusion)),
    embedding=('low', 'middle', 'high', 'mlfm'),
)
