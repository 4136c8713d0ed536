"""Curves from a log Z in mpmath, for laws that are tried on their own."""

import mpmath

from tests.unit.laws.definitions import curves_of


def curves_from(log_z, beta, *, digits=80):
    """All curves at one beta, from log Z as a function of 1/beta and its numerical derivative."""
    with mpmath.workdps(digits):
        t = 1 / mpmath.mpf(beta)
        step = mpmath.mpf(10) ** (-digits // 4) * t
        mean_reward = (log_z(t + step) - log_z(t - step)) / (2 * step)
        tiny = mpmath.mpf(10) ** (-digits // 4) * min(t, mpmath.mpf(1))
        mean = (log_z(tiny) - log_z(-tiny)) / (2 * tiny)
        return curves_of(t, log_z(t), mean_reward, mean)
