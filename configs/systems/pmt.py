# PMT (Lu et al., AAAI 2023): one vision transformer, gray images first and color later. docs/systems/pmt.md.
_base_ = ['../_base_/baseline.py', '../_base_/sysu.py', '../_base_/run.py']
_gray, _color = (0, 6), (6, None)  # epochs
_jitter = dict(type='ColorJitter', brightness=0.3, contrast=0.3)
_blur = dict(type='GaussianBlur', kernel_size=21, sigma=(0.1, 3.0))
_warm_up = dict(type='LinearLR', start_factor=0.34, total_iters=2)
_cosine = dict(type='CosineAnnealingLR', T_max=23, eta_min=3e-6)
model = dict(
    backbone=dict(
        _delete_=True,
        type='TwoStreamNetwork',
        library='timm',
        network='vit_base_patch16_224.orig_in21k_ft_in1k',
        shared_from=0,
        out_stages=(4,),
        class_token=True,
        patch_stride=12,
        weights='pretrained',
        options=dict(pos_drop_rate=0.03, proj_drop_rate=0.03, drop_path_rate=0.1),
    ),
    heads=dict(
        stage4=dict(
            losses=dict(
                id=dict(_delete_=True, type='EachModality', loss='CrossEntropy'),
                within=dict(type='EachModality', loss=dict(type='BatchHardTriplet', margin=0.1), epochs=_gray),
                tri=dict(margin=0.1, epochs=_color),
                msel=dict(type='MSEL', weight=0.5, epochs=_color),
                dcl=dict(type='DCL', weight=0.5, epochs=_color),
            ),
        ),
    ),
)
images = dict(
    size=(256, 128),
    train=[
        dict(type='Resize'),
        dict(type='RandomHorizontalFlip'),
        dict(type='PerModality', visible=[dict(type='Grayscale', num_output_channels=3)], epochs=_gray),
        dict(type='PerModality', infrared=[dict(type='RandomChoice', transforms=[_jitter, _blur])]),
        dict(type='ToFloat'),
        dict(type='Normalize', mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
        dict(type='RandomErasing', p=0.5, scale=(0.02, 0.4), ratio=(0.3, 3.33), value=(0.485, 0.456, 0.406)),
    ],
)
step = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=3e-4, weight_decay=1e-4),
    groups=dict(_delete_=True, **{'*.patch_embed.*': dict(lr=1.5e-4), '*.blocks_*': dict(lr=1.5e-4)}),
    schedule=[_warm_up, _cosine],
)
training = dict(epochs=24)
