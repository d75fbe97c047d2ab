"""What the card of a model says, and what it leaves out."""

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from gpt2.cli.eval import EVALUATIONS
from gpt2.config import DataConfig, RunConfig
from gpt2.data.manifest import InputFile, Manifest, read_manifest
from gpt2.evaluate.meanings import MEANINGS
from gpt2.files.pretrained import GPT2
from gpt2.files.training_state import SavedState
from gpt2.model.quantized import quantize_network
from gpt2.train.card_facts import CardFacts
from gpt2.train.model_card import Card


@pytest.fixture
def facts(config: RunConfig) -> CardFacts:
    """A run of which the least is known."""
    config = replace(config, data=DataConfig(directory="/home/someone/secret/texts"))
    state = SavedState(
        step=4,
        tokens=1000,
        training_seconds=8.0,
        evaluation_seconds=7200.0,
        settings=config.to_sections(),
        optimizer_kinds=["AdamW"],
        versions={"torch": "9.9", "python": "3.99"},
    )
    return CardFacts(
        state=state,
        config=config,
        rows=[],
        evaluations=[],
        manifests=[],
        hardware=None,
        curves=None,
    )


@pytest.fixture
def manifest(shards: Path) -> Manifest:
    return read_manifest(shards)


def text(model: GPT2, **about: Any) -> str:
    files = Card(**{"name": "someone/tiny", "model": model} | about).files()
    return files["README.md"].decode()


def metadata(card: str) -> dict[str, Any]:
    found = yaml.safe_load(card.split("---")[1])
    assert isinstance(found, dict)
    return found


def test_what_is_known_of_a_run_is_in_the_card(
    model: GPT2, facts: CardFacts, manifest: Manifest
) -> None:
    rows = [
        {"step": 3, "loss": 3.0, "mfu": 0.25},
        {"step": 3, "changed": {"optimizer.learning_rate": ["0.1", "0.2"]}},
        {"step": 4, "loss": None, "mfu": None, "skipped": True},
        {"step": 4, "val_loss": 2.0, "val_tokens": 48},
    ]
    known = replace(facts, rows=rows, hardware="a machine, float32", manifests=[manifest])
    card = text(model, facts=known)
    for line in (
        "trained from random weights for 4 steps",
        "| steps | 4 of 6 |",
        "| steps skipped, not finite | 1 |",
        "| settings changed on the way | optimizer.learning_rate was 0.1, is 0.2 (after step 3) |",
        "| tokens read | 1,000 |",
        "| time in training steps | 8 s |",
        "| time in evaluations | 7,200 s, 2.0 hours |",
        "| speed | 125 tokens/s; MFU, median: 0.25 of the peak, published for a GPU, measured for "
        "a CPU |",
        "| hardware at the end of the run | a machine, float32 |",
        "| versions | torch 9.9, python 3.99 |",
        "| held-out loss | 2.0000 nats/token, a perplexity of 7.389: of the first 48 held-out "
        "tokens, in rows of 16 that do not see each other; both depend on the tokenizer |",
        "| context | 24 tokens |",
        "| vocabulary | 300 ids, byte-level BPE of 300 |",
        "None is stated.",
    ):
        assert line in card


def test_what_is_not_known_is_left_out(model: GPT2, facts: CardFacts) -> None:
    card = text(model, facts=facts)
    for word in ("## Data", "## Evaluations", "hardware", "held-out", "MFU", "loss.png", "None |"):
        assert word not in card
    assert {"license", "datasets", "base_model"}.isdisjoint(metadata(card))


def test_the_data_are_counted_and_no_names_of_files_are_told(
    model: GPT2, facts: CardFacts, manifest: Manifest
) -> None:
    files = (
        InputFile(name="/home/someone/a.txt", bytes=1000, checksum="1"),
        InputFile(name="/home/someone/b.txt", bytes=234, checksum="2"),
    )
    own = replace(manifest, source="/home/someone", inputs=files)
    card = text(model, facts=replace(facts, manifests=[own]))
    tokens = sum(shard.tokens for shard in manifest.of("train"))
    documents = sum(shard.documents for shard in manifest.of("val"))
    assert "Local: 2 files of 1,234 bytes." in card
    assert f"| {tokens:,} |" in card
    assert f"| held out | {documents:,} |" in card
    assert f"The run read its training tokens {1000 / tokens:.2f} times." in card
    assert "/home" not in card


def test_data_from_the_hub_are_linked_at_their_commit(
    model: GPT2, facts: CardFacts, manifest: Manifest
) -> None:
    files = (InputFile(name="sample/10BT/000.parquet", bytes=7, checksum="1"),)
    hub = replace(manifest, source="owner/texts", revision="0123456789abcdef", inputs=files)
    card = text(model, facts=replace(facts, manifests=[hub]))
    link = "[owner/texts](https://huggingface.co/datasets/owner/texts)"
    assert f"{link} at commit `0123456789ab`: 1 file of 7 bytes in `sample/10BT`." in card
    assert metadata(card)["datasets"] == ["owner/texts"]


