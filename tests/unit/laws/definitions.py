"""The laws that the tests run over, and what their curves are by the definition and in closed form, in mpmath."""

from functools import cache
from typing import Any

import mpmath
import numpy as np

from tests.oracles import close, precisely
from tiltz.laws import (
    Affine,
    Beta,
    Binomial,
    Categorical,
    Constrained,
    DirichletLog,
    Exponential,
    Gamma,
    Geometric,
    Gumbel,
    HalfNormal,
    Laplace,
    Law,
    Logistic,
    LogQuantile,
    Mixture,
    NegativeBinomial,
    Normal,
    Poisson,
    SphereLinear,
    StudentT,
    TruncatedNormal,
    TwoPoint,
    Uniform,
    VonMisesCos,
    beta_log,
    rare_mode,
    student_t_log_quadratic,
)

CURVES = ("log_z", "soft_value", "mean_reward", "kl", "kl_reverse")

LAWS: list[Law] = [
    TwoPoint(0.1),
    TwoPoint(1e-6, -1.0, 0.0),
    TwoPoint(0.999, 2.0, 5.0),
    Categorical((0.1, 0.2, 0.3, 0.4), (-1.0, 0.5, 2.0, -3.0)),
    Categorical((0.25, 0.0, 0.75), (-1e5, 7.0, -1e5 - 0.5)),
    Normal(1.0, 2.0),
    Normal(-0.3, 0.01),
    Exponential(3.0),
    Exponential(0.5),
    Gamma(2.5, 3.0),
    Gamma(0.2, 1.0),
    Laplace(0.5, 0.25),
    Beta(2.0, 5.0),
    Beta(0.5, 0.3, low=-2.0, high=0.0),
    Beta(40.0, 3.0),
    Beta(1.0, 1.0, low=5.0, high=9.0),
    rare_mode(),
    Mixture((0.5, 0.3, 0.2, 0.0), (Beta(2.0, 5.0), TwoPoint(0.01), Exponential(4.0), StudentT(3.0))),
    Mixture((0.6, 0.4), (Mixture((0.5, 0.5), (Normal(0, 1), Normal(2, 0.5))), Gamma(2.0, 5.0))),
    Affine(Beta(2.0, 5.0), shift=3.0, scale=2.0),
    Affine(Laplace(0.0, 0.1), shift=-1.0, scale=0.5),
    Constrained(Normal(0.0, 1.0), prob=0.25),
    Affine(Constrained(Beta(0.5, 2.0), prob=0.1), shift=1.0, scale=3.0),
    Affine(Gamma(2.0, 0.5), shift=-3.0, scale=0.1),
    Binomial(7, 0.3),
    Binomial(100, 1e-3),
    Poisson(0.02),
    Poisson(3.0),
    Geometric(0.5),
    Geometric(0.9),
    NegativeBinomial(2.5, 0.4),
    NegativeBinomial(0.3, 1e-9),
    Uniform(),
    Uniform(-3.0, 0.5),
    LogQuantile(),
    LogQuantile(12.5),
    HalfNormal(),
    HalfNormal(0.02),
    TruncatedNormal(1.0, 2.0, low=0.0),
    TruncatedNormal(0.0, 1.0, low=30.0),
    TruncatedNormal(0.0, 0.5, low=-1.0, high=0.25),
    TruncatedNormal(2.0, 1.0, high=-3.0),
    TruncatedNormal(0.0, 1.0, low=9.0, high=9.5),
    Logistic(0.5, 0.1),
    Logistic(-2.0, 1.5),
    Gumbel(0.0, 1.0),
    Gumbel(3.0, 0.02),
    VonMisesCos(0.0),
    VonMisesCos(2.0),
    VonMisesCos(-40.0),
    SphereLinear(3),
    SphereLinear(64, 10.0),
    DirichletLog((1.0, 2.5, 4.0), (1.0, -0.5, 2.0)),
    DirichletLog((0.01, 3.0), (0.2, 0.3)),
    DirichletLog((60.0, 30.0, 200.0, 5.0), (0.1, -2.0, 0.0, 0.7)),
    beta_log(2.0, 5.0),
    student_t_log_quadratic(5.0),
    Affine(Exponential(2.0), shift=1.0, scale=-0.5),
    Affine(Mixture((0.3, 0.7), (Uniform(), TwoPoint(1e-3))), scale=-2.0),
]
BOUNDED = [law for law in LAWS if np.all(np.isfinite(law.reward_range))]


def name(law):
    return repr(law).replace(".0", "")


