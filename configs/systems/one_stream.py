# One-stream network (Wu et al., ICCV 2017): one network for both modalities. docs/systems/wu2017.md.
_base_ = ['../_base_/baseline.py', '../_base_/sysu.py', '../_base_/run.py']

model = dict(
    backbone=dict(shared_from=0),
    heads=dict(stage4=dict(losses=dict(tri=None))),
)
