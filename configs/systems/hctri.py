# HcTri (Liu et al., TMM 2020): six stripes and the hetero-center triplet loss. docs/systems/hctri.md.
_base_ = ['../_base_/baseline.py', '../_base_/sysu.py', '../_base_/run.py']

model = dict(
    backbone=dict(shared_from=2),
    heads=dict(
        stage4=dict(
            _delete_=True,
            type='StripeHead',
            parts=6,
            channels=256,
            pool=dict(type='GeM', p=3.0, learn=False, eps=1e-4),  # the released code's 1e-12 below the cube root
            share_rows=True,  # only images of another height need it: 288 rows of pixels are 18 in the map
            losses=dict(
                id=dict(type='CrossEntropy', reads='parts'),
                tri=dict(type='HeteroCenterTriplet', reads='parts', margin=0.3, weight=1.0),
                whole=dict(type='HeteroCenterTriplet', reads='whole', margin=0.3),
            ),
        ),
    ),
)
sampler = dict(identities=6, visible=8, infrared=8)
training = dict(epochs=61)
