"""Who decides when the motivated model is woken: plain Python, independent of everything else."""

from motivation.policies.consecutive_drop import ConsecutiveDrop
from motivation.policies.constant import Always, Never
from motivation.policies.random_gate import RandomGate
from motivation.policies.switch_policy import SwitchPolicy

__all__ = ['Always', 'ConsecutiveDrop', 'Never', 'RandomGate', 'SwitchPolicy']
