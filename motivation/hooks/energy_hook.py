"""The hook that measures the energy and the CO2-equivalent of training."""

import logging
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from motivation.errors import ArgumentError, ConfigError, near_matches
from motivation.registry import HOOKS


@HOOKS.register_module()
class EnergyHook(Hook):
    """Adds the energy of training and its CO2-equivalent to the report, measured by codecarbon.

    The measurement covers the whole machine (CPU, memory, and the GPUs in CUDA_VISIBLE_DEVICES) from the first batch
    until both models are written; it includes validation and everything else that runs on the machine. codecarbon
    estimates what it cannot measure, and the report names what was estimated. Only rank 0 measures, so other
    machines of a distributed run are not included. A resumed run adds to the totals of its checkpoint. codecarbon
    uses no network and writes no file; its warnings go to the run's log, and a ``.codecarbon.config`` applies.

    Args:
        country: Country whose grid powers the machine, as an ISO 3166-1 alpha-3 code.

    Attributes:
        energy_wh: Energy so far, in watt-hours.
        co2_grams: CO2-equivalent so far, in grams.
        sources: How the values were obtained; several if the parts of a resumed run differ.

    Raises:
        ConfigError: codecarbon is not installed, or has no data for the country.

    Example:
        >>> default_hooks = dict(energy=dict(type='EnergyHook', country='DEU'))
    """

    priority = 95  # stops after the models are written (VERY_LOW) and before the report (LOWEST)

    def __init__(self, country: str) -> None:
        _check_country(country)
        self.country = country
        self.energy_wh = self.co2_grams = 0.0
        self.sources: list[str] = []
        self._counted = (0.0, 0.0)  # totals before the current tracker started
        self._tracker: Any = None
        self._running = ExitStack()

    def before_train(self, runner: Runner) -> None:
        if runner.rank != 0:
            return
        # Imported here because it is optional and slow to import.
        from codecarbon import OfflineEmissionsTracker

        if runner.resuming and not self.sources:
            self._add_source(f'nothing counted of the first {runner.epoch} epochs')
        self._counted = (self.energy_wh, self.co2_grams)
        self._running.enter_context(_messages_to(runner.logger))
        self._tracker = OfflineEmissionsTracker(
            country_iso_code=self.country, output_methods=[], output_handlers=[self], output_dir=runner.log_dir,
            api_call_interval=-1, log_level='warning',
        )  # fmt: skip
        self._running.callback(self._stop)
        self._tracker.start()
        if self._tracker.flush() is None:  # codecarbon logs its exceptions and goes on
            raise ConfigError(
                f"EnergyHook cannot measure: codecarbon does not work on this machine, and '{runner.log_dir}' says why; "
                'leave the hook out'
            )
        self._add_source(describe_hardware(self._tracker._hardware) + f', grid of {self.country}')

    def after_train(self, runner: Runner) -> None:
        self._running.close()

    def on_exit(self, runner: Runner) -> None:
        """Stop measuring, also after an error."""
        self._running.close()

    def on_report(self, runner: Runner, report: dict[str, Any]) -> None:
        """Add the energy, the CO2-equivalent and their sources."""
        report['energy_wh'], report['co2_grams'] = self.energy_wh, self.co2_grams
        report['energy_source'] = '; '.join(self.sources)

    def state_dict(self) -> dict[str, Any]:
        """Return the totals so far."""
        if self._tracker is not None:
            self._tracker.flush()
        return {'energy_wh': self.energy_wh, 'co2_grams': self.co2_grams, 'sources': self.sources}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state that :meth:`state_dict` returned; a running tracker keeps its own totals."""
        self.energy_wh, self.co2_grams = state_dict['energy_wh'], state_dict['co2_grams']
        self.sources = list(state_dict['sources'])

    def out(self, total: Any, delta: Any) -> None:
        """Update the totals; codecarbon calls this when it is flushed or stopped."""
        self.energy_wh = self._counted[0] + 1000 * total.energy_consumed  # from kWh
        self.co2_grams = self._counted[1] + 1000 * total.emissions  # from kg

    def exit(self) -> None:
        """Do nothing; codecarbon calls this when it is stopped."""

    def _add_source(self, source: str) -> None:
        if source not in self.sources:
            self.sources.append(source)

    def _stop(self) -> None:
        stop_timers(self._tracker)
        self._tracker.stop()
        self._tracker = None


def describe_hardware(parts: list[Any]) -> str:
    """Return how codecarbon obtains the energy of each hardware component, as text.

    Args:
        parts: The hardware components of a tracker.
    """
    descriptions = []
    for part in parts:
        mode = getattr(part, '_mode', None)
        if type(part).__name__ == 'RAM':
            descriptions.append('memory estimated from its size')
        elif mode == 'cpu_load':
            descriptions.append(f'CPU estimated from its load and {part._tdp:g} W at full load')
        elif mode == 'constant':
            descriptions.append(f'CPU estimated as half of {part._tdp:g} W')
        else:
            descriptions.append(f'{getattr(part, "chip_part", type(part).__name__)} measured')
    return ', '.join(descriptions)


def stop_timers(tracker: Any) -> None:
    """Stop the timer threads of a tracker and wait for them to end.

    The tracker's own ``stop()`` does not wait, and a timer that is firing starts another one.
    """

    def is_its_timer(thread: threading.Thread) -> bool:
        scheduler = getattr(getattr(thread, 'function', None), '__self__', None)
        return isinstance(thread, threading.Timer) and (
            getattr(getattr(scheduler, 'function', None), '__self__', None) is tracker
        )

    while timers := [thread for thread in threading.enumerate() if is_its_timer(thread)]:
        for timer in timers:
            timer.cancel()  # type: ignore[attr-defined]
            timer.join()


def _check_country(country: str) -> None:
    try:
        with _messages_to(None):
            # Imported here for the same reason as above.
            from codecarbon.input import DataSource
    except ImportError as error:
        raise ConfigError(
            f'EnergyHook needs codecarbon, which does not import ({error}); run '
            "pip install 'motivation[energy]', or leave the hook out"
        ) from error
    known = DataSource().get_global_energy_mix_data()
    if country not in known:
        raise ArgumentError(
            'country',
            f'is {country!r}, of whose grid codecarbon has no data; give an ISO 3166-1 '
            f'alpha-3 code: {near_matches(str(country).upper(), known)}',
        )


@contextmanager
def _messages_to(logger: logging.Logger | None) -> Iterator[None]:
    """Keep codecarbon's messages off the terminal, and send its warnings to a logger, if one is given."""

    def divert(record: logging.LogRecord) -> bool:
        if logger is not None and record.levelno >= logging.WARNING:
            logger.info(f'codecarbon: {record.getMessage()}', exc_info=record.exc_info)
        return False

    codecarbon = logging.getLogger('codecarbon')
    codecarbon.addFilter(divert)
    try:
        yield
    finally:
        codecarbon.removeFilter(divert)
