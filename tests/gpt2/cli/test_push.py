"""`gpt2 export`: the card of a model, and --push-to-hub, to a server on the loopback."""

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
import yaml

from gpt2.cli.main import main
from gpt2.config import (
    CheckpointConfig,
    DataConfig,
    EvaluationConfig,
    GPT2Config,
    RunConfig,
    TrainingConfig,
)
from gpt2.files.pretrained import GPT2
from gpt2.train.run import start

PAGE = Path(__file__).parents[3] / "docs/publishing.md"

Hub = Any  # of conftest.py

# As huggingface_hub sends a large file where its package hf_xet does not, as here.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

PUSHED = {"README.md", "config.json", "generation_config.json", "merges.txt", "vocab.json"}
PUSHED |= {"loss.png", "model.safetensors"}


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "token")


@pytest.fixture(autouse=True)
def no_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare each of the many cards the half second in which its picture is drawn."""
    monkeypatch.setattr("gpt2.train.card_facts.image_bytes", lambda figure, kind: b"a picture")


@pytest.fixture(scope="module")
def run(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of four steps, with checkpoints of the second and the last one."""
    out = tmp_path_factory.mktemp("runs") / "tiny"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gpt2.devices.peak_flops", lambda device, dtype: 1e12)
        start(
            RunConfig(
                model=GPT2Config(vocab_size=300, n_positions=32, n_embd=24, n_layer=2, n_head=2),
                data=DataConfig(directory=shards),
                training=TrainingConfig(
                    steps=4, batch_tokens=64, micro_batch=2, dtype="float32", device="cpu"
                ),
                evaluation=EvaluationConfig(every=2, val_tokens=64),
                checkpoint=CheckpointConfig(every=2, keep_last=2),
            ),
            out,
        )
    return out


@pytest.fixture
def stored(model: GPT2, tmp_path: Path) -> Path:
    """A model directory that is no run's."""
    model.save_pretrained(tmp_path / "stored")
    return tmp_path / "stored"


def export(*args: object) -> int:
    return main(["export", *map(str, args)])


def code_of(card: str) -> Iterator[str]:
    yield from re.findall(r"^```python\n(.*?)^```$", card, re.MULTILINE | re.DOTALL)


