# D2RL, first stage: the translation alone.
_base_ = ['../d2rl.py']
stages = []
model = dict(heads=dict(stage4=dict(losses=dict(_delete_=True))))
_adam = dict(optimizer=dict(type='Adam', lr=1e-4, betas=(0.5, 0.999), weight_decay=1e-4))
_translator = dict(parameters=['translators.*'], tasks=['vae', 'cycle', 'fool'], **_adam)
_critics = dict(parameters=['tasks.critic_*'], tasks=['critic_*'], **_adam)
_optimizers = dict(_delete_=True, translator=_translator, critics=_critics)
step = dict(optimizers=_optimizers, order=['translator', 'critics'], freeze_rest=True)
training = dict(epochs=20)
