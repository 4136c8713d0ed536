"""Reward models of transformers: sequence classifiers with one label."""

from __future__ import annotations

from typing import Any

from tiltz.errors import InputError, MissingExtraError
from tiltz.rewards.messages import as_messages


class Classifier:
    """The one logit of a sequence classifier, as a reward.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        With one label.
    tokenizer : transformers.PreTrainedTokenizerBase
        Its tokenizer. With a chat template, prompt and completion are what a user and an assistant say; without one,
        a text with the separator between them.
    name : str
        Of the reward.
    batch_size : int
        Completions at once.
    separator : str
        Between the two texts where there is no template.

    Attributes
    ----------
    reward_range : None
        Logits have no range.
    """

    reward_range = None

    def __init__(
        self, model: Any, tokenizer: Any, *, name: str, batch_size: int = 64, separator: str = " "
    ) -> None:
        self.model, self.tokenizer, self.name = model.eval(), tokenizer, name
        self.separator = separator
        config = model.config.get_text_config()
        # Without one, models refuse batches; with one, they read the logit at the last token that is another.
        if config.pad_token_id is None:
            config.pad_token_id = tokenizer.pad_token_id
        self.pad_id = config.pad_token_id
        self.batch_size = 1 if self.pad_id is None else batch_size
        self.longest = min(
            tokenizer.model_max_length, getattr(config, "max_position_embeddings", tokenizer.model_max_length)
        )

    def __call__(self, prompts: list[Any], completions: list[Any], **columns: Any) -> list[float]:
        """Return the logit of each completion of the prompt beside it."""
        rows = [self.encode(prompt, text) for prompt, text in zip(prompts, completions, strict=True)]
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        found = [0.0] * len(rows)
        for start in range(0, len(order), self.batch_size):
            chosen = order[start : start + self.batch_size]
            for i, logit in zip(chosen, self._logits([rows[i] for i in chosen]), strict=True):
                found[i] = logit
        return found

    def encode(self, prompt: Any, completion: Any) -> list[int]:
        """Return the tokens of a prompt and its completion, or refuse more than the model can read."""
        if self.tokenizer.chat_template:
            messages = as_messages(prompt, "user") + as_messages(completion, "assistant")
            ids = self.tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False)
        elif isinstance(prompt, str) and isinstance(completion, str):
            ids = self.tokenizer(prompt + self.separator + completion)["input_ids"]
        else:
            raise InputError(
                f"chat messages need a tokenizer with a chat template; that of {self.name} has none."
            )
        if not 0 < len(ids) <= self.longest:
            raise InputError(
                f"prompt and completion must have 1 to {self.longest} tokens for {self.name}; found {len(ids)}."
            )
        return list(ids)

    def _logits(self, rows: list[list[int]]) -> list[float]:
        import torch

        lengths = torch.tensor([len(row) for row in rows])
        width = int(lengths.max())
        pad = 0 if self.pad_id is None else self.pad_id
        ids = torch.tensor([row + [pad] * (width - len(row)) for row in rows])
        mask = (torch.arange(width) < lengths[:, None]).long()
        device = self.model.device
        with torch.inference_mode():
            logits = self.model(input_ids=ids.to(device), attention_mask=mask.to(device)).logits
        return logits[:, 0].float().tolist()


def load_classifier(
    name: str,
    *,
    revision: str | None = None,
    dtype: str = "float32",
    device: str | None = None,
    batch_size: int = 64,
    separator: str = " ",
) -> Classifier:
    """Return a reward model of transformers.

    Parameters
    ----------
    name : str
        Folder or identifier of the hub.
    revision : str, optional
        Of the hub.
    dtype : str
        What is computed in.
    device : str, optional
        By default CUDA where there is one.
    batch_size : int
        Completions at once.
    separator : str
        Between prompt and completion where the tokenizer has no chat template.

    Returns
    -------
    Classifier
        The reward.

    Raises
    ------
    InputError
        If there is no such model, or it has no head of exactly one label.
    MissingExtraError
        If torch or transformers is not installed.
    """
    try:
        import torch
        import transformers
    except ImportError as reason:
        raise MissingExtraError(
            reason.name or "transformers", "hf", "a reward model of transformers"
        ) from reason
    what = f"{name} must be a sequence classifier with one label (num_labels = 1)"
    try:
        config: Any = transformers.AutoConfig.from_pretrained(name, revision=revision)
    except (OSError, ValueError) as reason:
        raise InputError(f"{name} must be a folder or an identifier of the hub; {reason}") from reason
    if config.num_labels != 1:
        raise InputError(f"{what}; found {config.num_labels}.")
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(name, revision=revision)
        model, loading = transformers.AutoModelForSequenceClassification.from_pretrained(
            name, revision=revision, dtype=getattr(torch, dtype), output_loading_info=True
        )
    except (OSError, ValueError) as reason:
        raise InputError(f"{what}, its tokenizer beside it; {reason}") from reason
    if missing := sorted(loading["missing_keys"]):  # they would be random
        raise InputError(f"{what}; its files lack the weights {', '.join(missing[:3])}.")
    model.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    return Classifier(model, tokenizer, name=f"hf:{name}", batch_size=batch_size, separator=separator)
