"""What is tried next: Optuna's tree-structured Parzen estimator, seeded anew for each trial."""

from __future__ import annotations

from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState


class Seeded(BaseSampler):
    """Draws from ``seed``, the trial's number and the trials that are known, so workers that share a study differ, and
    one worker that is not stopped draws the same again.

    Y. Ozaki et al., "Multiobjective tree-structured Parzen estimator" (2022); trials that run count as bad ones, so
    that workers keep away from each other.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._estimator = TPESampler(seed=seed)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Begin a trial's own stream of random numbers."""
        state = np.random.SeedSequence((self._seed, trial.number)).generate_state(1)
        self._estimator = TPESampler(seed=int(state[0]))

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """As the estimator has it."""
        return self._estimator.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """As the estimator has it."""
        return self._estimator.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """As the estimator has it."""
        return self._estimator.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Any) -> None:
        """As the estimator has it."""
        self._estimator.after_trial(study, trial, state, values)
