# AlignGAN (Wang et al., ICCV 2019): visible images are translated to infrared ones. docs/systems/aligngan.md.
_base_ = ['../_base_/baseline.py', '../_base_/sysu.py', '../_base_/run.py']
stages = ['stages/aligngan_features.py', 'stages/aligngan_pixels.py']
_real = dict(type='LeastSquares', target=1.0, reads='real', weight=0.5)
_fake = dict(_real, target=0.0, reads='fake')
_fool = dict(type='LeastSquares', target=1.0, weight=0.5, task='fool')
_guide = dict(weight=0.1, task='guide')
_feature = dict(type='LeastSquares', target=1.0, reads='feature', weight=0.1, task='identity')
model = dict(
    translators=dict(gan=dict(type='CycleTranslator')),
    backbone=dict(shared_from=0),
    heads=dict(
        stage4=None,
        identity=dict(
            type='BottleneckHead', inputs='stage4',
            losses=dict(
                id=dict(type='EachModality', loss='CrossEntropy'),
                tri=dict(type='CrossModalCosineTriplet', margin=1.0),
                fake_id=dict(type='OneModality', modality='visible', loss='CrossEntropy', **_guide),
                fake_tri=dict(type='CrossModalCosineTriplet', margin=1.0, **_guide),
            ),
        ),
        critic_v=dict(
            type='PatchCritic', modality='visible', inputs=('real', 'fake'),
            losses=dict(real=_real, fake=_fake, fool=dict(**_fool, reads='fake')),
        ),
        critic_i=dict(
            type='JointCritic', inputs=('real', 'fake', 'stage4'),
            losses=dict(real=_real, fake=_fake, fool=dict(**_fool, reads='image'), feature=_feature),
        ),
        cycle=dict(type='MapHead', inputs=('real', 'cycle'), losses=dict(l1=dict(type='L1', weight=10.0))),
        same=dict(type='MapHead', inputs=('real', 'same'), losses=dict(l1=dict(type='L1', weight=5.0, task='cycle'))),
    ),
    embedding='identity',
)  # fmt: skip
_norm = dict(type='Normalize', mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
_train = [dict(type='Resize'), dict(type='RandomHorizontalFlip'), dict(type='ToFloat'), _norm]
images = dict(size=(384, 192), train=_train)
sampler = dict(identities=18)
_late = [dict(type='MultiStepLR', milestones=[5000], gamma=0.1, by='step')]
_sgd = dict(optimizer=dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=5e-4, nesterov=True), schedule=_late)
_adam = dict(optimizer=dict(type='Adam', lr=2e-4, betas=(0.5, 0.999)), schedule=_late, identities=4)
_optimizers = dict(
    network=dict(parameters=['backbone.*', 'tasks.id*'], tasks=['identity'], groups={'tasks.*': dict(lr=0.2)}, **_sgd),
    generator=dict(parameters=['translators.*'], tasks=['fool', 'guide', 'cycle'], **_adam),
    critics=dict(parameters=['tasks.critic_*'], tasks=['critic_*'], **_adam),
)
step = dict(_delete_=True, type='MultipleOptimizers', optimizers=_optimizers, order=list(_optimizers), all_turns=True)
training = dict(_delete_=True, steps=10100, init_except=['tasks.critic_*'])
evaluation = dict(flip=True)
