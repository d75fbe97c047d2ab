import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import transformers
from torch import Tensor

from gpt2.config import GenerationConfig, GPT2Config
from gpt2.errors import CheckpointError, ConfigError, Gpt2Error
from gpt2.files.pretrained import GPT2
from gpt2.generation.generate import generate
from gpt2.model.gpt import Block
from llm_tokenizer import Tokenizer
from llm_tokenizer.vocabulary import Vocabulary

SHAPES = [
    {"vocab_size": 97, "n_positions": 16, "n_embd": 24, "n_layer": 1, "n_head": 3},
    {"vocab_size": 300, "n_positions": 40, "n_embd": 20, "n_layer": 3, "n_head": 5, "n_inner": 17},
    {"vocab_size": 50257, "n_positions": 32, "n_embd": 32, "n_layer": 2, "n_head": 1},
]


def hugging_face(
    shape: dict[str, Any], directory: Path, **options: Any
) -> transformers.GPT2LMHeadModel:
    """Return transformers' GPT-2 with random weights of a size to tell apart, saved."""
    torch.manual_seed(0)
    ends = {"bos_token_id": 0, "eos_token_id": 0}
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**shape, **ends)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(directory, **options)
    return model


def edit_config(directory: Path, **entries: Any) -> None:
    path = directory / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


def pickle_weights(directory: Path) -> None:
    """Write the weights of a directory as torch does, in as many files, and delete the others."""
    for file in directory.glob("model*"):
        if file.suffix == ".json":
            text = file.read_text().replace("model-", "pytorch_model-")
            text = text.replace(".safetensors", ".bin")
            file.with_name("pytorch_model.bin.index.json").write_text(text)
        else:
            weights = safetensors.torch.load_file(file)
            weights = {name: tensor.clone() for name, tensor in weights.items()}
            torch.save(weights, file.with_name("pytorch_" + file.stem + ".bin"))
        file.unlink()


def rename(directory: Path, new_name: Callable[[str], str]) -> None:
    """Give every tensor of a directory a new name."""
    for file in directory.glob("*model*"):
        if file.suffix == ".bin":
            weights = torch.load(file)
            torch.save({new_name(name): tensor for name, tensor in weights.items()}, file)
        elif file.suffix == ".safetensors":
            weights = safetensors.torch.load_file(file)
            renamed = {new_name(name): tensor for name, tensor in weights.items()}
            safetensors.torch.save_file(renamed, file)


def some_ids(shape: dict[str, int]) -> Tensor:
    return torch.randint(0, shape["vocab_size"], (3, shape["n_positions"]))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_transformers_opens_what_we_save_and_agrees(tmp_path: Path, shape: dict[str, int]) -> None:
    ours = GPT2(GPT2Config(**shape), seed=2).eval()
    ours.save_pretrained(tmp_path)
    theirs, info = transformers.GPT2LMHeadModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    ids = some_ids(shape)
    with torch.no_grad():
        torch.testing.assert_close(theirs.eval()(ids).logits, ours(ids), rtol=0, atol=1e-5)


def test_saving_and_loading_changes_no_bit(tmp_path: Path, model: GPT2) -> None:
    model.save_pretrained(tmp_path)
    loaded = GPT2.from_pretrained(tmp_path)
    assert loaded.config == model.config
    assert loaded.tokenizer.fingerprint == model.tokenizer.fingerprint
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name


def with_specials(model: GPT2) -> GPT2:
    """Return a model whose vocabulary has two special tokens more."""
    merges = model.tokenizer.vocabulary.merges[:40]
    specials = ["<|endoftext|>", "<|pad|>", "<|user|>"]
    tokenizer = Tokenizer(Vocabulary.from_merges(merges, specials))
    return GPT2(model.config, tokenizer=tokenizer)


