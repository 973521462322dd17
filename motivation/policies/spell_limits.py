"""Minimum and maximum lengths of motivated spells, and the cooldown after them."""

from typing import Annotated, Any

from annotated_types import Ge

from motivation.errors import ArgumentError
from motivation.utils.arguments import Count, checked


class SpellLimits:
    """A filter on the decisions of a policy that limits the length of motivated spells.

    Args:
        min_spell: Minimum number of motivated batches in a spell, at least 1 (default).
        max_spell: Maximum number of motivated batches in a spell; ``None`` (default) for no limit.
        cooldown: Minimum number of base batches after a spell; 0 by default, but one follows anyway.

    Raises:
        ValueError: A value is out of range, or ``min_spell`` is greater than ``max_spell``.
    """

    @checked
    def __init__(
        self, min_spell: Count = 1, max_spell: Count | None = None, cooldown: Annotated[int, Ge(0)] = 0
    ) -> None:
        if max_spell is not None and max_spell < min_spell:
            raise ArgumentError('max_spell', f'must be at least min_spell, which is {min_spell}, got {max_spell}')
        self.min_spell = min_spell
        self.max_spell = max_spell
        self.cooldown = cooldown
        self.spell = 0  # motivated batches in the current spell
        self.rest = 0  # base batches left of the cooldown

    def decide(self, wanted: bool) -> bool:
        """Return whether the next batch is motivated, given whether the policy wants it to be."""
        if self.spell:
            too_short = self.spell < self.min_spell
            too_long = self.max_spell is not None and self.spell >= self.max_spell
            awake = too_short or (wanted and not too_long)
            if not awake:
                return self.end_spell()
        else:
            awake = wanted and self.rest == 0
            self.rest = max(self.rest - 1, 0)
        self.spell = self.spell + 1 if awake else 0
        return awake

    def end_spell(self) -> bool:
        """End the spell regardless of ``min_spell``, and return ``False``: the next batch is the base model's."""
        self.rest = max((self.cooldown if self.spell else self.rest) - 1, 0)
        self.spell = 0
        return False

    def state_dict(self) -> dict[str, Any]:
        return {'spell': self.spell, 'rest': self.rest}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.spell, self.rest = state_dict['spell'], state_dict['rest']
