"""What the figures of an evaluation mean, for those who see them without the documentation.

What differs from one measurement to the next, such as the windows or the number of examples, is in
the notes of its result.
"""

MEANINGS = {
    "perplexity": (
        "All figures come from the same sum of -ln p(token), each token scored once: "
        "`nats_per_token` by tokens, `token_perplexity` its exponential (both depend on the "
        "tokenizer), `bits_per_byte` by bytes of UTF-8, `bits_per_character` by characters, "
        "`word_perplexity` by words."
    ),
    "hellaswag": "Shares of the rows in which the right one of four endings is the likeliest.",
    "lambada": (
        "`accuracy`: the share of last words each token of which is the likeliest; "
        "`last_token_accuracy`: the same of their last token alone; `perplexity`: exp of the mean "
        "nats of a last word."
    ),
    "multiple-choice": (
        "Shares of the rows in which the right choice is the likeliest: `acc` by the fewest nats, "
        "`acc_norm` by the fewest nats a character, both as lm-eval has them."
    ),
    "cloze": (
        "`accuracy`: the share of continuations each token of which is the likeliest; "
        "`perplexity`: exp of the mean nats of a continuation."
    ),
    "core": (
        "DCLM's CORE, computed as nanochat does: the accuracy of each task, and centred, 0 for "
        "guessing at random and 1 for all right; `core` is the mean of the centred ones."
    ),
    "harness": "Tasks, prompts and metrics of lm-evaluation-harness.",
}
