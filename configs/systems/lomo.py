# LOMO (Liao et al., CVPR 2015): nothing is trained, so sampler, step and training are not used.
# vireid test configs/systems/lomo.py --data-root DIR. docs/systems/hand_crafted.md.
_base_ = ['../_base_/baseline.py', '../_base_/sysu.py', '../_base_/run.py']

model = dict(_delete_=True, type='LOMO', retinex=False)
_images = [dict(type='Resize'), dict(type='ToFloat')]  # 0..1: no Normalize
images = dict(size=(128, 48), train=_images, test=_images)
