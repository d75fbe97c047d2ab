"""Whose split rule is it, if not GPT-2's? For messages about a vocabulary that is refused.

Sources: OpenAI, tiktoken 0.14, openai_public.py; the tokenizer.json of Meta's Llama 3, of Qwen 2
and of DeepSeek-V3.
"""

_CL100K = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_BY_START = {  # what a pattern in tokenizer.json begins with
    _CL100K: "cl100k_base's (GPT-4, Llama 3)",
    _CL100K.replace("{1,3}", ""): "Qwen 2's",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*": "o200k_base's (GPT-4o) or one like it",
    "[一-龥": "DeepSeek's",
}
_BY_SIZE = {  # tokens but special ones
    100_256: "cl100k_base (GPT-4)",
    128_000: "Llama 3",
    151_643: "Qwen",
    199_998: "o200k_base (GPT-4o)",
}


def owner_of_pattern(pattern: str) -> str | None:
    """Return whose split rule a regular expression is; None if it is not known.

    >>> owner_of_pattern("[一-龥぀-ゟ]+")
    "DeepSeek's"
    """
    return next((who for start, who in _BY_START.items() if pattern.startswith(start)), None)


def vocabulary_of_size(tokens: int) -> str | None:
    """Return the vocabulary that has so many tokens, special ones not counted, if it is known.

    >>> vocabulary_of_size(100_256)
    'cl100k_base (GPT-4)'
    """
    return _BY_SIZE.get(tokens)
