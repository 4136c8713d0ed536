"""Samplers against every one of their random paths: E[Z estimate] = Z and the laws of what they draw, to 1e-12."""

import dataclasses
import itertools
import sys
from typing import Any

import numpy as np
import pytest

import tiltz
from tests.oracles import all_draws
from tests.unit.sampling.walk import (
    WORLDS,
    Walk,
    all_paths,
    every_completion,
    mean_over_paths,
    model_of,
    reward,
    tilted_law,
)
from tiltz.sampling import (
    Choices,
    expected_acceptance,
    metropolis_rows,
    reject,
    reject_rows,
    resample_rows,
    smc,
)
from tiltz.sampling import smc as smc_function
from tiltz.sampling.scoring import Scorer
from tiltz.sampling.suffix import Particles, log_acceptance, move_suffixes

BETA = 0.7
RANGE = (-0.5, 1.6)
PROB = np.array([0.5, 0.3, 0.2])
REWARDS = np.array([0.0, 1.0, 1.6])
Z = float(PROB @ np.exp(REWARDS / BETA))
TILTED = PROB * np.exp(REWARDS / BETA) / Z


def exactly(found, wanted):
    return np.abs(np.asarray(found) - wanted).max() <= 1e-12 * max(1.0, np.abs(wanted).max())


# Rejection


def known(beta=BETA, ceiling=None):
    table = tiltz.Outcomes.complete(np.log(PROB), REWARDS)
    return expected_acceptance(table, beta, ceiling=ceiling)


def rejection(**options):
    model = model_of("nested")
    # Whether to begin is another question, so every rate is said to be possible.
    expected = dataclasses.replace(known(ceiling=options.get("ceiling")), hi=np.array([1.0]))
    settings = {"beta": BETA, "reward_range": (0, 1.6), "expected": expected}
    return lambda choices: reject(model, reward, "nested", rng=choices, **settings, **options)


@pytest.mark.parametrize(
    "options",
    [{"n": 1, "max_draws": 1}, {"n": 1, "max_draws": 3}, {"n": 2, "max_draws": 3, "batch_size": 1},
     {"n": 2, "max_draws": 3, "batch_size": 2}, {"n": 2, "max_draws": 3, "ceiling": 1.0}],
)  # fmt: skip
def test_rejection_is_unbiased_and_its_draws_have_their_law(options):
    n = options["n"]

    def value(sample):
        first = np.zeros((n, 3))
        for i, found in enumerate(sample.reward):
            first[i] = found == REWARDS
        return np.append(first, np.exp(sample.log_z))

    *first, z = mean_over_paths(rejection(**options), value)
    assert exactly(z, Z)
    law = PROB * np.minimum(np.exp((REWARDS - options.get("ceiling", 1.6)) / BETA), 1.0)
    for place in np.array(first).reshape(n, 3):
        assert exactly(place / place.sum(), law / law.sum())


def test_the_share_of_accepted_draws_is_not_unbiased():
    """The twin: what one would write down first, accepted over drawn, where the run ends with an accepted draw."""
    run = rejection(n=2, max_draws=3, batch_size=1)
    share = mean_over_paths(run, lambda r: len(r.completions) / r.n_draws * np.exp(1.6 / BETA))
    assert abs(share - Z) > 0.01 * Z


# Rows


def over_tables(n, run, value, **declared):
    """The mean over every table of n draws and every path."""
    draws, prob = all_draws(PROB, n)
    mean: Any = 0.0
    for picked, p in zip(draws, prob, strict=True):
        table = tiltz.Outcomes.sampled(REWARDS[picked], **declared)
        mean = mean + p * mean_over_paths(lambda c, t=table: run(t, c), lambda r, t=table: value(r, t))
    return mean


def counted(sample, table):
    return np.array([(table.reward[sample.rows] == x).sum() for x in REWARDS], dtype=float)


def test_rejected_rows_are_tilted():
    def run(table, choices):
        return reject_rows(table, BETA, rng=choices)

    accepted = over_tables(3, run, counted, reward_range=(0, 1.6))
    assert exactly(accepted, 3 * PROB * np.exp((REWARDS - 1.6) / BETA))
    assert exactly(over_tables(2, run, lambda r, _: np.exp(r.log_z[0]), reward_range=(0, 1.6)), Z)


def test_a_ceiling_costs_the_distance_that_is_stated():
    def run(table, choices):
        return reject_rows(table, BETA, rng=choices, ceiling=0.6)

    law = over_tables(2, run, counted)
    law /= law.sum()
    stated = known(ceiling=0.6)
    assert exactly(stated.tv[0], 0.5 * np.abs(law - TILTED).sum())
    assert stated.tv[0] > 0.05
    assert exactly(stated.rate[0], PROB @ np.minimum(np.exp((REWARDS - 0.6) / BETA), 1))


