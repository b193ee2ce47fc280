"""What happens around a run or a sweep: unsound configs are refused, failed jobs are named."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from metamine.complaints import complain, say
from metamine.hydra_app.job import as_plain
from metamine.hydra_app.sentences import translated


class Guard(Callback):
    """Checks every config before Hydra makes a directory; ends a sweep with its failures.

    Hydra turns a callback's exceptions into warnings, so those who mean it raise SystemExit.

    failures: the file in which the jobs of one sweep, in whatever process, note that they failed.
    """

    def __init__(self, failures: str) -> None:
        self.failures = Path(failures)

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Exit with code 2 if the config is unsound."""
        _refuse_unsound([config])

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Exit with code 2 if the config of any job is unsound."""
        _refuse_unsound(_jobs(config))
        self.failures.parent.mkdir(parents=True, exist_ok=True)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Name the jobs that failed, and exit with code 1 if any did."""
        if not self.failures.exists():
            return
        failed = [json.loads(line) for line in self.failures.read_text().splitlines()]
        self.failures.unlink()
        named = "".join(f"\n  {job['directory']}: {job['problem']}" for job in failed)
        say(f"{len(failed)} failed; the same command runs these again and skips the others{named}")
        raise SystemExit(1)


def _refuse_unsound(configs: Iterable[DictConfig]) -> None:
    from metamine.settings import check_training

    try:
        for config in configs:
            HydraConfig.instance().set_config(config)  # for interpolations that ask Hydra
            plain = as_plain(config)
            check_training({key: plain[key] for key in plain if key not in ("run", "checkpoint")})
    except Exception as error:
        raise SystemExit(complain(translated(error))) from None


def _jobs(config: DictConfig) -> Iterator[DictConfig]:
    """The configs of a sweep's jobs; none if its sweeper decides on them as it goes."""
    sweeper = config.hydra.sweeper
    if not sweeper._target_.endswith(BasicSweeper.__name__):
        return
    loader = GlobalHydra.instance().config_loader()
    fixed = [f"{key}={value}" for key, value in (sweeper.params or {}).items()]
    words = [*fixed, *config.hydra.overrides.task]
    overrides = OverridesParser.create(config_loader=loader).parse_overrides(words)
    for batch in BasicSweeper.split_arguments(overrides, max_batch_size=None):
        for job in batch:
            yield loader.load_sweep_config(config, job)