def integral(law, t, power) -> Any:
    """E_ref[reward^power exp(t reward)], by the definition."""
    mp = mpmath.mp

    def term(mass, reward):
        return mass * mp.mpf(reward) ** power * mp.exp(t * reward)

    match law:
        case TwoPoint():
            return term(1 - mp.mpf(law.p), law.low) + term(mp.mpf(law.p), law.high)
        case Categorical():
            return mp.fsum(map(term, law.prob, law.reward)) / mp.fsum(law.prob)
        case Normal():
            mean, sd = mp.mpf(law.mean), mp.mpf(law.sd)
            cuts = [mean + t * sd**2 + k * sd for k in (-13, 0, 13)]
            return mp.quad(lambda r: term(mp.npdf(r, mean, sd), r), cuts)
        case Laplace():
            mean, scale = mp.mpf(law.mean), mp.mpf(law.scale)
            pdf = lambda r: mp.exp(-abs(r - mean) / scale) / (2 * scale)  # noqa: E731
            return mp.quad(lambda r: term(pdf(r), r), [-mp.inf, mean, mp.inf])
        case Exponential():
            return integral(Gamma(1.0, law.rate), t, power)
        case LogQuantile():
            return (-1) ** power * integral(Exponential(law.best_of), -t, power)
        case Gamma():
            # With r = s^(2 / shape) the density is not singular at 0.
            rate, root = mp.mpf(law.rate), 2 / mp.mpf(law.shape)
            norm = rate**law.shape / mp.gamma(law.shape) * root
            pdf = lambda s: norm * s * mp.exp(-rate * s**root)  # noqa: E731
            peak = (mp.mpf(law.shape) / (rate - t)) ** (1 / root)
            return mp.quad(lambda s: term(pdf(s), s**root), [0, peak, 4 * peak, mp.inf])
        case Beta():
            low, width = mp.mpf(law.low), mp.mpf(law.high) - law.low
            lower = _half_beta(law.a, law.b, lambda share: term(1, low + width * share))
            return lower + _half_beta(law.b, law.a, lambda rest: term(1, low + width * (1 - rest)))
        case Mixture():
            parts = [part for part in zip(law.weights, law.laws, strict=True) if part[0] > 0]
            total = mp.fsum(law.weights)
            return mp.fsum(weight / total * integral(part, t, power) for weight, part in parts)
        case Affine():
            shift, scale = mp.mpf(law.shift), mp.mpf(law.scale)
            terms = [
                mp.binomial(power, k) * shift ** (power - k) * scale**k * integral(law.law, scale * t, k)
                for k in range(power + 1)
            ]
            return mp.exp(t * shift) * mp.fsum(terms)
        case Constrained():
            return mp.mpf(law.prob) * integral(law.law, t, power)
        case Binomial():
            p = mp.mpf(law.p)
            return mp.fsum(
                term(mp.binomial(law.n, k) * p**k * (1 - p) ** (law.n - k), k) for k in range(law.n + 1)
            )
        case Poisson():
            mean = mp.mpf(law.mean)
            return _sum_by_ratio(mp.exp(-mean), lambda k: mean / (k + 1), term)
        case NegativeBinomial() | Geometric():
            size, q = mp.mpf(getattr(law, "size", 1)), mp.mpf(law.q)
            return _sum_by_ratio((1 - q) ** size, lambda k: q * (size + k) / (k + 1), term)
        case Uniform():
            low, high = mp.mpf(law.low), mp.mpf(law.high)
            return mp.quad(lambda r: term(1, r), [low, high]) / (high - low)
        case HalfNormal():
            return integral(TruncatedNormal(0.0, law.sd, low=0.0), t, power)
        case TruncatedNormal():
            mean, sd = mp.mpf(law.mean_before), mp.mpf(law.sd)
            low, high = mp.mpf(law.low), mp.mpf(law.high)

            def from_peak(s, power) -> Any:
                """The integral over its integrand at the peak, or quad would not care for it; and log of that."""
                peak = min(max(mean + s * sd**2, low), high)
                log_ratio = lambda r: (r - peak) * (s - (peak + r - 2 * mean) / (2 * sd**2))  # noqa: E731
                part = mp.quad(lambda r: r**power * mp.exp(log_ratio(r)), _cuts(law, mean, sd, s))
                return part, s * peak - ((peak - mean) / sd) ** 2 / 2

            (z, log_z), (total, log_total) = from_peak(t, power), from_peak(0, 0)
            return z / total * mp.exp(log_z - log_total)
        case Logistic():
            mean, scale = mp.mpf(law.mean), mp.mpf(law.scale)
            pdf = lambda r: mp.sech((r - mean) / (2 * scale)) ** 2 / (4 * scale)  # noqa: E731
            return mp.quad(lambda r: term(pdf(r), r), [-mp.inf, mean, mp.inf])
        case Gumbel():
            # The reward is loc - scale log(E) with E exponential.
            loc, scale = mp.mpf(law.loc), mp.mpf(law.scale)
            value = lambda v: term(mp.exp(v - mp.exp(v)), loc - scale * v)  # noqa: E731
            return mp.quad(value, [-mp.inf, -20, -4, 0, 2, 6])
        case VonMisesCos():
            kappa = mp.mpf(law.kappa)
            value = lambda y: term(mp.exp(kappa * mp.cos(y)), mp.cos(y))  # noqa: E731
            return mp.quad(value, mp.linspace(0, mp.pi, 5)) / (mp.pi * mp.besseli(0, kappa))
        case SphereLinear():
            kappa, half = mp.mpf(law.kappa), mp.mpf(law.dim - 2)
            pdf = lambda y: mp.exp(kappa * mp.cos(y)) * mp.sin(y) ** half  # noqa: E731
            cuts = mp.linspace(0, mp.pi, 9)
            total: Any = mp.quad(pdf, cuts)
            return mp.quad(lambda y: term(pdf(y), mp.cos(y)) / total, cuts)
        case DirichletLog():
            return _log_moment(law, t, power)
    raise TypeError(law)


