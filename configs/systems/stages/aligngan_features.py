# AlignGAN, first stage: the encoder learns from infrared images alone.
_base_ = ['../aligngan.py']
stages = []
model = dict(
    translators=dict(_delete_=True, infrared=dict(type='DropModality', modality='visible')),
    heads=dict(
        stage4=dict(losses=dict(tri=dict(among=['infrared']), fake_id=None, fake_tri=None)),
        critic_v=None, critic_i=None, cycle=None, same=None,
    ),
)  # fmt: skip
_sgd = dict(type='SGD', lr=0.2, momentum=0.9, weight_decay=5e-4, nesterov=True)
step = dict(_delete_=True, type='SingleOptimizer', optimizer=_sgd, groups={'backbone.*': dict(lr=0.02)})
training = dict(_delete_=True, steps=5000)