def test_special_tokens_are_special_in_transformers_too(tmp_path: Path, model: GPT2) -> None:
    ours = with_specials(model)
    ours.save_pretrained(tmp_path)
    text = "Perm<|pad|>ission<|user|><|endoftext|>"
    expected = ours.tokenizer.encode(text, allowed_special="all")
    assert 297 in expected
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert theirs(text).input_ids == expected
    loaded = GPT2.from_pretrained(tmp_path).tokenizer
    assert loaded.encode(text, allowed_special="all") == expected


def test_special_tokens_in_a_file_of_their_own_are_read(tmp_path: Path, model: GPT2) -> None:
    model.save_pretrained(tmp_path)
    edit_config(tmp_path, vocab_size=300)
    (tmp_path / "added_tokens.json").write_text('{"<|pad|>": 300}')  # beyond the model, as happens
    loaded = GPT2.from_pretrained(tmp_path)
    assert loaded.tokenizer.encode("<|pad|>", allowed_special="all") == [300]


def test_what_another_model_left_in_a_directory_is_no_part_of_the_new_one(
    tmp_path: Path, model: GPT2
) -> None:
    with_specials(model).save_pretrained(tmp_path)
    model.save_pretrained(tmp_path)
    assert len(transformers.AutoTokenizer.from_pretrained(tmp_path)) == 300
    GPT2(replace(model.config, vocab_size=9)).save_pretrained(tmp_path)
    assert GPT2.from_pretrained(tmp_path).tokenizer is None


@pytest.mark.parametrize("end", ["a", {}, [None], [[1]], 10**30, 1.5, -1, True, 300])
def test_an_end_of_text_that_is_no_id_ends_nothing(
    tmp_path: Path, model: GPT2, end: object
) -> None:
    model.save_pretrained(tmp_path)
    (tmp_path / "generation_config.json").unlink()
    edit_config(tmp_path, eos_token_id=end)
    assert GPT2.from_pretrained(tmp_path).end_ids == frozenset()


@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "int8", "none", 3])
def test_a_dtype_that_no_model_runs_in_is_passed_over(
    tmp_path: Path, model: GPT2, dtype: object
) -> None:
    model.save_pretrained(tmp_path)
    edit_config(tmp_path, dtype=dtype)
    assert GPT2.from_pretrained(tmp_path).wte.weight.dtype == torch.float32


@pytest.mark.parametrize("content", ["[" * 100_000, "[]", '{"n_embd": 10}', '{"n_embd": 1e400}'])
def test_a_config_json_of_something_else_is_refused(
    tmp_path: Path, model: GPT2, content: str
) -> None:
    model.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(content)
    with pytest.raises((CheckpointError, ConfigError), match="config.json"):
        GPT2.from_pretrained(tmp_path)


def test_tensors_that_are_not_all_in_memory_are_refused(tmp_path: Path, model: GPT2) -> None:
    model.save_pretrained(tmp_path)
    pickle_weights(tmp_path)
    path = tmp_path / "pytorch_model.bin"
    weights = torch.load(path)
    for other in (torch.Tensor.to_sparse, lambda tensor: tensor.to("meta")):
        torch.save({name: other(tensor) for name, tensor in weights.items()}, path)
        with pytest.raises(CheckpointError, match="dense tensors by their names"):
            GPT2.from_pretrained(tmp_path)