def test_settings_are_those_of_the_checkpoint_without_local_folders(
    model: GPT2, facts: CardFacts
) -> None:
    card = text(model, facts=facts)
    settings = tomllib.loads(card.partition("```toml\n")[2].partition("```")[0])
    assert settings["data"]["directory"] == "texts"
    settings["data"]["directory"] = "/home/someone/secret/texts"
    assert RunConfig.from_sections(settings, "the card") == facts.config
    assert "/home" not in card


def test_an_evaluation_has_its_convention_its_counts_and_its_references(
    model: GPT2, facts: CardFacts
) -> None:
    row = {
        "evaluation": "multiple-choice",
        "step": 4,
        "data": [["/home/someone/rows|1.jsonl", "0123456789"]],
        "rows": 1400,
        "acc": 0.25,
        "acc_norm": None,
        "standard_errors": {"acc": 0.125, "acc_norm": None},
        "references": {"acc": {"GPT-2 124M": 0.2892}},
        "notes": ["0-shot"],
        "seconds": 1.5,
    }
    card = text(model, facts=replace(facts, evaluations=[row]))
    assert "### multiple-choice: rows\\|1.jsonl (sha256 01234567)\n" in card
    assert MEANINGS["multiple-choice"] in card
    assert "- rows 1,400\n- 0-shot\n" in card
    assert "| acc | 0.25 ± 0.125 | GPT-2 124M 0.2892 |" in card
    assert "compare only figures of the same data" in card
    assert "| acc_norm | not finite |  |" in card


def test_names_with_signs_of_markdown_are_shown_as_they_are(model: GPT2, facts: CardFacts) -> None:
    row = {
        "evaluation": "harness",
        "step": 4,
        "data": [["/x/a`b`<img src=x>.txt", "0123456789"]],
        "a*b*[c](d)": 1.0,
        "standard_errors": {"a*b*[c](d)": None},
        "notes": [r"a\b", "two\n# lines"],
    }
    card = text(model, name="new\n# line", facts=replace(facts, evaluations=[row]))
    assert "\n# new # line\n" in card
    assert r"### harness: a\`b\`\<img src=x>.txt (sha256 01234567)" in card
    assert r"| a\*b\*\[c](d) | 1 |" in card
    assert "- a\\\\b\n- two # lines\n" in card


def test_a_model_that_has_diverged_is_published_as_such(model: GPT2, facts: CardFacts) -> None:
    rows = [{"step": 2, "val_loss": 3.0}, {"step": 4, "val_loss": None}]
    card = text(model, facts=replace(facts, rows=rows))
    assert "| held-out loss | not finite: the weights have diverged |" in card


def test_hellaswag_of_the_training_has_its_convention(model: GPT2, facts: CardFacts) -> None:
    row = {"step": 4, "val_loss": 3.0, "hellaswag_acc": 0.25, "hellaswag_acc_norm": 0.3}
    card = text(model, facts=replace(facts, rows=[row]))
    assert "Of all rows, as build-nanogpt and llm.c measure it" in card
    assert "| acc | 0.25 |\n| acc_norm | 0.3 |" in card


def test_every_evaluation_has_a_meaning() -> None:
    assert MEANINGS.keys() == EVALUATIONS.keys() - {"run"}


@pytest.mark.parametrize(
    ("source", "base", "told"),
    [
        ("gpt2", "openai-community/gpt2", "trained from `gpt2` for 4 steps"),
        ("owner/model", "owner/model", "trained from `owner/model` for 4 steps"),
        ("/home/someone/model", None, "trained from the weights of another model for 4 steps"),
    ],
)
def test_a_model_that_began_with_anothers_weights_names_it_if_it_is_public(
    source: str, base: str | None, told: str, model: GPT2, facts: CardFacts
) -> None:
    training = replace(facts.config.training, init_from=source)
    card = text(model, facts=replace(facts, config=replace(facts.config, training=training)))
    assert metadata(card).get("base_model") == base
    assert metadata(card).get("base_model_relation") == ("finetune" if base else None)
    assert told in card
    assert "nothing else" not in card  # of what it was trained for, before that
    assert "/home" not in card


def test_a_license_is_in_the_metadata_and_in_the_text(model: GPT2) -> None:
    card = text(model, license="apache-2.0")
    assert metadata(card)["license"] == "apache-2.0"
    assert "`apache-2.0`, of the weights." in card


def test_rounded_weights_are_told_beside_what_was_measured(model: GPT2, facts: CardFacts) -> None:
    measured = "measured with the weights of the run, before they were rounded to"
    assert measured not in text(model, facts=facts)
    assert f"{measured} bfloat16." in text(model.to(torch.bfloat16), facts=facts)
    model.to(torch.float32)
    quantize_network(model, 8)
    card = text(model, facts=facts)
    assert f"{measured} int8." in card
    assert "transformers import" not in card
    assert metadata(card)["library_name"] == "gpt2-from-scratch"


def test_a_model_without_a_tokenizer_has_no_code_for_texts(model: GPT2) -> None:
    model.tokenizer = None
    card = text(model)
    assert "No tokenizer belongs to it" in card
    assert "```python" not in card
