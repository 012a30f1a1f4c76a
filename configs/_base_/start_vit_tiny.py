# start_resnet18.py for PMT's small vision transformer: the same people, images, and steps.
_base_ = 'start_resnet18.py'
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
)
