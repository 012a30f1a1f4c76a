# cmGAN (Dai et al., IJCAI 2018): features that do not tell a discriminator their modality. docs/systems/cmgan.md.
_base_ = ['../_base_/baseline.py', '../_base_/sysu.py', '../_base_/run.py']
model = dict(
    backbone=dict(shared_from=0),
    heads=dict(
        stage4=None,
        identity=dict(
            type='HiddenLayerHead',
            inputs='stage4',
            hidden=(512,),
            losses=dict(
                id=dict(type='CrossEntropy', weight=1.0),  # beta
                tri=dict(type='CrossModalTriplet', margin=1.4, weight=1.0),  # alpha
            ),
        ),
        modality=dict(
            type='ModalityDiscriminator',
            inputs='stage4',
            hidden=(1000, 500),
            losses=dict(
                tell=dict(type='ModalityCrossEntropy'),
                fool=dict(type='ModalityCrossEntropy', weight=-0.05, task='fool'),  # -gamma
            ),
        ),
    ),
    embedding='identity',
)
step = dict(
    _delete_=True,
    type='MultipleOptimizers',
    optimizers=dict(
        network=dict(
            parameters=['backbone.*', 'tasks.identity.*'],
            tasks=['identity', 'fool'],
            optimizer=dict(type='SGD', lr=1e-4, momentum=0.9),
        ),
        discriminator=dict(
            parameters=['tasks.modality.*'],
            tasks=['modality'],
            optimizer=dict(type='SGD', lr=1e-3, momentum=0.9),
        ),
    ),
    order=['network'] * 5 + ['discriminator'],
)
training = dict(epochs=2000)
