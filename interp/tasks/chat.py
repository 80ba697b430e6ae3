"""Chat: what a user says, inside the model's own chat template."""

from collections.abc import Mapping, Sequence
from typing import Any

from interp.tasks.task import tokenizer_of


def chat(model: Any, messages: Any, *, answer: bool = True) -> str:
    """The text that a chat model reads for these messages, to be given to any verb.

    Example:
        >>> text = interp.chat(model, "What is the capital of France?")
        >>> interp.generate(model, text, max_new_tokens=8)
        >>> interp.logit_lens(model, text)
        >>> interp.chat(model, [{"role": "system", "content": "Be brief."},
        ...                     {"role": "user", "content": "What is 2 + 2?"}])

    The text begins with the BOS token where the template has one, and no verb puts a second before
    it.

    Args:
        model: A model, or its tokenizer, with a chat template.
        messages: What the user says, or a list of messages, each with a "role" and a "content".
        answer: Whether the text ends where the assistant's answer begins.

    Raises:
        ValueError: If the tokenizer has no chat template.
        TypeError: If the messages are neither a string nor a list of messages.
    """
    tokenizer = tokenizer_of(model)
    if not getattr(tokenizer, "chat_template", None):
        raise ValueError(
            "this model's tokenizer has no chat template: give the prompt as the model should read "
            "it, for example interp.generate(model, 'Question: What is 2 + 2?\\nAnswer:')"
        )
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    fits = isinstance(messages, Sequence) and len(messages) > 0
    if not fits or not all(isinstance(m, Mapping) and "content" in m for m in messages):
        raise TypeError(
            "messages are a string or a list like [{'role': 'user', 'content': 'Hello'}], got "
            f"{messages!r}"
        )
    return tokenizer.apply_chat_template(
        list(messages), tokenize=False, add_generation_prompt=answer
    )
