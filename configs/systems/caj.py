# CAJ (Ye et al., ICCV 2021): AGW with a third, channel-exchanged view of visible images. docs/systems/caj.md.
_base_ = ['agw.py']

_geometry = [
    dict(type='Resize'),
    dict(type='Pad', padding=10),
    dict(type='RandomCrop'),
    dict(type='RandomHorizontalFlip'),
    dict(type='ToFloat'),
    dict(type='Normalize', mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    # the fill is in normalized values
    dict(type='RandomErasing', p=0.5, scale=(0.02, 0.4), ratio=(0.3, 3.33), value=(0.4914, 0.4822, 0.4465)),
]
model = dict(
    backbone=dict(streams=dict(channel='visible')),
    heads=dict(stage4=dict(losses=dict(tri=dict(_delete_=True, type='EnhancedSquaredDifference')))),
)
images = dict(
    train=[
        *_geometry,
        dict(type='PerModality', infrared=[dict(type='ChannelExchange', gray=0.125, unchanged=0.125)]),
    ],
    views=dict(channel=dict(of='visible', train=[*_geometry, dict(type='ChannelExchange')])),
)
step = dict(clip_norm=100.0)  # the loss is unbounded; far above a usual norm, it stops only a run-away first step
training = dict(epochs=100)
evaluation = dict(flip=True)