def _half_beta(a, b, value):
    """The integral of a function of y over Beta(a, b) for y < 1/2, with y = s^(2 / a) against the singularity."""
    mp = mpmath.mp
    root = 2 / mp.mpf(a)
    pdf = lambda s: root * s * (1 - s**root) ** (mp.mpf(b) - 1) / mp.beta(a, b)  # noqa: E731
    end = mp.mpf(0.5) ** (1 / root)
    return mp.quad(lambda s: pdf(s) * value(s**root), [0, end / 16, end / 4, end])


def _sum_by_ratio(mass, ratio, term):
    """The sum of ``term(mass, k)`` over 0, 1, 2, ..., whose masses have known ratios."""
    total, k = mpmath.mpf(0), 0
    while True:
        value = term(mass, k)
        total += value
        mass, k = mass * ratio(k), k + 1
        if k > 20 and value < total * mpmath.eps / 100:
            return total


def _cuts(law, mean, sd, t):
    """Where to cut the range of a truncated Gaussian: around the peak of its tilt, in its own width there."""
    low, high = (mpmath.mpf(end) for end in law.reward_range)
    peak = min(max(mean + t * sd**2, low), high)
    slope = abs((peak - mean) / sd**2 - t)
    width = sd / (1 + sd * slope / 4)
    points = {peak + k * width for k in (-40, -16, -6, -2, 0, 2, 6, 16, 40)}
    inside = {point for point in points if low < point < high}
    ends = {end for end in (low, high) if mpmath.isfinite(end) and abs(end - peak) < 60 * width}
    return sorted(inside | ends)


def _log_moment(law, t, power):
    """Moments of sums of logs: derivatives of the multivariate beta function, from sums of polygammas."""
    mp = mpmath.mp
    alpha, weights = [mp.mpf(a) for a in law.alpha], [mp.mpf(w) for w in law.weights]
    lines = [*zip(alpha, weights, strict=True)]
    total = (mp.fsum(alpha), mp.fsum(weights))

    def cumulant(order):
        parts = mp.fsum(w**order * mp.psi(order - 1, a + w * t) for a, w in lines)
        return parts - total[1] ** order * mp.psi(order - 1, total[0] + total[1] * t)

    moments = [mp.exp(closed_form(law, t))]
    for n in range(1, power + 1):
        moments.append(
            mp.fsum(mp.binomial(n - 1, k - 1) * cumulant(k) * moments[n - k] for k in range(1, n + 1))
        )
    return moments[power]


