"""Texts and chat messages: what a completion says."""

from __future__ import annotations

import json
from typing import Any

from tiltz.errors import InputError


def said(completion: Any) -> str:
    """Return the text of a completion, of chat messages what the last one says.

    Examples
    --------
    >>> said("4"), said([{"role": "assistant", "content": "4"}])
    ('4', '4')
    """
    if isinstance(completion, str):
        return completion
    try:
        content = completion[-1]["content"]
    except (TypeError, KeyError, IndexError) as reason:
        raise InputError(
            "a completion must be a text or a list of chat messages with a content; "
            f"found {completion!r:.100}."
        ) from reason
    if isinstance(content, list):  # parts, of which some are images
        content = "".join(str(part.get("text", "")) for part in content)
    return content or ""  # a message that only calls a tool says nothing


def as_text(prompt: Any) -> str:
    """Return a prompt as one text, as it stands in a file of rollouts."""
    return prompt if isinstance(prompt, str) else json.dumps(prompt, ensure_ascii=False)


def as_messages(text: Any, role: str) -> list[Any]:
    """Return chat messages as they are, and a text as the one message of a role."""
    return [{"role": role, "content": text}] if isinstance(text, str) else list(text)
