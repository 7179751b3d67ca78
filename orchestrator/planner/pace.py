"""How fast things go: loads and steps, measured while running, with stated priors before.

Theory. An engine that runs b requests makes a step, one token for each of them, in
t0 + t1·b seconds. The priors give t0 and t1; what is learned is one factor per expert: how many
times longer its steps take than the prior says. An ask that was dispatched with b running and
came back after s seconds with n tokens has seen steps of s / n seconds. A load takes what the last
loads of that expert took, weighted towards the latest; one that took less than half is believed at
once: weights that came from disk the first time come from host memory from then on.
"""

from __future__ import annotations

from collections.abc import Mapping

NEWEST = 0.3
"""The weight of a new measurement of a load."""
MUCH_FASTER = 0.5
"""The share of what is known that a load takes at most where it is believed at once."""
STEP_NEWEST = 0.05
"""The weight of one ask in the measurement of steps."""


class Pace:
    """See the module's theory."""

    def __init__(
        self,
        *,
        load_s: float = 10.0,
        step_s: float = 0.01,
        step_ask_s: float = 0.00005,
        loads: Mapping[str, float] | None = None,
    ) -> None:
        """Start from priors.

        Args:
            load_s: seconds that a load takes (prior).
            step_s: seconds of a step, whatever runs (prior).
            step_ask_s: seconds of a step for each running ask (prior).
            loads: seconds that a load takes, by expert, where they are known better.
        """
        self._load_s = load_s
        self._step_s = step_s
        self._step_ask_s = step_ask_s
        self._loads = dict(loads or {})
        self._measured: set[str] = set()
        self._factors: dict[str, float] = {}

    def load_s(self, expert: str) -> float:
        """Return the seconds that loading an expert takes."""
        return self._loads.get(expert, self._load_s)

    def learn_load(self, expert: str, seconds: float) -> None:
        """Take note of a load."""
        seconds = max(seconds, 0.0)
        if expert in self._measured:
            known = self._loads[expert]
            if seconds > MUCH_FASTER * known:
                seconds = NEWEST * seconds + (1 - NEWEST) * known
        elif not self._measured:
            self._load_s = seconds  # a better guess for the others than the prior
        self._measured.add(expert)
        self._loads[expert] = seconds

    def step_s(self, expert: str, running: int) -> float:
        """Return the seconds of a step while `running` asks of an expert run."""
        return self._factors.get(expert, 1.0) * (self._step_s + self._step_ask_s * running)

    def rate(self, expert: str, running: int) -> float:
        """Return the tokens a second of an expert while `running` of its asks run."""
        running = max(running, 1)
        return running / self.step_s(expert, running)

    def learn_step(self, expert: str, running: float, tokens: int, seconds: float) -> None:
        """Take note of an ask that ran for `seconds` beside `running` others on the average."""
        if tokens <= 0 or seconds <= 0.0:
            return
        factor = seconds / tokens / (self._step_s + self._step_ask_s * running)
        known = self._factors.get(expert)
        if known is not None:
            factor = STEP_NEWEST * factor + (1 - STEP_NEWEST) * known
        self._factors[expert] = factor
