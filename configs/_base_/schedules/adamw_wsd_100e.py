"""A stable-decay schedule in place of the cosine of adamw_100e.py.

100 epochs of AdamW with 5 epochs of warm-up, a constant learning rate, and a linear fall to 0 over the last 40 %.
"""

_base_ = './adamw_100e.py'
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, end=5, convert_to_iter_based=True),
    dict(type='LinearLR', start_factor=1.0, end_factor=0.0, begin=60, end=100, convert_to_iter_based=True),
]
