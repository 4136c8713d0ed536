"""A law of a user's own."""

from dataclasses import dataclass

from tiltz.laws import Beta


@dataclass(frozen=True)
class Even:
    """A law of a user's own, with nothing but what the protocol asks for."""

    width: float = 1.0
    beta_min: float = 0.0

    @property
    def mean(self):
        return 0.5 * self.width

    @property
    def reward_range(self):
        return 0.0, self.width

    def log_z(self, beta):
        return Beta(1.0, 1.0, high=self.width).log_z(beta)

    def soft_value(self, beta):
        return Beta(1.0, 1.0, high=self.width).soft_value(beta)

    def mean_reward(self, beta):
        return Beta(1.0, 1.0, high=self.width).mean_reward(beta)

    def kl(self, beta):
        return Beta(1.0, 1.0, high=self.width).kl(beta)

    def kl_reverse(self, beta):
        return Beta(1.0, 1.0, high=self.width).kl_reverse(beta)

    def sample(self, n, rng):
        return self.width * rng.random(n)
