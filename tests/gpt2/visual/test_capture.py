import pytest
import torch

from gpt2.errors import InputError
from gpt2.files.pretrained import GPT2
from gpt2.visual.capture import attention_weights


@pytest.mark.parametrize(("block", "head"), [(0, 0), (2, 3)])
def test_the_map_is_what_transformers_attends_with(
    model: GPT2, tmp_path_factory: pytest.TempPathFactory, block: int, head: int
) -> None:
    import transformers

    directory = tmp_path_factory.mktemp("model")
    model.save_pretrained(directory)
    theirs = transformers.GPT2LMHeadModel.from_pretrained(directory, attn_implementation="eager")
    ids = [5, 80, 290, 17, 17]
    expected = theirs(torch.tensor([ids]), output_attentions=True).attentions[block][0, head]
    torch.testing.assert_close(attention_weights(model, ids, block, head), expected.detach())


def test_reading_leaves_the_model_as_it_was(model: GPT2) -> None:
    model.train()
    model.set_attention("flash")
    attention_weights(model, [1, 2], 0, 0)
    assert model.training
    assert model.block(0).attn.backend == "flash"
    assert not model.block(0).attn._forward_pre_hooks


def test_a_head_that_does_not_exist_is_refused(model: GPT2) -> None:
    with pytest.raises(InputError, match="head must be 0 to 3 in this model, got 4"):
        attention_weights(model, [1], 0, 4)
    with pytest.raises(InputError, match="block must be 0 to 2 in this model, got -1"):
        attention_weights(model, [1], -1, 0)