def test_what_is_pushed_opens_again_by_the_code_of_its_card(
    run: Path, hub_server: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export("--model", run, "--push-to-hub", "someone/tiny", "--license", "mit") == 0

    assert capsys.readouterr().out == f"{hub_server.url}/someone/tiny\n"
    repository = hub_server.folder / "someone/tiny"
    assert {path.name for path in repository.iterdir()} == PUSHED | {".gitattributes"}
    pushed = GPT2.from_pretrained("someone/tiny")
    trained = GPT2.from_pretrained(run)
    assert pushed.tokenizer.fingerprint == trained.tokenizer.fingerprint
    for name, tensor in trained.state_dict().items():
        assert torch.equal(pushed.state_dict()[name], tensor), name
    theirs = transformers.AutoModelForCausalLM.from_pretrained("someone/tiny")
    ids = torch.tensor([[1, 2, 3]])
    torch.testing.assert_close(theirs(ids).logits, pushed(ids), rtol=1e-4, atol=1e-5)

    card = (repository / "README.md").read_text(encoding="utf-8")
    assert yaml.safe_load(card.split("---")[1])["license"] == "mit"
    ours, of_transformers = code_of(card)
    exec(ours, {})
    exec(of_transformers, {})
    assert len(capsys.readouterr().out) > 10


def test_out_has_what_is_pushed_and_nothing_else_of_it_is_pushed(
    run: Path, hub_server: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert export("--model", run, "--out", out) == 0
    assert {path.name for path in out.iterdir()} == PUSHED
    (out / "secret.txt").touch()

    capsys.readouterr()
    both = ("--model", run, "--out", out, "--push-to-hub", "someone/tiny", "--force")
    assert export(*both) == 0
    assert capsys.readouterr().out == f"{out}\n{hub_server.url}/someone/tiny\n"
    repository = hub_server.folder / "someone/tiny"
    assert {path.name for path in repository.iterdir()} == PUSHED | {".gitattributes"}
    for name in PUSHED:
        assert (repository / name).read_bytes() == (out / name).read_bytes(), name


def test_a_push_leaves_no_file_here(
    run: Path, hub_server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "temporary").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    assert export("--model", run, "--push-to-hub", "someone/tiny") == 0
    assert export("--model", run, "--push-to-hub", "else/tiny") == 1
    assert [*(tmp_path / "here").iterdir(), *(tmp_path / "temporary").iterdir()] == []


def test_a_repository_is_replaced_with_force_alone_and_keeps_no_other_tokenizer(
    run: Path, hub_server: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    repository = hub_server.folder / "someone/tiny"
    repository.mkdir(parents=True)
    for name in ("tokenizer.json", "pytorch_model.bin", "notes.md"):
        (repository / name).touch()
    command = ("--model", run, "--push-to-hub", "someone/tiny")
    assert export(*command) == 1
    assert "someone/tiny is there already; choose another name, or replace it with --force" in (
        capsys.readouterr().err
    )
    assert export(*command, "--force") == 0
    assert {path.name for path in repository.iterdir()} == PUSHED | {"notes.md"}


def test_a_quantized_model_says_that_its_figures_are_of_another_form(
    run: Path, hub_server: Hub
) -> None:
    command = ("--model", run, "--format", "int8", "--push-to-hub", "someone/small", "--private")
    assert export(*command) == 0
    assert hub_server.private == {"someone/small"}
    assert GPT2.from_pretrained("someone/small").quantization == "int8"
    card = (hub_server.folder / "someone/small/README.md").read_text(encoding="utf-8")
    assert len([*code_of(card)]) == 1
    assert "library_name: gpt2-from-scratch" in card
    assert "before they were rounded to int8" in card


def test_a_checkpoint_has_the_card_of_its_step(run: Path, tmp_path: Path) -> None:
    checkpoint = run / "checkpoints/step_00000002"
    assert export("--model", checkpoint, "--out", tmp_path / "early") == 0
    card = (tmp_path / "early/README.md").read_text(encoding="utf-8")
    assert "| steps | 2 of 4 |" in card
    assert "| tokens read | 128 |" in card


def test_a_model_of_unknown_training_has_a_card_where_it_is_pushed(
    stored: Path, hub_server: Hub, tmp_path: Path
) -> None:
    assert export("--model", stored, "--out", tmp_path / "copy") == 0
    assert not (tmp_path / "copy/README.md").exists()
    assert export("--model", stored, "--push-to-hub", "someone/stored") == 0
    card = (hub_server.folder / "someone/stored/README.md").read_text(encoding="utf-8")
    assert "## The model" in card
    assert not re.search("Data|Training|Evaluations|Settings", card)


def test_a_card_that_was_edited_is_the_one_that_is_pushed_unless_the_weights_change(
    stored: Path, hub_server: Hub
) -> None:
    (stored / "README.md").write_text("edited", encoding="utf-8")
    (stored / "loss.png").write_bytes(b"a picture")
    assert export("--model", stored, "--push-to-hub", "someone/edited") == 0
    pushed = hub_server.folder / "someone/edited"
    assert (pushed / "README.md").read_text(encoding="utf-8") == "edited"
    assert (pushed / "loss.png").read_bytes() == b"a picture"
    half = ("--model", stored, "--push-to-hub", "someone/half", "--dtype", "bfloat16")
    assert export(*half) == 0
    card = (hub_server.folder / "someone/half/README.md").read_text(encoding="utf-8")
    assert "stored as bfloat16" in card


def test_a_card_that_is_kept_opens_the_repository_that_it_is_pushed_to(
    run: Path, hub_server: Hub, tmp_path: Path
) -> None:
    out = tmp_path / "published"
    assert export("--model", run, "--out", out, "--license", "mit") == 0
    assert 'from_pretrained("published")' in (out / "README.md").read_text(encoding="utf-8")
    assert export("--model", out, "--push-to-hub", "someone/tiny") == 0
    card = (hub_server.folder / "someone/tiny/README.md").read_text(encoding="utf-8")
    assert card.count('from_pretrained("someone/tiny")') == 3
    assert "published" not in "".join(code_of(card))
    assert "license: mit" in card


def test_a_model_that_replaces_another_does_not_keep_its_card(
    run: Path, stored: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert export("--model", run, "--out", out) == 0
    assert export("--model", stored, "--out", out) == 1
    assert "## Training" in (out / "README.md").read_text(encoding="utf-8")
    assert export("--model", stored, "--out", out, "--force") == 0
    card = (out / "README.md").read_text(encoding="utf-8")
    assert "## The model" in card
    assert "## Training" not in card


def test_a_model_made_from_one_on_the_hub_names_it(hub_server: Hub, model: GPT2) -> None:
    model.save_pretrained(hub_server.folder / "openai-community/gpt2")
    command = ("--model", "gpt2", "--format", "int4", "--push-to-hub", "someone/int4")
    assert export(*command) == 0
    card = (hub_server.folder / "someone/int4/README.md").read_text(encoding="utf-8")
    metadata = yaml.safe_load(card.split("---")[1])
    assert metadata["base_model"] == "openai-community/gpt2"
    assert metadata["base_model_relation"] == "quantized"


def test_a_run_whose_files_are_bad_is_exported_without_a_card(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(run, tmp_path / "run")
    metrics = tmp_path / "run/metrics.jsonl"
    metrics.write_text("damaged\n" + metrics.read_text(encoding="utf-8"), encoding="utf-8")
    assert export("--model", tmp_path / "run", "--out", tmp_path / "out") == 0
    assert "the card says nothing of the training: " in capsys.readouterr().err
    assert (tmp_path / "out/model.safetensors").exists()
    assert not (tmp_path / "out/README.md").exists()


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ([], "the options --out or --push-to-hub are required"),
        (["--out", "out", "--private"], "--private is of --push-to-hub"),
        (
            ["--push-to-hub", "someone/tiny", "--format", "gguf", "--out", "out.gguf"],
            "push a GGUF file with: hf upload OWNER/NAME FILE",
        ),
    ],
)
def test_flags_that_do_not_go_together_are_refused(
    flags: list[str], told: str, stored: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export("--model", stored, *flags) == 2
    assert told in capsys.readouterr().err


def test_the_commands_of_the_documentation_work(
    run: Path, hub_server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(run, "runs/demo")
    lines = re.findall(r"^gpt2 export .*$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(lines) == 4
    for line in lines:
        assert main(shlex.split(line)[1:]) == 0, line
    first = {path.name: path.read_bytes() for path in Path("runs/published").iterdir()}
    first["README.md"] = first["README.md"].replace(b'("published")', b'("someone/demo")')
    pushed = hub_server.folder / "someone/demo"
    assert {
        path.name: path.read_bytes() for path in pushed.iterdir() if path.name in first
    } == first


def test_what_is_wrong_with_the_name_or_the_directory_is_told_before_the_hub_is_asked(
    run: Path, hub_server: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/file").touch()
    command = ("--model", run, "--push-to-hub", "someone/tiny", "--out", tmp_path / "out")
    assert export(*command) == 1
    assert "out is there already" in capsys.readouterr().err
    assert export("--model", run, "--push-to-hub", "tiny") == 1
    assert "the name on the hub must be owner/name" in capsys.readouterr().err
    assert hub_server.tokens == []


def test_a_push_that_fails_leaves_the_directory(
    run: Path, hub_server: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub_server.card_faults = ['"license" must be one of [mit]']
    command = ("--model", run, "--push-to-hub", "someone/tiny", "--license", "mine")
    assert export(*command, "--out", tmp_path / "out") == 1
    said = capsys.readouterr()
    assert said.out == f"{tmp_path / 'out'}\n"
    assert (
        'error: cannot push to someone/tiny: Invalid metadata in README.md. - "license"' in said.err
    )
    assert {path.name for path in (tmp_path / "out").iterdir()} == PUSHED
