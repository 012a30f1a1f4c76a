# TFFN in small, its levels fused by BottleneckGatedFusion. To try it without data:
# vireid train configs/vireid_gated_fusion.py --dry-run
requires = ['vireid-gated-fusion>=0.1']
_losses = dict(id=dict(type='CrossEntropy'), tri=dict(type='BatchHardTriplet', margin=0.3))
_images = [dict(type='ToFloat'), dict(type='Normalize', mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))]

model = dict(
    backbone=dict(type='TwoStreamResNet', depth=18, out_stages=(2, 3, 4), weights=None),
    necks=dict(
        s2=dict(type='StageEmbedding', inputs='stage2', channels=512),
        s3=dict(type='StageEmbedding', inputs='stage3', channels=512),
        s4=dict(type='StageEmbedding', inputs='stage4', channels=512),
        fused=dict(type='BottleneckGatedFusion', inputs=('s2', 's3', 's4')),
    ),
    heads=dict(
        s4=dict(type='GlobalHead', losses=_losses),
        fused=dict(type='GlobalHead', losses=_losses),
    ),
    weighter=dict(type='Fixed'),
    embedding='fused',
)
dataset = dict(type='SYSU-MM01', root=None)
protocol = dict(type='sysu/agw')
images = dict(
    size=(144, 72),
    train=[dict(type='Resize'), dict(type='Pad', padding=5), dict(type='RandomCrop'), *_images],
    test=[dict(type='Resize'), *_images],
)
sampler = dict(type='IdentityBalanced', identities=6, visible=4, infrared=4)
step = dict(type='SingleOptimizer', optimizer=dict(type='SGD', lr=0.03, momentum=0.9, weight_decay=5e-4))
training = dict(epochs=6)
loggers = [dict(type='Console'), dict(type='MetricsFile'), dict(type='Report')]
