"""Policies, which decide when the motivated model is active: plain Python, without a model or a runner."""

from motivation.policies.budget import Budget
from motivation.policies.combinators import All, Any, During, LimitSpells, Not
from motivation.policies.compute import Compute
from motivation.policies.consecutive_drop import ConsecutiveDrop
from motivation.policies.constant import Always, Never
from motivation.policies.learning_conditions import GradientAgreement, HeldInDrop, LearningProgress
from motivation.policies.loss_conditions import LossBelow, LossRise, LossZScore, Plateau
from motivation.policies.random_gate import RandomGate
from motivation.policies.recorded import MatchedRandom, Replay
from motivation.policies.schedules import EpochSchedule, Periodic
from motivation.policies.signal_conditions import GradientNorm, ValidationGain
from motivation.policies.switch_policy import SwitchPolicy

__all__ = [
    'All',
    'Always',
    'Any',
    'Budget',
    'Compute',
    'ConsecutiveDrop',
    'During',
    'EpochSchedule',
    'GradientAgreement',
    'GradientNorm',
    'HeldInDrop',
    'LearningProgress',
    'LimitSpells',
    'LossBelow',
    'LossRise',
    'LossZScore',
    'MatchedRandom',
    'Never',
    'Not',
    'Periodic',
    'Plateau',
    'RandomGate',
    'Replay',
    'SwitchPolicy',
    'ValidationGain',
]
