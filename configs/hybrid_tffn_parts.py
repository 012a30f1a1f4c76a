# DMCF's parts and uncertainty on TFFN's shared backbone, with MLFM over its stages.
_base_ = 'tffn_sysu.py'
_losses = dict(id=dict(type='CrossEntropy'), tri=dict(type='BatchHardTriplet', margin=0.3))
_parts = dict(_losses, parts=dict(type='CrossEntropy', reads='parts'))
model = dict(
    necks=dict(glfm=None),
    heads=dict(
        s2=None,
        s3=None,
        s4=None,
        glfm=None,
        low=dict(type='PartHead', inputs='stage2', parts=0, bnneck=True, losses=_losses),
        middle=dict(type='PartHead', inputs='stage3', parts=2, bnneck=True, losses=_parts),
        high=dict(type='PartHead', inputs='stage4', parts=3, bnneck=True, losses=_parts),
    ),
    weighter=dict(_delete_=True, type='HomoscedasticUncertainty', start=0.6),
    embedding=('mlfm', 'low', 'middle', 'high'),
)