@pytest.mark.parametrize("n_drawn", [1, 2])
def test_resampled_rows_are_properly_weighted(n_drawn):
    def run(table, choices):
        return resample_rows(table, BETA, n_drawn, rng=choices)

    def value(sample, table):
        return np.exp(sample.log_z[0]) * np.append(1.0, counted(sample, table) / n_drawn)

    z, *weighted = over_tables(2, run, value)
    assert exactly(z, Z)
    assert exactly(weighted, Z * TILTED)
    # The twin leaves out the weight of the table.
    plain = over_tables(2, run, lambda r, t: counted(r, t) / n_drawn)
    assert not exactly(plain, TILTED)


def test_the_law_of_a_resampled_row_is_within_its_bound():
    law = over_tables(3, lambda table, choices: resample_rows(table, BETA, 1, rng=choices), counted)
    ess = 3 * Z**2 / (PROB @ np.exp(2 * REWARDS / BETA))
    assert 0 < 0.5 * np.abs(law - TILTED).sum() <= 6 / ess


@pytest.mark.parametrize("burn_in", [0, 1, 2])
def test_the_chain_follows_its_kernel_and_its_bound(burn_in):
    n = burn_in + 1

    def run(table, choices):
        return metropolis_rows(table, BETA, rng=choices, burn_in=burn_in)

    law = over_tables(n, run, counted)
    weight = np.exp(REWARDS / BETA)
    kernel = PROB * np.minimum(1, weight / weight[:, None])
    kernel += np.diag(1 - kernel.sum(axis=1))
    assert exactly(TILTED @ kernel, TILTED)
    assert exactly(law, PROB @ np.linalg.matrix_power(kernel, burn_in))
    bound = (1 - Z * np.exp(-1.6 / BETA)) ** (burn_in + 1)
    assert 0.5 * np.abs(law - TILTED).sum() <= bound
    table = tiltz.Outcomes.sampled(REWARDS[np.arange(n) % 3], reward_range=(0, 1.6))
    sample = metropolis_rows(table, BETA, rng=np.random.default_rng(0), burn_in=burn_in)
    assert sample.tv_hi[0] >= bound


def test_a_chain_that_never_refuses_is_found_out(monkeypatch):
    monkeypatch.setattr(Walk, "accept", lambda self, log_prob: np.ones(len(log_prob), dtype=bool))
    law = over_tables(3, lambda t, c: metropolis_rows(t, BETA, rng=c, burn_in=2), counted)
    weight = np.exp(REWARDS / BETA)
    kernel = PROB * np.minimum(1, weight / weight[:, None])
    kernel += np.diag(1 - kernel.sum(axis=1))
    assert not exactly(law, PROB @ np.linalg.matrix_power(kernel, 2))


# Moves


def kernel_of(world, beta, **spec):
    """Probability of every move between completions."""
    model = model_of(world, **spec)
    states = every_completion(model, world)
    place = {c.ids: i for i, c in enumerate(states)}
    kernel = np.zeros((len(states), len(states)))
    score = Scorer(lambda completions, **columns: [0.4 * len(text) for text in completions], world)

    def moved(choices, start):
        particles = Particles(completions=[start], reward=score([start]))
        move_suffixes(particles, model=model, prompt=world, score=score, choices=choices, beta=beta)
        return particles.completions[0]

    for start in states:
        for prob, end in all_paths(lambda choices, start=start: moved(choices, start)):
            kernel[place[start.ids], place[end.ids]] += prob
    law = np.exp([c.log_prob + r / beta for c, r in zip(states, score(states), strict=True)])
    return kernel, law / law.sum()


CASES = [("nested", {}), ("apart", {}), ("nested", {"max_tokens": 2}), ("nested", {"max_tokens": 3})]


@pytest.mark.parametrize("beta", [0.3, 2.0, 1e9])
@pytest.mark.parametrize(("world", "spec"), CASES)
def test_moves_are_in_detailed_balance(world, spec, beta):
    kernel, law = kernel_of(world, beta, **spec)
    flow = law[:, None] * kernel
    assert exactly(kernel.sum(axis=1), 1.0)
    assert exactly(flow, flow.T)
    assert np.all(kernel > 0)


def without_lengths(reward, proposed, length, proposed_length, *, beta):
    return log_acceptance(reward, proposed, length, length, beta=beta)


def test_moves_that_forget_the_lengths_are_found_out(monkeypatch):
    monkeypatch.setattr("tiltz.sampling.suffix.log_acceptance", without_lengths)
    kernel, law = kernel_of("nested", 2.0)
    assert np.abs(law @ kernel - law).max() > 1e-3


# Sequential Monte Carlo

