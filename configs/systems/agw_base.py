# The baseline of Ye et al. (TPAMI 2021), AGW without its three parts. docs/systems/agw.md.
_base_ = ['../_base_/baseline.py', '../_base_/sysu.py', '../_base_/run.py']
