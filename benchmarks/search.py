"""Best-first search with draws from the rest, against plain draws, at an equal number of tokens on the embedded model.

For every kind of prompt: the root mean square error of log Z over replications. The truth is exact: the probability of
the accepted answers is scored. Both estimates count every token that the model reads or draws after the prompt; a
search reads each prefix whole. Half of its budget goes into the search, the other half into draws from what it did not
find.
"""

import json
import math

import numpy as np

from tiltz import lm
from tiltz.lm.load import EMBEDDED

BUDGETS = (250, 1000)
BETA = 0.1
REPLICATIONS = 10
PROMPTS_OF_A_KIND = 5


def prompts():
    rows = [
        json.loads(line) for line in (EMBEDDED / "prompts.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    kinds = {}
    for row in rows:
        if row["answer"]:
            kinds.setdefault(f"{row['kind']}, {row['difficulty']}", []).append(row)
    return {kind: some[:PROMPTS_OF_A_KIND] for kind, some in kinds.items()}


def reward(row):
    return lambda texts: np.array([float(text in row["answer"]) for text in texts])


def log_mean_exp(x):
    return float(np.logaddexp.reduce(x) - math.log(len(x)))


def known_part(search, rewarded):
    """log of the sum over what was found, of its probability times exp(reward / beta)."""
    scores = [
        c.log_prob + r / BETA
        for c, r in zip(search.found, rewarded([c.text for c in search.found]), strict=True)
    ]
    return float(np.logaddexp.reduce(scores, initial=-np.inf))


def truth(model, row):
    """log Z from the exact probability that the completion is one of the accepted answers."""
    log_right = np.logaddexp.reduce(lm.score_answers(model, [row["prompt"]], row["answer"]).log_ref[0])
    return float(np.logaddexp(np.log1p(-np.exp(log_right)), log_right + 1 / BETA))


def plain(model, row, budget, rng):
    drawn, n_tokens = [], 0
    while n_tokens < budget:
        some = model.sample([row["prompt"]], budget // 16, rng)[0]
        drawn += some
        n_tokens += sum(len(c.ids) for c in some)
    return log_mean_exp(reward(row)([c.text for c in drawn]) / BETA)


def searched(model, row, budget, rng):
    search = lm.Search(model=model, prompt=row["prompt"], batch_size=8).run(max_tokens=budget // 2)
    known = known_part(search, reward(row))
    drawn = []
    while search.n_tokens < budget and not search.finished:
        drawn += search.draw(budget // 32, rng)
    if not drawn:
        return known
    rest = log_mean_exp(reward(row)([c.text for c in drawn]) / BETA)
    return float(np.logaddexp(known, search.log_missing + rest))


def main():
    model = lm.load("tiny")
    print(
        f"root mean square error of log Z (nats), beta {BETA}, rewards 0 and 1, {REPLICATIONS} replications"
    )
    print(f"{'prompts':<22}{'tokens':>8}{'plain':>10}{'search':>10}{'ratio':>8}")
    for kind, rows in prompts().items():
        known = [(row, truth(model, row)) for row in rows]
        for budget in BUDGETS:
            errors = {plain: [], searched: []}
            for i, (row, value) in enumerate(known):
                for k in range(REPLICATIONS):
                    for way, found in errors.items():
                        found.append(way(model, row, budget, np.random.default_rng([i, k])) - value)
            one, other = (math.sqrt(np.mean(np.square(found))) for found in errors.values())
            ratio = f"{other / one:.2f}" if one else "-"
            print(f"{kind:<22}{budget:>8}{one:>10.4f}{other:>10.4f}{ratio:>8}", flush=True)


if __name__ == "__main__":
    main()
