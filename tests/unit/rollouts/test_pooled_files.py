"""Files of the reference and of a policy, read and pooled: scores of the one under the other are kept."""

import json
import math

import numpy as np
import pytest

import tiltz
from tiltz.errors import InputError

REF, POLICY = np.log([0.7, 0.2, 0.1]), np.log([0.2, 0.3, 0.5])


def write(path, outcomes, **columns):
    rows = [
        {"prompt": "p", "reward": float(y), "log_ref": REF[y], "log_policy": POLICY[y]} | columns for y in outcomes
    ]  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_files_of_reference_and_policy_are_pooled(tmp_path):
    base, tuned = [0, 0, 1, 2], [2, 2, 1]
    tables = [
        tiltz.read(write(tmp_path / "reference.jsonl", base), drawn_from="reference"),
        tiltz.read(write(tmp_path / "policy.jsonl", tuned)),
    ]
    found = float(tiltz.estimate(tiltz.pool(tables), 0.5, interval=None))
    outcome = np.array(base + tuned)
    mix = 4 / 7 * np.exp(REF) + 3 / 7 * np.exp(POLICY)
    weights = np.exp(REF[outcome] + outcome / 0.5) / mix[outcome]
    assert found == pytest.approx(math.log(weights.mean()), rel=1e-12)


def test_bad_scores_cost_the_pooling_alone(tmp_path):
    reference = tiltz.read(
        write(tmp_path / "reference.jsonl", [0, 1], log_policy=0.5), drawn_from="reference"
    )
    assert reference.log_densities is None
    policy = tiltz.read(write(tmp_path / "policy.jsonl", [1, 2]))
    with pytest.raises(InputError, match="lacks those under 'reference' and 'policy'"):
        tiltz.pool([reference, policy])
