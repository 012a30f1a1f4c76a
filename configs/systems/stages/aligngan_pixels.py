# AlignGAN, second stage: the generators learn, with a critic of images alone per modality, while the encoder is fixed.
_base_ = ['../aligngan.py']
stages = []
_fool = dict(type='LeastSquares', target=1.0, reads='fake', weight=0.5, task='fool')
_losses = dict(fool=_fool, feature=None)
_critic_i = dict(type='PatchCritic', modality='infrared', inputs=('real', 'fake'), losses=_losses)
model = dict(heads=dict(identity=dict(losses=dict(id=None, tri=None)), critic_i=_critic_i))
_adam = dict(optimizer=dict(type='Adam', lr=2e-4, betas=(0.5, 0.999)), identities=4)
_gan = dict(parameters=['translators.*'], tasks=['fool', 'guide', 'cycle'], **_adam)
_critics = dict(parameters=['tasks.critic_*'], tasks=['critic_*'], **_adam)
_optimizers = dict(_delete_=True, generator=_gan, critics=_critics)
step = dict(optimizers=_optimizers, order=['generator', 'critics'], freeze_rest=True)
training = dict(steps=10000)
