"""Tables of several samplers for the same prompts, joined into one that weights every row against their mixture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tiltz.checks import check_declared, frozen
from tiltz.errors import InputError
from tiltz.facts import TableFacts
from tiltz.grouping import Groups, group_rows
from tiltz.outcomes import Outcomes

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def pool(tables: Sequence[Outcomes]) -> Outcomes:
    """Return one table of what several samplers drew for the same prompts.

    Parameters
    ----------
    tables : sequence of Outcomes
        Samples for the same prompts: draws from the reference, from policies, checkpoints, other temperatures or
        prompts. Each sampler has a name of its own (``drawn_from``); only the reference may have several tables.
        Every table must know the log-probabilities of its rows under the reference (``log_ref``) and under every
        other sampler (``log_densities``).

    Returns
    -------
    Outcomes
        The rows table after table, ``row`` their position. ``log_weight`` is ``log_ref`` less the log of
        sum_k (n_k / n) q_k, where sampler k drew n_k of the prompt's n rows (the balance heuristic).

    Raises
    ------
    InputError
        If a table is not sampled, its number of draws depended on the rewards, two tables name the same sampler,
        prompts or declared rewards differ, or log-probabilities under a sampler are missing.

    Notes
    -----
    exp(log_weight + reward / beta) has mean Z over the rows of a prompt, so its average is unbiased for Z, whatever
    the numbers of draws; they must be fixed in advance, because the mixture depends on them. Where the reference is one
    of the samplers, no importance weight exceeds n / n_reference (a defensive mixture). :func:`tiltz.estimate` also
    uses that the integral of every q_k is 1, and :func:`tiltz.contributions` says what each sampler contributed.

    References
    ----------
    .. [1] E. Veach, L. J. Guibas, "Optimally combining sampling techniques for Monte Carlo rendering", SIGGRAPH 1995.
    .. [2] A. Owen, Y. Zhou, "Safe and effective importance sampling", J. Am. Statist. Assoc. 95 (2000) 135-143.

    Examples
    --------
    >>> import numpy as np, tiltz
    >>> log_ref, log_policy = np.log([0.8, 0.2]), np.log([0.3, 0.7])
    >>> base, tuned = np.array([0, 0, 1, 0]), np.array([1, 0, 1, 1])
    >>> reference = tiltz.Outcomes.sampled(
    ...     base, log_ref=log_ref[base], log_densities={"policy": log_policy[base]}
    ... )
    >>> policy = tiltz.Outcomes.sampled(
    ...     tuned, log_ref=log_ref[tuned], log_proposal=log_policy[tuned], drawn_from="policy"
    ... )
    >>> both = tiltz.pool([reference, policy])
    >>> both
    Outcomes(sampled, 8 rows, 1 prompt, drawn from the reference and policy)
    >>> np.exp(both.log_weight).round(2)
    array([1.45, 1.45, 0.44, 1.45, 0.44, 1.45, 0.44, 0.44])
    """
    parts = _checked_tables(tables)
    names = _samplers(parts)
    groups = _joined_groups(parts)
    reward = np.concatenate([part.reward for part in parts])
    reward_range, reward_values = _declared(parts)
    check_declared(reward, groups, reward_range, reward_values)
    one = len(names) == 1
    densities = {} if one and not parts[0].weighted else _densities(parts, names)
    sampler = _sampler_of_rows(parts, list(densities) or names)
    log_weight = np.broadcast_to(0.0, reward.shape)
    if one and parts[0].weighted:
        log_weight = frozen(np.concatenate([part.log_weight for part in parts]))
    elif not one:
        log_mix = log_mixture(np.stack(list(densities.values())), sampler, groups)
        log_weight = frozen(densities["reference"] - log_mix)
    return Outcomes(
        evidence="sampled",
        reward=frozen(reward),
        log_weight=log_weight,
        groups=groups,
        row=frozen(np.arange(len(reward))),
        drawn_from=" and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names),
        weighted=parts[0].weighted or not one,
        reward_range=reward_range,
        reward_values=reward_values,
        log_densities=densities or None,
        sampler=None if one else frozen(sampler),
        facts=TableFacts.of(reward, groups),
    )


def draws_by_sampler(sampler: Ints, groups: Groups, n_samplers: int) -> Ints:
    """Return how many rows each sampler drew, shape (n_prompts, n_samplers)."""
    cell = groups.of_row * n_samplers + sampler
    return np.bincount(cell, minlength=len(groups.size) * n_samplers).reshape(-1, n_samplers)


def log_mixture(log_density: Floats, sampler: Ints, groups: Groups) -> Floats:
    """Return the log-density of every row under the mixture of the samplers of its prompt.

    Parameters
    ----------
    log_density : array, shape (n_samplers, n_rows)
        Under each sampler, in nats.
    sampler : int array, shape (n_rows,)
        Who drew the row.
    groups : Groups
        Prompts of the rows.
    """
    drawn = draws_by_sampler(sampler, groups, len(log_density))
    with np.errstate(divide="ignore"):
        log_share = np.log(drawn / groups.size[:, None])
    terms = log_share[groups.of_row].T + log_density
    top = terms.max(axis=0)
    with np.errstate(under="ignore"):
        return top + np.log(np.exp(terms - top).sum(axis=0))


def _checked_tables(tables: Sequence[Outcomes]) -> list[Outcomes]:
    parts: list[Outcomes] = [tables] if isinstance(tables, Outcomes) else list(tables)
    if not parts:
        raise InputError("pool needs at least one table; found none.")
    for i, part in enumerate(parts):
        if not isinstance(part, Outcomes) or part.evidence != "sampled":
            what = f"a {part.evidence} table" if isinstance(part, Outcomes) else type(part).__name__
            raise InputError(f"pool joins tables of samples; table {i} is {what}.")
        if part.stopping != "fixed":
            raise InputError(
                "weights against a mixture need numbers of draws that were fixed in advance; those of table "
                f"{i} (drawn from the {part.drawn_from}) depended on the rewards. Estimate it on its own."
            )
        if len(set(part.prompt.tolist())) != len(part.prompt):
            raise InputError(
                f"pool joins tables by prompt; table {i} holds several steps of the same prompt. Read one step."
            )
        if set(part.prompt.tolist()) != set(parts[0].prompt.tolist()):
            lone = sorted(set(part.prompt.tolist()) ^ set(parts[0].prompt.tolist()), key=str)[0]
            raise InputError(
                f"pool joins tables of the same prompts; {lone!r} is in only one of tables 0 and {i}. Keep the shared "
                "ones with Outcomes.select."
            )
    return parts


def _names_in(part: Outcomes) -> list[str]:
    """Return the samplers that drew the rows of a table, in the order of their numbers there."""
    if part.sampler is None:
        return [part.drawn_from]
    names = list(part.log_densities or {})
    return [names[k] for k in np.unique(part.sampler)]


def _samplers(parts: list[Outcomes]) -> list[str]:
    """Return all samplers, the reference first."""
    for i, part in enumerate(parts):
        if part.sampler is None and part.weighted and part.drawn_from == "reference":
            raise InputError(
                f"rows with a log_proposal are not draws from the reference; table {i} calls their sampler that. "
                "Give it another name with drawn_from."
            )
        if part.sampler is None and not part.weighted and part.drawn_from != "reference":
            raise InputError(
                f"rows of another sampler than the reference need log_proposal; table {i} (drawn from the "
                f"{part.drawn_from}) has none."
            )
    names: dict[str, int] = {}
    for i, part in enumerate(parts):
        for name in _names_in(part):
            if name in names and name != "reference":
                raise InputError(
                    f"each sampler must have a name of its own; tables {names[name]} and {i} both hold draws from a "
                    f"{name!r}. If these are two, name them with drawn_from; if it is one, make one table of its rows."
                )
            names[name] = i
    return [name for name in names if name == "reference"] + [name for name in names if name != "reference"]


def _densities(parts: list[Outcomes], names: list[str]) -> dict[str, Floats]:
    """Return the log-probabilities of all rows under the reference, under every sampler and what else is known."""
    wanted = list(dict.fromkeys(["reference", *names]))
    for i, part in enumerate(parts):
        missing = [name for name in wanted if name not in (part.log_densities or {})]
        if missing:
            how = "log_ref" if missing[0] == "reference" else f"log_densities={{{missing[0]!r}: ...}}"
            raise InputError(
                "every table must know the log-probabilities of its rows under every sampler; table "
                f"{i} (drawn from the {part.drawn_from}) lacks those under {' and '.join(map(repr, missing))}. Score "
                f"its rows there and pass {how} to Outcomes.sampled."
            )
    # What else all tables know is kept, so that a further sampler can be added later.
    shared = [
        name for name in parts[0].log_densities or {} if all(name in (p.log_densities or {}) for p in parts)
    ]
    return {
        name: frozen(np.concatenate([(part.log_densities or {})[name] for part in parts]))
        for name in dict.fromkeys([*wanted, *shared])
    }


def _sampler_of_rows(parts: list[Outcomes], names: list[str]) -> Ints:
    found = []
    for part in parts:
        if part.sampler is None:
            found.append(np.full(len(part), names.index(part.drawn_from)))
        else:
            number = {
                k: names.index(name) for k, name in enumerate(part.log_densities or {}) if name in names
            }
            found.append(np.array([number.get(k, -1) for k in range(max(number) + 1)])[part.sampler])
    return np.concatenate(found).astype(np.int64)


def _joined_groups(parts: list[Outcomes]) -> Groups:
    # Numbers of one order of prompts, so that text and integer labels need no joining.
    order = {label: i for i, label in enumerate(parts[0].prompt.tolist())}
    joined = [
        np.array([order[label] for label in part.prompt.tolist()])[part.groups.of_row] for part in parts
    ]
    return group_rows(parts[0].prompt[np.concatenate(joined)])


def _declared(parts: list[Outcomes]) -> tuple[tuple[float, float] | None, tuple[float, ...] | None]:
    found = []
    for what in ("reward_range", "reward_values"):
        declared = {getattr(part, what) for part in parts} - {None}
        if len(declared) > 1:
            one, two, *_ = sorted(declared)
            raise InputError(
                f"tables of the same prompts must agree in what they declare; found {what} {one} and {two}."
            )
        found.append(next(iter(declared), None))
    return found[0], found[1]
