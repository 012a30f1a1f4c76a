# systems_small.py for PMT, with a small vision transformer: 200 steps are 2.3 epochs, of which the first is gray.
_base_ = 'systems_small.py'
_gray, _color = (0, 1), (1, None)  # epochs
model = dict(
    backbone=dict(
        _delete_=True,
        type='TwoStreamNetwork',
        library='timm',
        network='vit_tiny_patch16_224',
        shared_from=0,
        out_stages=(4,),
        class_token=True,
        patch_stride=8,
        weights=None,
        options=dict(depth=6),
    ),
    heads=dict(
        stage4=dict(
            losses=dict(
                within=dict(epochs=_gray), tri=dict(epochs=_color), msel=dict(epochs=_color), dcl=dict(epochs=_color)
            ),
        ),
    ),
)
images = dict(
    train=[
        dict(type='Resize'),
        dict(type='RandomHorizontalFlip'),
        dict(type='PerModality', visible=[dict(type='Grayscale', num_output_channels=3)], epochs=_gray),
        dict(type='ToFloat'),
        dict(type='Normalize', mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
        dict(type='RandomErasing', p=0.5, scale=(0.02, 0.4), ratio=(0.3, 3.33), value=(0.485, 0.456, 0.406)),
    ],
)
