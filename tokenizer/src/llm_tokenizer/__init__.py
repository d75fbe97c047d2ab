"""GPT-2's byte-level byte-pair encoding, from scratch: text to token ids and back.

Read in this order: splitter, merging, vocabulary, counting, reference, tokenizer: that is all of
it. Then what makes it fast: two_paths, codec and the package compiled for encoding; trainer,
piece_counter, learner and compiled.pair_index for training.

Source: Radford et al. 2019, Language Models are Unsupervised Multitask Learners, section 2.2.
"""

TYPE_CHECKING = False  # typing's own takes longer to import than this module
if TYPE_CHECKING:
    from llm_tokenizer.errors import TokenizerError, UnknownTokenError
    from llm_tokenizer.splitter import well_formed
    from llm_tokenizer.tokenizer import Tokenizer
    from llm_tokenizer.vocabulary import END_OF_TEXT

__all__ = ["END_OF_TEXT", "Tokenizer", "TokenizerError", "UnknownTokenError", "well_formed"]

_MODULE_OF = {
    "END_OF_TEXT": "vocabulary",
    "Tokenizer": "tokenizer",
    "TokenizerError": "errors",
    "UnknownTokenError": "errors",
    "well_formed": "splitter",
}


def __getattr__(name: str) -> object:
    """Import a name when it is first used, so that `cli` is there to catch Ctrl-C before."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value
