"""README.md of a published model: what it is, how to use it, and what a run's files hold about it.

Nothing is measured for it, and what the files do not hold is left out.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml  # type: ignore[import-untyped]

from gpt2.data.manifest import Manifest
from gpt2.files.names import hub_name
from gpt2.files.pretrained import GPT2
from gpt2.train.card_facts import CardFacts
from gpt2.train.card_sections import (
    cell,
    data_section,
    evaluations_section,
    is_path,
    settings_section,
    table,
    training_section,
)
from llm_tokenizer import Tokenizer, well_formed

CARD_FILE, PICTURE_FILE = "README.md", "loss.png"
PROJECT = "https://github.com/gpt2-from-scratch/gpt2-from-scratch"
LIBRARY = "gpt2-from-scratch"
SIGNATURE = "This card was written by `gpt2 export`"


@dataclass(frozen=True, kw_only=True)
class Card:
    """What is written about a model.

    Args:
        name: What it is opened by, such as owner/name.
        model: The model as it is published.
        facts: Of its training; None: unknown.
        base: The name on the hub of the model that it was made from, if any.
        license: The hub's identifier of a license, if its author has chosen one.
    """

    name: str
    model: GPT2
    facts: CardFacts | None = None
    base: str | None = None
    license: str | None = None

    def files(self) -> dict[str, bytes]:
        """Return the card, and the picture in it if there is one, by their names."""
        picture = self.facts.picture() if self.facts else None
        text = well_formed(self._text(has_picture=picture is not None))
        return {CARD_FILE: text.encode()} | ({PICTURE_FILE: picture} if picture else {})

    def _text(self, *, has_picture: bool) -> str:
        metadata = yaml.safe_dump(self._metadata(), sort_keys=False)
        parts = [f"---\n{metadata}---", f"# {cell(self.name.rpartition('/')[2])}", self._about()]
        parts += ["## How to use it", self._usage(), "## The model", self._shape()]
        if self.facts:
            parts += [*data_section(self.facts), "## Training", training_section(self.facts)]
            if has_picture and self.facts.curves:
                parts += [f"![Loss curves]({PICTURE_FILE})", self.facts.curves.seen]
            parts += evaluations_section(self.facts)
        parts += ["## Limits", "\n".join(f"- {limit}" for limit in self._limits())]
        parts += ["## License", self._license()]
        if self.facts:
            parts += ["## Settings", f"```toml\n{settings_section(self.facts)}```"]
        return "\n\n".join(parts) + "\n"

    def _metadata(self) -> dict[str, Any]:
        """Return the entries by which the hub lists a model, and offers code to open it."""
        base = self._base()
        found = {
            "license": self.license,
            "library_name": LIBRARY if self.model.quantization else "transformers",
            "pipeline_tag": "text-generation",
            "tags": ["gpt2", LIBRARY] if not self.model.quantization else [LIBRARY],
            "datasets": sorted({m.source for m in self._manifests() if m.revision}),
            "base_model": base,
            "base_model_relation": base and self._relation(),
        }
        return {key: value for key, value in found.items() if value}

    def _manifests(self) -> Sequence[Manifest]:
        return self.facts.manifests if self.facts else ()

    def _base(self) -> str | None:
        """Return the name on the hub of the model that this one began with or was made from."""
        source = self.facts.config.training.init_from if self.facts else None
        begun = hub_name(source) if source and not is_path(source) else None
        return begun or self.base

    def _relation(self) -> str | None:
        if self.facts:
            return "finetune"
        return "quantized" if self.model.quantization else None

    def _about(self) -> str:
        count = f"{self.model.num_parameters():,}"
        writer = f"[{LIBRARY}]({PROJECT})"
        if self.facts is None:
            return f"A GPT-2 of {count} parameters. {SIGNATURE} of {writer}."
        source = self.facts.config.training.init_from
        if source is None:
            begun = "random weights"
        else:
            begun = f"`{source}`" if not is_path(source) else "the weights of another model"
        return (
            f"A GPT-2 of {count} parameters, trained from {begun} for {self.facts.state.step:,} "
            f"steps. {SIGNATURE} of {writer} from the files of the run; what they do not "
            "hold is left out."
        )

    def _usage(self) -> str:
        if self.model.tokenizer is None:
            return "No tokenizer belongs to it: token ids go in and out."
        opened = opened_as(self.name)
        own = OWN_USAGE.format(project=PROJECT, library=LIBRARY, opened=opened)
        return own if self.model.quantization else f"{own}\n\n{THEIR_USAGE.format(opened=opened)}"

    def _shape(self) -> str:
        config, tokenizer = self.model.config, self.model.tokenizer
        weights = self.model.quantization or str(self.model.wpe.weight.dtype).rpartition(".")[2]
        rows = {
            "parameters": f"{self.model.num_parameters():,}, stored as {weights}",
            "layers, heads, channels": f"{config.n_layer}, {config.n_head}, {config.n_embd}",
            "context": f"{config.n_positions:,} tokens",
            "vocabulary": f"{config.vocab_size:,} ids{_vocabulary(tokenizer)}",
        }
        return table(rows)

    def _limits(self) -> list[str]:
        config = self.model.config
        limits = [f"It reads at most {config.n_positions:,} tokens at once."]
        if self.model.quantization:
            limits.append(
                f"Its weights are rounded to {self.model.quantization}, in a form that "
                f"{LIBRARY} opens and transformers does not."
            )
        if self.facts is None:
            return limits
        if changed := self.model.quantization or _other_dtype(self.model):
            limits.append(
                "What this card says was measured with the weights of the run, before they were "
                f"rounded to {changed}."
            )
        if self.facts.config.training.init_from is None:
            limits.append(
                "It was trained to predict the next token of its data, and nothing else: it "
                "continues texts."
            )
        limits.append(
            "Whether its texts are true, biased or harmful is not known from the files of the run, "
            "beyond the evaluations that this card shows."
        )
        return limits

    def _license(self) -> str:
        data = "The files of the run do not record the licenses of its texts."
        chosen = f"`{self.license}`, of the weights." if self.license else "None is stated."
        return f"{chosen} {data}" if self.facts else chosen


OWN_USAGE = """With [{library}]({project}):

```python
from gpt2 import GPT2, GenerationConfig, generate

model = GPT2.{opened}
print(generate(model, ["The"], GenerationConfig(max_new_tokens=20, top_k=50))[0].text)
```"""
THEIR_USAGE = """With transformers:

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.{opened}
model = AutoModelForCausalLM.{opened}
inputs = tokenizer("The", return_tensors="pt")
tokens = model.generate(**inputs, max_new_tokens=20, do_sample=True, top_k=50)
print(tokenizer.decode(tokens[0]))
```"""


def opened_as(name: str) -> str:
    """Return the end of the code by which a card opens the model of that name."""
    return well_formed(f"from_pretrained({json.dumps(name, ensure_ascii=False)})")


def _vocabulary(tokenizer: Tokenizer | None) -> str:
    if tokenizer is None:
        return ""
    known = Tokenizer.gpt2()
    own = tokenizer.n_vocab == known.n_vocab and tokenizer.fingerprint == known.fingerprint
    return ", GPT-2's own byte-level BPE" if own else f", byte-level BPE of {tokenizer.n_vocab:,}"


def _other_dtype(model: GPT2) -> str | None:
    dtype = str(model.wpe.weight.dtype).removeprefix("torch.")
    return None if dtype == "float32" else dtype
