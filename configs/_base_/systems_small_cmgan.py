# systems_small.py for cmGAN: of the 200 steps, 167 are the network's turns and 33 the discriminator's.
_base_ = 'systems_small.py'


def _own(turns):
    return dict(
        optimizer=dict(_delete_=True, type='Adam', lr=8e-4, weight_decay=5e-4),
        schedule=[
            dict(type='LinearLR', start_factor=0.1, total_iters=turns // 5, by='step'),
            dict(type='CosineAnnealingLR', T_max=turns, by='step'),
        ],
    )


step = dict(_delete_=True, optimizers=dict(network=_own(167), discriminator=_own(33)))