RUNS = [
    ("nested", {"n": 1, "ladder": (2.0, BETA), "n_moves": 1}),
    ("nested", {"n": 3, "ladder": (2.0, BETA), "n_moves": 0}),
    ("apart", {"n": 1, "ladder": (BETA,), "n_moves": 1}),
    ("pair", {"n": 1, "ladder": (3.0, 1.0, BETA), "n_moves": 1}),
    ("pair", {"n": 2, "ladder": (2.0, BETA), "n_moves": 1}),
    ("pair", {"n": 1, "ladder": (2.0, BETA), "n_moves": 1, "replicates": 2}),
]


def tempered(world, **options):
    model = model_of(world)
    settings = {"replicates": 1} | options
    return lambda choices: smc(model, reward, world, beta=BETA, rng=choices, **settings)


def properly_weighted(world, **options):
    """E[Z estimate], and E[Z estimate x share of a completion] over Z for every completion."""
    z, law = tilted_law(model_of(world), world, BETA)

    def value(run):
        shares = [
            sum(w for c, w in zip(run.completions, run.weight, strict=True) if c.ids == ids) for ids in law
        ]
        return np.exp(run.log_z) * np.array([1.0, *shares])

    found = mean_over_paths(tempered(world, **options), value)
    return found / z, np.array([1.0, *law.values()])


@pytest.mark.parametrize(("world", "options"), RUNS)
def test_tempered_runs_are_unbiased_and_properly_weighted(world, options):
    assert exactly(*properly_weighted(world, **options))


def hot(particles, *, beta, **others):
    move_suffixes(particles, beta=2 * beta, **others)


TWINS = {
    "lengths": ("tiltz.sampling.suffix", "log_acceptance", without_lengths),
    "another beta": ("tiltz.sampling.smc", "move_suffixes", hot),
    "the best alone": (None, "systematic", lambda self, log_weights, n: np.full(n, np.argmax(log_weights))),
    "no resampling": (None, "systematic", lambda self, log_weights, n: np.arange(n)),
}


@pytest.mark.parametrize("twin", TWINS)
def test_wrong_runs_are_found_out(twin, monkeypatch):
    where, name, wrong = TWINS[twin]
    monkeypatch.setattr(sys.modules[where] if where else Choices, name, wrong)
    options = {"n": 1, "n_moves": 1} if where else {"n": 2, "n_moves": 0}
    found, wanted = properly_weighted("pair", ladder=(2.0, BETA), **options)
    assert abs(found[0] - wanted[0]) > 1e-4


def test_an_adaptive_ladder_is_not_unbiased_and_says_so():
    model = model_of("pair")
    run = tempered("pair", n=2, ladder="adaptive", share=0.97, n_moves=1)
    z = mean_over_paths(run, lambda sample: np.exp(sample.log_z))
    assert abs(z / tilted_law(model, "pair", BETA)[0] - 1) > 1e-3
    drawn = smc_function(model, reward, "pair", beta=BETA, ladder="adaptive", rng=np.random.default_rng(0))
    assert not drawn.unbiased
    assert "adaptive" in drawn.flags


# Choices


@pytest.mark.parametrize("n", [1, 2, 5])
def test_systematic_resampling_gives_every_index_its_share(n):
    log_weights = np.log(
        np.array([0.1, 0.0, 0.35, 0.25, 0.3, 0.0]) + 0.0,
        where=[True, False, True, True, True, False],
        out=np.full(6, -np.inf),
    )
    shares = n * np.array([0.1, 0.0, 0.35, 0.25, 0.3, 0.0])

    def counts(rows):
        return np.bincount(rows, minlength=6)

    assert exactly(mean_over_paths(lambda c: c.systematic(log_weights, n), counts), shares)
    for _, rows in all_paths(lambda c: c.systematic(log_weights, n)):
        assert np.all(np.abs(counts(rows) - shares) < 1)


class Grid:
    """Uniforms in the middle of equal pieces of the unit interval."""

    def random(self, n):
        return (np.arange(n) + 0.5) / n


def test_choices_have_their_probabilities():
    n, prob = 20_000, np.array([0.0, 0.15, 0.0, 0.6, 0.25, 0.0])
    with np.errstate(divide="ignore"):
        log_weights = np.log(prob) + 700.0
    choices = Choices(Grid())
    for rows in (choices.choose(np.tile(log_weights, (n, 1))), choices.choose_from(log_weights, n)):
        assert np.abs(np.bincount(rows, minlength=6) - n * prob).max() <= 1
    accepted = choices.accept(np.full(n, np.log(0.15)))
    assert abs(accepted.sum() - 0.15 * n) <= 1
    assert choices.accept(np.zeros(3)).all()
    assert not choices.accept(np.full(3, -np.inf)).any()


def test_all_paths_are_walked_once():
    paths = list(all_paths(lambda c: tuple(c.choose(np.log([[0.5, 0.5], [0.2, 0.8]])).tolist())))
    assert [path for _, path in paths] == list(itertools.product([0, 1], repeat=2))
    assert sum(prob for prob, _ in paths) == pytest.approx(1)
    assert set(WORLDS) == {"nested", "apart", "pair"}
