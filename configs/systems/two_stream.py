# Two-stream network (Wu et al., ICCV 2017): first layers for each modality, then shared ones. docs/systems/wu2017.md.
_base_ = ['../_base_/baseline.py', '../_base_/sysu.py', '../_base_/run.py']

model = dict(
    backbone=dict(shared_from=2),
    heads=dict(stage4=dict(losses=dict(tri=None))),
)
