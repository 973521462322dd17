"""How long a motivated spell lasts at least and at most, and the rest after it."""

from typing import Annotated, Any

from annotated_types import Ge

from motivation.errors import ArgumentError
from motivation.utils.arguments import Count, checked


class SpellLimits:
    """Turns what a policy wants, batch by batch, into spells of limited length.

    Args:
        min_spell: Motivated batches of a spell at least, whatever is wanted.
        max_spell: Motivated batches of a spell at most; ``None`` for no limit.
        cooldown: Base batches after a spell at least, whatever is wanted; one follows anyway.

    Raises:
        ConfigError: A value is out of range, or ``min_spell`` above ``max_spell``.
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
        self.spell = 0  # motivated batches of the spell so far
        self.rest = 0  # base batches that must still follow

    def decide(self, wanted: bool) -> bool:
        """Whether the next batch is motivated, if the policy wants it so or not."""
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
        """Let the base model train the next batch, whatever ``min_spell``; returns ``False``."""
        self.rest = max((self.cooldown if self.spell else self.rest) - 1, 0)
        self.spell = 0
        return False

    def state_dict(self) -> dict[str, Any]:
        return {'spell': self.spell, 'rest': self.rest}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.spell, self.rest = state_dict['spell'], state_dict['rest']
