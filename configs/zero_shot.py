# No training: stripes of two maps of a pretrained network, centered per modality, on gray images and their mirror
# images. The baseline that every method has to beat; see docs/own-cameras.md.
#   vireid test configs/zero_shot.py --data-root DIR
_base_ = ['_base_/own.py', '_base_/run.py']

model = dict(
    backbone=dict(
        type='TwoStreamNetwork', network='mobilenet_v2', shared_from=0, out_stages=(2, 3), weights='pretrained'
    ),
    necks=dict(
        stripes2=dict(type='StripeEmbedding', inputs='stage2', parts=8, pool='CenterWeighted'),
        stripes=dict(type='StripeEmbedding', inputs='stage3', parts=8, pool='CenterWeighted'),
        centered2=dict(type='ModalityCentering', inputs='stripes2'),
        centered=dict(type='ModalityCentering', inputs='stripes'),
    ),
    heads={},
    weighter=dict(type='Fixed'),
    embedding=('centered2', 'centered'),
    normalize_parts=True,
    mirror=True,
)
images = dict(
    size=(256, 128),
    train=[
        dict(type='Resize'),
        dict(type='Grayscale', num_output_channels=3),
        dict(type='Pad', padding=5),
        dict(type='RandomCrop'),
        dict(type='RandomHorizontalFlip'),
        dict(type='ToFloat'),
        dict(type='Normalize', mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    ],
    test=[
        dict(type='Resize'),
        dict(type='Grayscale', num_output_channels=3),
        dict(type='ToFloat'),
        dict(type='Normalize', mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    ],
)
sampler = dict(type='IdentityBalanced', identities=4, visible=4, infrared=4)
step = dict(type='SingleOptimizer', optimizer=dict(type='Adam', lr=1e-3))
training = dict(steps=100, freeze=['*'], precision='auto')
