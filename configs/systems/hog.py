# HOG (Dalal and Triggs, CVPR 2005): nothing is trained, so sampler, step and training are not used.
# vireid test configs/systems/hog.py --data-root DIR. docs/systems/hand_crafted.md.
_base_ = ['../_base_/baseline.py', '../_base_/sysu.py', '../_base_/run.py']

model = dict(_delete_=True, type='HOG', orientations=9, cell=8, block=2)
_images = [dict(type='Resize'), dict(type='ToFloat')]  # 0..1: no Normalize
images = dict(size=(128, 64), train=_images, test=_images)
