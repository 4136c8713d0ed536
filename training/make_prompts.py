"""Write the held-out prompts to ``prompts.jsonl``, one object per line."""

import json

import corpus
import folders


def record(number: int, prompt: corpus.Prompt) -> dict:
    """Return what is written for a prompt.

    Parameters
    ----------
    number : int
        Its place among the prompts of its kind.
    prompt : corpus.Prompt
        The prompt.

    Returns
    -------
    dict
        Ready for JSON.
    """
    return {
        "prompt_id": f"{prompt.kind}-{number:03d}",
        "prompt": prompt.prompt,
        "kind": prompt.kind,
        "difficulty": prompt.difficulty,
        "answer": list(prompt.answer) if prompt.answer else None,
        "options": list(prompt.options) if prompt.options else None,
    }


def main() -> None:
    """Write the file."""
    lines = [json.dumps(record(i % corpus.N_HELD_OUT, prompt)) for i, prompt in enumerate(corpus.held_out())]
    (folders.MODELS / "prompts.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{len(lines)} prompts")


if __name__ == "__main__":
    main()
