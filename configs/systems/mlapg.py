# MLAPG on LOMO features (Liao and Li, ICCV 2015): a metric that is fitted to the training images.
# vireid test configs/systems/mlapg.py --data-root DIR. docs/systems/hand_crafted.md.
_base_ = 'lomo.py'
evaluation = dict(similarity=dict(type='MLAPG', dims=600))
