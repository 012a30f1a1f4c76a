# AlignGAN, second stage: the generators learn, with a critic of images alone per modality, while the encoder is fixed.
_base_ = ['../aligngan.py']
stages = []
_critic = dict(type='PatchCritic', inputs=('real', 'fake'), modality='infrared')
_losses = dict(fool=dict(reads='fake'), feature=None)
model = dict(heads=dict(stage4=dict(losses=dict(id=None, tri=None)), critic_i=dict(**_critic, losses=_losses)))
_adam = dict(optimizer=dict(type='Adam', lr=2e-4, betas=(0.5, 0.999)), identities=4)
_gan = dict(parameters=['translators.*'], tasks=['fool', 'guide', 'cycle'], **_adam)
_critics = dict(parameters=['tasks.critic_*'], tasks=['critic_*'], **_adam)
step = dict(
    optimizers=dict(_delete_=True, generator=_gan, critics=_critics), order=['generator', 'critics'], freeze_rest=True
)
training = dict(steps=10000, init_except=['translators.*', 'tasks.critic_*'])
