"""Root mean square errors of log Z from reference and policy rollouts together, against either alone, at equal budget.

World 1: reference N(0, 1), reward s y at beta 1, so that log Z = s^2 / 2 and the tilted policy is N(s, 1); the policy
N(t s, 1) is t of the way there. World 2: eight outcomes, a policy tilted at beta_policy, estimates over beta. 1,000
replications; the pooled table has half of its rows from each. "plain" is the balance heuristic without controls;
"covered" and "two-sided" are those of the pooled intervals, of 200 replications.
"""

import math

import numpy as np

import tiltz

REPLICATIONS, COVERED = 1000, 200
REWARD = np.array([0.0, 0.2, 0.5, 0.9, 1.4, 2.0, 2.3, 3.0])
REF = np.array([0.3, 0.2, 0.15, 0.13, 0.1, 0.07, 0.04, 0.01])


def table(reward, log_density, name, *, pooled):
    """Draws of one sampler that know their density under both."""
    own = {} if name == "reference" else {"log_proposal": log_density["policy"], "drawn_from": name}
    others = {"policy": log_density["policy"]} if name == "reference" and pooled else None
    return tiltz.Outcomes.sampled(reward, log_ref=log_density["reference"], log_densities=others, **own)


def error(outcomes, beta, truth):
    log_z = tiltz.estimate(outcomes, beta, interval=None).log_z
    return float(np.sqrt(np.mean((log_z - truth) ** 2)))


def plain_error(outcomes, beta, truth):
    weight = np.exp(outcomes.log_weight + outcomes.reward / beta).reshape(2, len(outcomes.prompt), -1)
    return float(np.sqrt(np.mean((np.log(weight.mean(axis=(0, 2))) - truth) ** 2)))


def line(first, draw, n, beta, truth):
    """Print one line; ``draw(name, rows, pooled)`` returns a table of all replications."""
    both = tiltz.pool([draw("reference", n // 2, True), draw("policy", n // 2, True)])
    pooled, plain = error(both, beta, truth), plain_error(both, beta, truth)
    reference, policy = (error(draw(name, n, False), beta, truth) for name in ("reference", "policy"))
    some = tiltz.estimate(both.select(np.arange(REPLICATIONS) < COVERED), beta)
    held = np.mean((some.lo - 1e-9 <= truth) & (truth <= some.hi + 1e-9))
    two = np.mean(np.isfinite(some.hi))
    share = np.mean(tiltz.contributions(both, beta).weight[:, 0, 1])
    bound = "" if pooled <= 1.5 * policy + 0.06 else "  above 1.5 x policy + .06"
    # Rows of the tilted policy itself leave nothing but rounding.
    ratios = "    exact     exact" if pooled < 1e-6 else f"{reference / pooled:9.1f} {pooled / policy:9.2f}"
    print(
        f"{first} {n:6d} {reference:9.3f} {policy:9.3f} {plain:9.3f} {pooled:9.3f} {ratios} {share:7.0%} {held:8.3f} "
        f"{two:6.2f}{bound}",
        flush=True,
    )


HEAD = "     n reference    policy     plain    pooled ref/pool. pool./pol.  policy  covered  two-sided"


def normal_draws(s, t):
    def draw(name, rows, pooled):
        shift = 0.0 if name == "reference" else t * s
        y = np.random.default_rng([rows, len(name), int(pooled)]).normal(shift, size=(REPLICATIONS, rows))
        return table(
            s * y, {"reference": -(y**2) / 2, "policy": -((y - t * s) ** 2) / 2}, name, pooled=pooled
        )

    return draw


def finite_draws(beta_policy):
    policy = REF * np.exp(REWARD / beta_policy)
    laws = {"reference": REF, "policy": policy / policy.sum()}

    def draw(name, rows, pooled):
        rng = np.random.default_rng([rows, len(name), int(pooled)])
        y = rng.choice(len(REF), size=(REPLICATIONS, rows), p=laws[name])
        return table(REWARD[y], {key: np.log(law)[y] for key, law in laws.items()}, name, pooled=pooled)

    return draw


def main():
    print("Normal world: how far the policy is on its way to the tilt\nlog Z    t" + HEAD)
    for log_z in (1.0, 2.0, 5.0):
        for t in (0.25, 0.5, 0.75, 1.0, 1.25):
            for n in (64, 512) if log_z == 5.0 else (512,):
                draw = normal_draws(math.sqrt(2 * log_z), t)
                line(f"{log_z:5.1f} {t:4.2f}", draw, n, 1.0, log_z)
    print("\nEight outcomes, policy tilted at beta 0.7, over beta\n     beta " + HEAD)
    for beta in (0.2, 0.3, 0.5, 0.7, 1.0, 2.0, 5.0):
        line(f"{beta:10.2f}", finite_draws(0.7), 256, beta, math.log(REF @ np.exp(REWARD / beta)))


if __name__ == "__main__":
    main()
