"""CrossModalModel: a backbone, necks and heads wired by named features, and a weighter.

It may not know where images come from, nor how a model is trained or scored.
"""
