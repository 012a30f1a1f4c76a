# D2RL (Wang et al., CVPR 2019): each image gets the channels of the other modality, generated. docs/systems/d2rl.md.
_base_ = ['../_base_/baseline.py', '../_base_/sysu.py', '../_base_/run.py']
stages = ['stages/d2rl_translation.py']
_critic = dict(
    type='PatchCritic', inputs=('real', 'fake'), doublings=3, norm=False, kernel=1, scales=3,
    losses=dict(
        real=dict(type='LeastSquares', target=1.0, reads='real'),
        fake=dict(type='LeastSquares', target=0.0, reads='fake'),
        fool=dict(type='LeastSquares', target=1.0, reads='fake', task='fool'),
    ),
)  # fmt: skip
# twice UNIT's weights: it sums over the two modalities, and these losses are means over both
_l1 = dict(type='L1', weight=20.0)
_kl = dict(type='LeastSquares', target=0.0, weight=0.02)
model = dict(
    translators=dict(unify=dict(type='UnifiedTranslator', size=(128, 64))),
    backbone=dict(shared_from=0),
    heads=dict(
        critic_v=dict(modality='visible', **_critic),
        critic_i=dict(modality='infrared', **_critic),
        same=dict(type='MapHead', inputs=('real', 'same'), losses=dict(l1=dict(**_l1, task='vae'))),
        code=dict(type='MapHead', losses=dict(kl=dict(**_kl, task='vae'))),
        cycle=dict(type='MapHead', inputs=('real', 'cycle'), losses=dict(l1=_l1)),
        fake_code=dict(type='MapHead', losses=dict(kl=dict(**_kl, task='cycle'))),
    ),
)
images = dict(size=(256, 128))
_adam = dict(optimizer=dict(type='Adam', lr=1e-4, betas=(0.5, 0.999), weight_decay=1e-4))
step = dict(
    _delete_=True,
    type='MultipleOptimizers',
    optimizers=dict(
        network=dict(
            parameters=['backbone.*', 'tasks.stage*'],
            tasks=['stage*'],
            optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True),
            groups={'backbone.*': dict(lr=0.01)},
            schedule=[
                dict(type='LinearLR', start_factor=0.1, total_iters=9),
                dict(type='MultiStepLR', milestones=[20, 50], gamma=0.1),
            ],
        ),
        translator=dict(parameters=['translators.*'], tasks=['vae', 'cycle', 'fool', 'stage*'], **_adam),
        critics=dict(parameters=['tasks.critic_*'], tasks=['critic_*'], **_adam),
    ),
    order=[['network', 'translator'], 'critics'],
    all_turns=True,
)
