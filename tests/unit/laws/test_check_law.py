"""The public checker of laws: every law of tiltz passes, a broken one does not."""

from dataclasses import dataclass

import numpy as np
import pytest

from tests.unit.laws.definitions import LAWS, name
from tests.unit.laws.ones_own import Even
from tiltz.errors import InputError
from tiltz.laws import Constrained, Normal, StudentT, TwoPoint, check_law


@pytest.mark.parametrize("law", [*LAWS, StudentT(5.0), TwoPoint(0.0), TwoPoint(1.0)], ids=name)
def test_laws_keep_their_promises(law):
    check_law(law)


@dataclass(frozen=True, slots=True)
class Broken(Even):
    """An even law with one promise broken."""

    what: str = ""

    @property
    def reward_range(self):
        return (0.0, 0.9) if self.what == "range" else (0.0, 1.0)

    def log_z(self, beta):
        if self.what == "vector":
            return Even.log_z(self, np.max(beta))
        return Even.log_z(self, beta) * (1.00001 if self.what == "log_z" else 1.0)

    def soft_value(self, beta):
        return beta * self.log_z(beta)

    def mean_reward(self, beta):
        return Even.mean_reward(self, beta) * (1.00001 if self.what == "mean_reward" else 1.0)

    def kl(self, beta):
        if self.what in ("log_z", "mean_reward", "naive"):
            return self.mean_reward(beta) / beta - self.log_z(beta)
        return Even.kl(self, beta)

    def kl_reverse(self, beta):
        return self.log_z(beta) - self.mean / beta if self.what == "log_z" else Even.kl_reverse(self, beta)

    def sample(self, n, rng):
        return rng.random(n) ** (0.97 if self.what == "sample" else 1.0)


@pytest.mark.parametrize("what", ["range", "vector", "log_z", "mean_reward", "naive", "sample"])
def test_a_broken_promise_is_found(what):
    with pytest.raises(InputError, match="in Broken"):
        check_law(Broken(what=what))


def test_a_constraint_that_draws_do_not_keep_is_found():
    class Loose(Constrained):
        def sample(self, n, rng):
            return Constrained(self.law, 1.1 * self.prob).sample(n, rng)

    with pytest.raises(InputError, match="the mean weight of draws must be Z"):
        check_law(Loose(Normal(), 0.25))


def test_an_infinity_in_the_wrong_place_is_found():
    @dataclass(frozen=True)
    class Misplaced(Even):
        beta_min: float = 0.5

    with pytest.raises(InputError, match="infinite at and below beta_min"):
        check_law(Misplaced())


def test_the_whole_uniform_law_passes_for_unbroken():
    check_law(Broken(what=""))
