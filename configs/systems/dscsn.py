# DSCSN (Zhang, Yang, Wang, Liang, Zhang, Zhang: TIP 2021): pairs are compared, not vectors. docs/systems/dscsn.md.
_base_ = ['../_base_/baseline.py', '../_base_/sysu.py', '../_base_/run.py']
model = dict(
    heads=dict(
        stage4=dict(
            type='CorrelationHead',
            losses=dict(
                id=dict(reads='tensor'),
                tri=dict(reads='tensor'),
                pairs=dict(type='PairCrossEntropy', reads='pairs', task='pairs'),
            ),
        ),
    ),
)
evaluation = dict(similarity=dict(type='ContrastiveCorrelation'))
