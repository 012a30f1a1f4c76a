# TFFN's GLFM on the global feature of DMCF's high level, with TFFN's adaptive lambda beside DMCF's uncertainty.
_base_ = 'dmcf_sysu.py'
_global = dict(id=dict(type='CrossEntropy'), tri=dict(type='BatchHardTriplet', margin=1.8))
_levels = dict(type='HomoscedasticUncertainty', tasks=('low', 'middle', 'high', 'parts'), start=0.6)
_graph = dict(type='WarmUp', tasks=dict(glfm='adaptive'))
model = dict(
    necks=dict(
        map4=dict(type='CorrespondenceConcat', inputs='stage4'),
        high=dict(_delete_=True, type='StageEmbedding', inputs='map4', channels=256, pool='Max'),
        glfm=dict(type='GLFM', inputs='high', num_heads=4),
    ),
    heads=dict(
        high=dict(_delete_=True, type='GlobalHead', losses=_global),
        parts=dict(
            type='PartHead', inputs='map4', parts=3, whole=False, bnneck=True, losses=dict(id=dict(type='CrossEntropy'))
        ),
        glfm=dict(type='GlobalHead', losses=_global),
    ),
    weighter=dict(_delete_=True, type='Composed', parts=dict(levels=_levels, graph=_graph)),
    embedding=('low', 'middle', 'high', 'parts'),
)
