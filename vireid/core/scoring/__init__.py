"""Embed every image once, rank galleries, CMC / mAP / mINP, tables of results, features in files.

It may not know checkpoints, optimizers or runs: observers are given what they watch.
"""
