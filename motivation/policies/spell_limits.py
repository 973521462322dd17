"""How long a motivated spell lasts at least and at most, and the rest after it."""

from typing import Any

from motivation.errors import ConfigError
from motivation.policies.arguments import check_whole


class SpellLimits:
    """Turns what a policy wants, batch by batch, into spells of limited length.

    Args:
        min_spell: Motivated batches of a spell at least, whatever is wanted.
        max_spell: Motivated batches of a spell at most; ``None`` for no limit.
        cooldown: Base batches after a spell at least, whatever is wanted; one follows anyway.

    Raises:
        ConfigError: A value is out of range, or ``min_spell`` above ``max_spell``.
    """

    def __init__(self, min_spell: int = 1, max_spell: int | None = None, cooldown: int = 0) -> None:
        check_whole('min_spell', min_spell, 1)
        check_whole('cooldown', cooldown, 0)
        if max_spell is not None:
            check_whole('max_spell', max_spell, 1)
            if max_spell < min_spell:
                raise ConfigError(
                    f'motivation.policy.max_spell is {max_spell}, below motivation.policy.min_spell, which is '
                    f'{min_spell}; raise the one or lower the other'
                )
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
