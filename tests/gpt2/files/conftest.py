import pytest

from gpt2.config import GPT2Config


@pytest.fixture
def unusual_config() -> GPT2Config:
    """No setting has its default."""
    return GPT2Config(
        vocab_size=90,
        n_positions=20,
        n_embd=12,
        n_layer=2,
        n_head=3,
        n_inner=7,
        activation_function="relu",
        layer_norm_epsilon=1e-3,
        scale_attn_weights=False,
        scale_attn_by_inverse_layer_idx=True,
        reorder_and_upcast_attn=True,
        tie_word_embeddings=False,
        embd_pdrop=0.2,
        attn_pdrop=0.3,
        resid_pdrop=0.4,
        initializer_range=0.5,
    )