def closed_form(law, t) -> Any:
    """log Z at 1/beta = t in mpmath."""
    mp = mpmath.mp
    match law:
        case TwoPoint() | Categorical():
            return mp.log(integral(law, t, 0))
        case Normal():
            return t * law.mean + (t * law.sd) ** 2 / 2
        case Laplace():
            return t * law.mean - mp.log(1 - (t * law.scale) ** 2)
        case Exponential():
            return -mp.log(1 - t / mp.mpf(law.rate))
        case LogQuantile():
            return -mp.log(1 + t / mp.mpf(law.best_of))
        case Gamma():
            return -law.shape * mp.log(1 - t / mp.mpf(law.rate))
        case Beta():
            width = mp.mpf(law.high) - law.low
            return t * law.low + mp.log(mp.hyp1f1(law.a, mp.mpf(law.a) + law.b, t * width))
        case Mixture():
            parts = [part for part in zip(law.weights, law.laws, strict=True) if part[0] > 0]
            terms = [mp.mpf(weight) * mp.exp(closed_form(part, t)) for weight, part in parts]
            return mp.log(mp.fsum(terms) / mp.fsum(law.weights))
        case Affine():
            return t * law.shift + closed_form(law.law, mp.mpf(law.scale) * t)
        case Constrained():
            return mp.log(mp.mpf(law.prob)) + closed_form(law.law, t)
        case Binomial():
            return law.n * mp.log(1 + mp.mpf(law.p) * mp.expm1(t))
        case Poisson():
            return mp.mpf(law.mean) * mp.expm1(t)
        case NegativeBinomial() | Geometric():
            q = mp.mpf(law.q)
            return mp.mpf(getattr(law, "size", 1)) * mp.log((1 - q) / (1 - q * mp.exp(t)))
        case Uniform():
            low, high = mp.mpf(law.low), mp.mpf(law.high)
            return t * low + mp.log(mp.expm1(t * (high - low)) / (t * (high - low)))
        case HalfNormal():
            return closed_form(TruncatedNormal(0.0, law.sd, low=0.0), t)
        case TruncatedNormal():
            mean, sd = mp.mpf(law.mean_before), mp.mpf(law.sd)
            a, b = ((mp.mpf(end) - mean) / sd for end in law.reward_range)
            s = sd * t
            return t * mean + s**2 / 2 + mp.log(_between(a - s, b - s) / _between(a, b))
        case Logistic():
            k = mp.pi * t * mp.mpf(law.scale)
            return t * law.mean + mp.log(k / mp.sin(k))
        case Gumbel():
            return t * law.loc + mp.loggamma(1 - t * mp.mpf(law.scale))
        case VonMisesCos():
            return closed_form(SphereLinear(2, law.kappa), t)
        case SphereLinear():
            kappa = mp.mpf(law.kappa)
            return _log_bessel(law.dim, kappa + t) - _log_bessel(law.dim, kappa)
        case DirichletLog():
            lines = [(mp.mpf(a), mp.mpf(w)) for a, w in zip(law.alpha, law.weights, strict=True)]
            lines.append((mp.fsum(a for a, _ in lines), mp.fsum(w for _, w in lines)))
            signs = [1] * (len(lines) - 1) + [-1]
            return mp.fsum(
                sign * (mp.loggamma(a + w * t) - mp.loggamma(a))
                for sign, (a, w) in zip(signs, lines, strict=True)
            )
    raise TypeError(law)


def _between(a, b):
    """The integral of exp(-z^2 / 2) from a to b, up to a factor, from the side where nothing cancels."""
    mp = mpmath.mp
    if a > 0:
        return mp.erfc(a / mp.sqrt(2)) - mp.erfc(b / mp.sqrt(2))
    if b < 0:
        return _between(-b, -a)
    return mp.erf(b / mp.sqrt(2)) - mp.erf(a / mp.sqrt(2))


def _log_bessel(dim, kappa):
    """log of the mean of exp(kappa <e, y>) over the sphere."""
    mp = mpmath.mp
    return (
        mp.log(mp.hyp0f1(mp.mpf(dim) / 2, kappa**2 / 4)) if abs(kappa) < 1e5 else _log_bessel_far(dim, kappa)
    )


def _log_bessel_far(dim, kappa):
    """The same for a large argument, by its asymptotic series."""
    mp = mpmath.mp
    order, size = mp.mpf(dim) / 2 - 1, abs(kappa)
    terms, total, k = mp.mpf(1), mp.mpf(1), 0
    while abs(terms) > mp.eps * total and k < 200:
        k += 1
        terms *= -(4 * order**2 - (2 * k - 1) ** 2) / (8 * k * size)
        total += terms
    return (
        mp.loggamma(order + 1)
        + order * mp.log(2 / size)
        + size
        - mp.log(2 * mp.pi * size) / 2
        + mp.log(total)
    )


def unconstrained(law):
    return not (isinstance(law, Constrained) or (isinstance(law, Affine) and not unconstrained(law.law)))


@cache
def truth(law, beta, digits):
    with mpmath.workdps(digits):
        t = 1 / mpmath.mpf(beta)
        z = integral(law, t, 0)
        mean_reward, log_z = integral(law, t, 1) / z, mpmath.log(z)
        mean = integral(law, mpmath.mpf(0), 1) if unconstrained(law) else -mpmath.inf
        return curves_of(t, log_z, mean_reward, mean)


def curves_of(t, log_z, mean_reward, mean):
    return {
        "log_z": log_z,
        "soft_value": log_z / t,
        "mean_reward": mean_reward,
        "kl": t * mean_reward - log_z,
        "kl_reverse": log_z - t * mean,
    }


def assert_right(law, beta, wanted):
    for curve in CURVES:
        found = getattr(law, curve)(beta)
        if float(wanted[curve]) == np.inf:
            assert found == np.inf, (curve, beta)
        elif curve in ("kl", "kl_reverse"):
            assert found == precisely(wanted[curve], rel=2e-12), (curve, beta)
        else:
            assert close(found, wanted[curve], 1e-12), (curve, beta)
