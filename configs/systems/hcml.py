# HCML on TONE's features (Ye et al., AAAI 2018): a metric that is fitted when training is over. docs/systems/hcml.md.
_base_ = 'tone.py'
evaluation = dict(similarity=dict(type='HCML', dims=600, specific_weight=0.2))
