# A start for the table of systems on synthetic people, as ImageNet is for the published systems: a ResNet-18 trained to
# tell other synthetic people apart, on visible images alone. Its people are those of
#   vireid data synth --layout sysu --ids 240 --seed 1 data/start
_base_ = ['baseline.py', 'sysu.py', 'run.py']
dataset = dict(root='data/start')
model = dict(backbone=dict(depth=18, shared_from=0, last_stride=2, weights=None))
images = dict(
    size=(96, 48),
    train=[
        dict(type='RandomResizedCrop', scale=(0.6, 1.0), ratio=(0.4, 0.6)),
        dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1),
        dict(type='RandomGrayscale', p=0.3),
        dict(type='RandomHorizontalFlip'),
        dict(type='ToFloat'),
        dict(type='Normalize', mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
        dict(type='RandomErasing', p=0.5),
    ],
)
sampler = dict(identities=16, visible=4, infrared=0)
step = dict(
    optimizer=dict(_delete_=True, type='Adam', lr=1e-3, weight_decay=5e-4),
    groups=dict(_delete_=True),
    schedule=[
        dict(type='LinearLR', start_factor=0.1, total_iters=50, by='step'),
        dict(type='CosineAnnealingLR', T_max=500, by='step'),
    ],
)
training = dict(_delete_=True, steps=500, precision='auto')