def test_an_older_pickle_is_read_whole_and_refused_in_part(tmp_path: Path, model: GPT2) -> None:
    model.save_pretrained(tmp_path)
    pickle_weights(tmp_path)
    path = tmp_path / "pytorch_model.bin"
    torch.save(torch.load(path), path, _use_new_zipfile_serialization=False)
    assert torch.equal(GPT2.from_pretrained(tmp_path).wte.weight, model.wte.weight)
    content = path.read_bytes()
    for length in range(0, len(content), len(content) // 50):
        path.write_bytes(content[:length])
        with pytest.raises(CheckpointError, match="pytorch_model.bin is damaged"):
            GPT2.from_pretrained(tmp_path)


def test_every_setting_of_a_model_survives_its_files(
    tmp_path: Path, unusual_config: GPT2Config
) -> None:
    config = unusual_config
    defaults = dataclasses.asdict(GPT2Config())
    assert not [k for k, v in dataclasses.asdict(config).items() if v == defaults[k]]
    GPT2(config).save_pretrained(tmp_path)
    assert GPT2.from_pretrained(tmp_path).config == config


def test_weights_keep_the_dtype_of_the_file_unless_another_is_asked_for(
    tmp_path: Path, model: GPT2
) -> None:
    model.to(torch.bfloat16).save_pretrained(tmp_path)
    assert GPT2.from_pretrained(tmp_path).wte.weight.dtype == torch.bfloat16
    assert GPT2.from_pretrained(tmp_path, dtype=torch.float32).wte.weight.dtype == torch.float32


@pytest.mark.parametrize("stored", [torch.float16, torch.bfloat16])
def test_the_dtype_that_config_json_names_goes_before_that_of_the_file(
    tmp_path: Path, model: GPT2, stored: torch.dtype
) -> None:
    model.to(stored).save_pretrained(tmp_path)
    edit_config(tmp_path, dtype=None, torch_dtype="float32")
    assert GPT2.from_pretrained(tmp_path).ln_f.weight.dtype == torch.float32
    edit_config(tmp_path, torch_dtype=None)
    assert GPT2.from_pretrained(tmp_path).ln_f.weight.dtype == stored


@pytest.mark.parametrize("size", ["20KB", "1GB"])
@pytest.mark.parametrize("prefix", ["transformer.", ""])
@pytest.mark.parametrize("pickled", [True, False])
@pytest.mark.parametrize("tied", [True, False])
def test_every_form_of_weights_gives_the_same_model(
    tmp_path: Path, size: str, prefix: str, pickled: bool, tied: bool
) -> None:
    shape = SHAPES[1] | {"tie_word_embeddings": tied}
    hugging_face(shape, tmp_path / "plain")
    expected = GPT2.from_pretrained(tmp_path / "plain").state_dict()
    hugging_face(shape, tmp_path / "other", max_shard_size=size)
    if pickled:
        pickle_weights(tmp_path / "other")
    rename(tmp_path / "other", lambda name: name.replace("transformer.", prefix))

    loaded = GPT2.from_pretrained(tmp_path / "other")

    files = [file.name for file in (tmp_path / "other").iterdir()]
    assert ("index.json" in " ".join(files)) == (size == "20KB")
    assert loaded.state_dict().keys() == expected.keys()
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


def test_a_file_with_the_head_in_place_of_the_embeddings_ties_them(
    tmp_path: Path, model: GPT2
) -> None:
    model.save_pretrained(tmp_path)
    rename(tmp_path, lambda name: name.replace("transformer.wte.weight", "lm_head.weight"))
    assert torch.equal(GPT2.from_pretrained(tmp_path).wte.weight, model.wte.weight)


LOAD = """
import pathlib, sys
from gpt2 import GPT2

def peak():
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

GPT2.from_pretrained(sys.argv[1])  # what is loaded once, such as libraries
before = peak()
model = GPT2.from_pretrained(sys.argv[2])
print((peak() - before) / (4 * model.num_parameters()))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
@pytest.mark.parametrize("pickled", [False, True])
def test_loading_takes_little_more_memory_than_the_weights(
    tmp_path: Path, model: GPT2, pickled: bool
) -> None:
    model.save_pretrained(tmp_path / "small")
    GPT2(GPT2Config(vocab_size=1000, n_layer=8)).save_pretrained(tmp_path / "large")  # 233 MB
    if pickled:
        pickle_weights(tmp_path / "large")
    command = [sys.executable, "-c", LOAD, str(tmp_path / "small"), str(tmp_path / "large")]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert 0.8 < float(ran.stdout) < 1.2


def test_a_missing_shard_is_told(
    tmp_path: Path,
) -> None:
    hugging_face(SHAPES[1], tmp_path, max_shard_size="20KB")
    next(tmp_path.glob("model-00002-*")).unlink()
    with pytest.raises(CheckpointError, match="model-00002-.* cannot be read: No such file"):
        GPT2.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    "index",
    ["{}", '{"weight_map": {}}', '{"weight_map": {"a": "../b"}}', '{"weight_map": {"a": 1}}', "x"],
)
def test_an_index_that_names_no_files_beside_it_is_refused(
    tmp_path: Path, model: GPT2, index: str
) -> None:
    model.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "model.safetensors.index.json").write_text(index)
    with pytest.raises(CheckpointError, match=r"model.safetensors.index.json (must map|is not)"):
        GPT2.from_pretrained(tmp_path)


class Harmful:
    """A pickle that runs code when it is read."""

    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("harm",)


@pytest.mark.parametrize("content", [{"a": Harmful()}, [1, 2], {"a": 1}, {3: torch.zeros(1)}])
def test_a_pickle_of_more_than_tensors_is_refused_and_not_run(
    tmp_path: Path, model: GPT2, capsys: pytest.CaptureFixture[str], content: Any
) -> None:
    model.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(content, tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"pytorch_model.bin (is damaged, or|must be)"):
        GPT2.from_pretrained(tmp_path)
    assert "harm" not in capsys.readouterr().out


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize("kept", [0, 1, 7, 100, 0.3, 0.9, -1])
def test_a_file_cut_anywhere_is_named(tmp_path: Path, model: GPT2, file: str, kept: float) -> None:
    model.save_pretrained(tmp_path)
    if file == "pytorch_model.bin":
        pickle_weights(tmp_path)
    content = (tmp_path / file).read_bytes()
    length = int(kept * len(content)) if isinstance(kept, float) else kept
    (tmp_path / file).write_bytes(content[:length])
    with pytest.raises(CheckpointError, match=f"{file} is damaged"):
        GPT2.from_pretrained(tmp_path)


@pytest.mark.parametrize("name", ["gpt2-medium", "gpt2-large", "gpt2-xl"])
def test_in_out_and_in_again_changes_no_bit_of_the_released_architectures(
    tmp_path: Path, name: str
) -> None:
    # With a sixteenth of the channels a head, and so of each matrix a 256th.
    config = GPT2Config.preset(name)
    sizes = {"n_layer": config.n_layer, "n_head": config.n_head, "n_embd": config.n_embd // 16}
    round_trip({"vocab_size": 1000, "n_positions": 64} | sizes, tmp_path)


def test_in_out_and_in_again_changes_no_bit_of_the_full_124m_model(tmp_path: Path) -> None:
    round_trip({}, tmp_path)


def round_trip(shape: dict[str, int], folder: Path) -> None:
    hugging_face(shape, folder / "theirs")
    first = GPT2.from_pretrained(folder / "theirs")
    first.save_pretrained(folder / "ours")
    second = GPT2.from_pretrained(folder / "ours")
    assert second.config == first.config
    assert second.special_ids == first.special_ids
    for name, tensor in first.state_dict().items():
        assert torch.equal(second.state_dict()[name], tensor), name
    stored = safetensors.torch.load_file(folder / "theirs/model.safetensors")
    written = safetensors.torch.load_file(folder / "ours/model.safetensors")
    assert stored.keys() == written.keys()
    assert all(torch.equal(written[name], tensor) for name, tensor in stored.items())


def test_old_files_load_without_prefix_and_with_masks_and_head(tmp_path: Path, model: GPT2) -> None:
    model.save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    weights = {
        name.removeprefix("transformer."): tensor
        for name, tensor in safetensors.torch.load_file(path).items()
    }
    weights["h.0.attn.bias"] = torch.ones(1, 1, 24, 24)
    weights["h.0.attn.masked_bias"] = torch.tensor(-1e4)
    weights["lm_head.weight"] = weights["wte.weight"].clone()
    safetensors.torch.save_file(weights, path)

    loaded = GPT2.from_pretrained(tmp_path)

    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name


def test_all_tensors_that_do_not_fit_are_listed_at_once(tmp_path: Path, model: GPT2) -> None:
    model.save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    weights = safetensors.torch.load_file(path)
    del weights["transformer.ln_f.bias"]
    weights["transformer.extra"] = torch.zeros(1)
    weights["transformer.wpe.weight"] = torch.zeros(3, 20)
    weights["transformer.h.0.attn.c_attn.weight"] = torch.zeros(60, 20)
    safetensors.torch.save_file(weights, path)
    with pytest.raises(CheckpointError) as raised:
        GPT2.from_pretrained(tmp_path)
    for told in (
        "missing transformer.ln_f.bias (20,)",
        "unexpected transformer.extra (1,)",
        "transformer.wpe.weight must be (24, 20) of floating point, got (3, 20)",
        "transformer.h.0.attn.c_attn.weight must be (20, 60) of floating point, got (60, 20)",
    ):
        assert told in str(raised.value)


@pytest.mark.parametrize(
    ("name", "tensor", "told"),
    [
        ("lm_head.weight", torch.zeros(300, 20), "lm_head.weight must be tied"),
        ("wpe.weight", torch.zeros(24, 20), "wpe.weight twice"),
        (
            "transformer.ln_f.bias",
            torch.zeros(20, dtype=torch.int8),
            "ln_f.bias must be .* floating",
        ),
    ],
)
def test_a_tensor_that_would_give_other_logits_is_refused(
    tmp_path: Path, model: GPT2, name: str, tensor: Tensor, told: str
) -> None:
    model.save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    weights = safetensors.torch.load_file(path) | {name: tensor}
    safetensors.torch.save_file(weights, path)
    with pytest.raises(CheckpointError, match=told):
        GPT2.from_pretrained(tmp_path)


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("content", [None, b"", b"damaged"])
def test_a_missing_or_damaged_file_is_named(
    tmp_path: Path, model: GPT2, file: str, content: bytes | None
) -> None:
    model.save_pretrained(tmp_path)
    (tmp_path / file).unlink()
    if content is not None:
        (tmp_path / file).write_bytes(content)
    with pytest.raises(CheckpointError, match=file):
        GPT2.from_pretrained(tmp_path)


def test_a_tokenizer_larger_than_the_model_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(ConfigError, match="vocab_size must be at least the tokenizer's 300, got 8"):
        GPT2(GPT2Config(vocab_size=8, n_embd=4, n_head=2, n_layer=1), tokenizer=tokenizer)


def test_a_released_model_comes_with_the_released_vocabulary(tmp_path: Path) -> None:
    hugging_face(SHAPES[2], tmp_path)
    assert GPT2.from_pretrained(tmp_path).tokenizer.encode("Hello, world") == [15496, 11, 995]


def test_config_json_names_the_end_of_text(tmp_path: Path, model: GPT2) -> None:
    model.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["eos_token_id"] == 299


ODD_VALUES = ["<|endoftext|>", [], [[1]], [[[299]], "x"], {"a": 1}, True, -1, 10**30, 1.5, 1e300]


@pytest.mark.parametrize("value", ODD_VALUES, ids=lambda value: str(value)[:20])
@pytest.mark.parametrize("file", ["config.json", "generation_config.json"])
@pytest.mark.parametrize("key", ["bos_token_id", "eos_token_id", "pad_token_id"])
def test_special_ids_that_are_none_are_passed_over(
    tmp_path: Path, model: GPT2, file: str, key: str, value: Any
) -> None:
    model.save_pretrained(tmp_path)
    path = tmp_path / file
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    loaded = GPT2.from_pretrained(tmp_path)
    ends_stay = key != "eos_token_id" or file == "config.json"  # the other file wins
    assert loaded.end_ids == (frozenset([299]) if ends_stay else frozenset())
    generate(loaded, ["a"], GenerationConfig(max_new_tokens=3, seed=1))
    loaded.save_pretrained(tmp_path / "copy")
    assert GPT2.from_pretrained(tmp_path / "copy").end_ids == loaded.end_ids


@pytest.mark.parametrize("value", [*ODD_VALUES, None, "x" * 10**6], ids=lambda v: str(v)[:20])
@pytest.mark.parametrize("file", ["config.json", "generation_config.json"])
def test_any_edited_entry_loads_or_is_an_error_of_this_package(
    tmp_path: Path, model: GPT2, file: str, value: Any
) -> None:
    model.save_pretrained(tmp_path)
    path = tmp_path / file
    before = json.loads(path.read_text())
    for key in before:
        path.write_text(json.dumps(before | {key: value}))
        with suppress(Gpt2Error):
            GPT2.from_pretrained(tmp_path)
    path.write_text(json.dumps(None if isinstance(value, dict) else value))
    with pytest.raises(CheckpointError, match=f"{file} must be an object of settings"):
        GPT2.from_pretrained(tmp_path)


@pytest.mark.parametrize("text", ["[" * 10**5, "1" * 10**5, '{"n_layer": ' + "1" * 10**4 + "}"])
def test_json_that_is_too_deep_or_too_long_is_an_error(
    tmp_path: Path, model: GPT2, text: str
) -> None:
    model.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match="config.json is not valid JSON"):
        GPT2.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"n_layer": 2**24}, "n_layer must be 1 to 4096, got 16777216"),
        ({"n_layer": 4096}, "missing transformer.h.3.ln_1.weight .* and 49106 more"),
        ({"n_positions": 2**24}, "n_positions must be 1 to 65536, got 16777216"),
        ({"n_positions": 2**16}, r"wpe.weight must be \(65536, 20\)"),
        ({"vocab_size": 2**24}, r"wte.weight must be \(16777216, 20\)"),
        ({"n_inner": 2**24}, "c_fc.weight must be"),
    ],
    ids=str,
)
def test_a_config_that_asks_for_far_more_than_the_file_has_is_a_short_error(
    tmp_path: Path,
    model: GPT2,
    entry: dict[str, int],
    told: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model.save_pretrained(tmp_path)
    edit_config(tmp_path, **entry)
    made: list[int] = []
    make = Block.__init__
    monkeypatch.setattr(Block, "__init__", lambda *args: (made.append(1), make(*args))[1])
    with pytest.raises(Gpt2Error, match=told) as raised:
        GPT2.from_pretrained(tmp_path)
    assert len(str(raised.value)) < 2000
    assert len(made) <= 1


@pytest.mark.skipif(sys.platform == "win32", reason="files have no limit there")
def test_a_full_disk_leaves_no_directory_and_an_old_model_whole(
    tmp_path: Path, model: GPT2
) -> None:
    model.save_pretrained(tmp_path / "old")
    before = {path.name: path.read_bytes() for path in (tmp_path / "old").iterdir()}
    program = f"""
import resource, signal, sys
from gpt2 import GPT2
from gpt2.errors import CheckpointError
model = GPT2.from_pretrained({str(tmp_path / "old")!r}).double()
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
for name in ("old", "new", "new.json"):
    try:
        model.save_pretrained({str(tmp_path)!r} + "/" + name)
    except CheckpointError as error:
        print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.count("could not write") == 3
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    assert {path.name: path.read_bytes() for path in (tmp_path / "old").iterdir()} == before


def test_opening_a_model_loads_no_compiler(model: GPT2, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    code = (
        "import sys; from gpt2 import GPT2; GPT2.from_pretrained(sys.argv[1]);"
        "assert 'torch._dynamo' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
