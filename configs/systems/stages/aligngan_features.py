# AlignGAN, first stage: the encoder learns from infrared images alone.
_base_ = ['../aligngan.py']
stages = []
_untrained = dict(losses=dict(_delete_=True))
_identity = dict(losses=dict(tri=dict(among=['infrared']), fake_id=None, fake_tri=None))
_heads = dict(identity=_identity, critic_v=_untrained, critic_i=_untrained, cycle=_untrained, same=_untrained)
model = dict(translators=dict(gan=dict(infrared_only=True)), heads=_heads)
_sgd = dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=5e-4, nesterov=True)
step = dict(_delete_=True, type='SingleOptimizer', optimizer=_sgd, groups={'tasks.*': dict(lr=0.2)})
training = dict(_delete_=True, steps=5000, freeze=['translators.*', 'tasks.critic_*'])
