# AGW (Ye et al., TPAMI 2021): the baseline with non-local blocks, GeM pooling and a weighted regularized triplet.
# docs/systems/agw.md.
_base_ = ['../_base_/baseline.py', '../_base_/sysu.py', '../_base_/run.py']

model = dict(
    backbone=dict(inserts=dict(non_local=dict(type='NonLocal', after=dict(stage2=2, stage3=3)))),
    heads=dict(
        stage4=dict(
            pool=dict(type='GeM', p=3.0, learn=False, eps=1e-4),  # the released code's 1e-12 below the cube root
            losses=dict(tri=dict(_delete_=True, type='WeightedRegularizedTriplet')),
        ),
    ),
)
