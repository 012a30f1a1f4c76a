# TFFN's GLFM on DMCF's global feature of the high level: uncertainty weighs the levels, a warm-up the graph.
_base_ = 'dmcf_sysu.py'
_losses = dict(id=dict(type='CrossEntropy'), tri=dict(type='BatchHardTriplet', margin=1.8))
model = dict(
    necks=dict(
        vector=dict(type='StageEmbedding', inputs='high', channels=256, pool='Max'),
        glfm=dict(type='GLFM', inputs='vector', num_heads=4),
    ),
    heads=dict(glfm=dict(type='GlobalHead', losses=_losses)),
    weighter=dict(
        _delete_=True,
        type='Composed',
        parts=dict(
            levels=dict(type='HomoscedasticUncertainty', tasks=('low', 'middle', 'high'), start=0.6),
            graph=dict(type='WarmUp', tasks=dict(glfm='adaptive')),
        ),
    ),
)
