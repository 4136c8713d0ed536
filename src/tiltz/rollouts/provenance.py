"""What files say about themselves (reference, reward, stopping rule), and that files read together agree."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from tiltz.errors import LayoutError

_AGREEING = ("ref_id", "reward_id")
_DECLARING = ("reward_range", "reward_values")


def agreed_metadata(files: Sequence[str], metadata: Sequence[dict[str, str]]) -> dict[str, str]:
    """Return the metadata that all files share.

    Raises
    ------
    LayoutError
        If two files name different references or rewards, or a stopping rule is unknown.
    """
    agreed: dict[str, str] = {}
    for key in _AGREEING:
        told = [(found[key], file) for file, found in zip(files, metadata, strict=True) if key in found]
        if told:
            _refuse_two(key, told)
            agreed[key] = told[0][0]
    rules = {
        found["stopping"]: file for file, found in zip(files, metadata, strict=True) if "stopping" in found
    }
    for rule, file in rules.items():
        if rule not in ("fixed", "adaptive"):
            raise LayoutError(
                f"the metadata key stopping must be 'fixed' or 'adaptive'; found {rule!r} in {file!r}."
            )
    if rules:
        agreed["stopping"] = "adaptive" if "adaptive" in rules else "fixed"
    for key in _DECLARING:
        said = {found.get(key) for found in metadata}
        if len(said) == 1 and None not in said:
            agreed[key] = str(said.pop())
    return agreed


def declared_by_files(metadata: Mapping[str, str]) -> dict[str, list[float]]:
    """Return the range or the values that all files declare for their own column ``reward``.

    Raises
    ------
    LayoutError
        If a declaration is not a JSON list of numbers.
    """
    declared: dict[str, list[float]] = {}
    for key in _DECLARING:
        if key in metadata:
            try:
                declared[key] = [float(value) for value in json.loads(metadata[key])]
            except (TypeError, ValueError) as reason:
                raise LayoutError(
                    f"the metadata key {key} must be a JSON list of numbers; found {metadata[key]!r:.80}."
                ) from reason
    return declared


def _refuse_two(key: str, told: list[tuple[str, str]]) -> None:
    first, first_file = told[0]
    for value, file in told[1:]:
        if value != first:
            what = "reference" if key == "ref_id" else "reward"
            raise LayoutError(
                f"files read together must have one {what}; {key} is {first!r} in {first_file!r} and "
                f"{value!r} in {file!r}. Z differs between them: read them one by one."
            )
