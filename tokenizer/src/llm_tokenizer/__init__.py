"""GPT-2's byte-level byte-pair encoding, from scratch: text to token ids and back.

Read in this order: splitter, merging, vocabulary, reference, tokenizer; for speed codec, compiled,
instructions; for training trainer, piece_counter, learner.

Source: Radford et al. 2019, Language Models are Unsupervised Multitask Learners, section 2.2.
"""

from llm_tokenizer.errors import TokenizerError, UnknownTokenError
from llm_tokenizer.splitter import well_formed
from llm_tokenizer.tokenizer import Tokenizer
from llm_tokenizer.vocabulary import END_OF_TEXT

__all__ = ["END_OF_TEXT", "Tokenizer", "TokenizerError", "UnknownTokenError", "well_formed"]
