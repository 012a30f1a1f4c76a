# TFFN with learned uncertainty over its five tasks instead of lambda.
_base_ = 'tffn_sysu.py'
model = dict(weighter=dict(_delete_=True, type='HomoscedasticUncertainty', start=0.6))
