"""The gallery page as a file: what it holds, and what it refuses."""

import json
import re
import shlex
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import torch

from gpt2.cli.main import main
from gpt2.config import GPT2Config
from gpt2.errors import InputError, NotFiniteError
from gpt2.files.pretrained import GPT2
from gpt2.model.quantized import quantize_network
from gpt2.visual.gallery.one_file import one_file
from gpt2.visual.gallery.page import EXAMPLES, example_texts, write_gallery
from gpt2.visual.gallery.pictures import drawings, picture_entry
from gpt2.visual.gallery.run import TrainingRun
from gpt2.visual.moments import observe
from gpt2.visual.pictures import positions
from gpt2.visual.pictures.positions import position_curves
from llm_tokenizer import Tokenizer

TEXT = "Permission is granted"


def data_of(path: Path, name: str = "page") -> Any:
    html = path.read_text(encoding="utf-8")
    found = re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', html)
    assert found
    return json.loads(found[1])


def test_the_command_of_each_picture_makes_that_picture(
    model: GPT2, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model.save_pretrained(tmp_path)
    for drawing in drawings(model, str(tmp_path), TEXT):
        command = shlex.split(shlex.join(["plot", *drawing.flags]))
        assert main([*command, "--json"]) == 0
        printed = json.loads(capsys.readouterr().out)
        assert printed == json.loads(json.dumps(drawing.measure().to_json())), drawing.name


def test_a_text_that_begins_with_dashes_is_no_flag_of_the_command(
    model: GPT2, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model.save_pretrained(tmp_path)
    of_tokens = next(d for d in drawings(model, str(tmp_path), "--x") if d.name == "tokens")
    assert main(["plot", *of_tokens.flags, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ids"] == model.require_tokenizer().encode("--x")


def test_a_picture_quotes_the_lines_that_compute_it(model: GPT2) -> None:
    entry = picture_entry(next(drawings(model, "runs/my model", TEXT)))

    source = Path(positions.__file__).read_text(encoding="utf-8").splitlines()
    (quoted,) = entry["code"]
    file, line = quoted["where"].split(":")
    lines = quoted["source"].splitlines()
    assert file == "src/gpt2/visual/pictures/positions.py"
    assert lines == source[int(line) - 1 : int(line) - 1 + len(lines)]
    assert lines[0] == f"def {position_curves.__name__}("
    assert entry["command"] == "gpt2 plot positions --model 'runs/my model'"


def test_every_picture_says_what_it_is(model: GPT2) -> None:
    entries = [picture_entry(drawing) for drawing in drawings(model, "gpt2", TEXT)]
    assert len({entry["name"] for entry in entries}) == len(entries)
    for entry in entries:
        for part in ("title", "seen", "look_for", "description", "code"):
            assert entry[part], (entry["name"], part)
        assert 1 <= len(entry["table"]["rows"]) <= 400
        assert all(entry["table"]["columns"])  # a header that is empty says nothing when spoken
        assert {len(row) for row in entry["table"]["rows"]} == {len(entry["table"]["columns"])}


def test_the_examples_are_cut_to_the_context_of_the_model(model: GPT2, tmp_path: Path) -> None:
    tokenizer = model.require_tokenizer()
    whole = [tokenizer.encode(text) for text in EXAMPLES]
    assert max(map(len, whole)) > 24
    assert [tokenizer.encode(text) for text in example_texts(model)] == [ids[:24] for ids in whole]
    write_gallery(model, tmp_path / "new" / "a.html", name="a")
    assert data_of(tmp_path / "new" / "a.html")["texts"] == example_texts(model)


def test_the_first_example_is_the_text_of_the_moments_of_the_run(model: GPT2) -> None:
    ids = model.require_tokenizer().encode(TEXT)
    run = TrainingRun("a", [observe(model, ids, step=1, tokens=1)], [])
    assert example_texts(model, run) == [TEXT, example_texts(model)[0]]
    assert example_texts(model, TrainingRun("a", [], [])) == example_texts(model)


def test_the_vocabulary_has_a_text_for_each_id_that_has_one(
    gapped_model: GPT2, tmp_path: Path
) -> None:
    write_gallery(gapped_model, tmp_path / "a.html", name="a", texts=["a"])
    vocabulary = data_of(tmp_path / "a.html")["vocabulary"]
    tokenizer = gapped_model.require_tokenizer()
    missing = {i for i, text in enumerate(vocabulary) if text is None}
    assert len(vocabulary) == 420
    assert missing == {*range(270, 310), *range(340, 420)}
    assert vocabulary[tokenizer.encode("a")[0]] == "a"


def test_a_quantized_model_and_one_of_one_token_have_pages(
    tokenizer: Tokenizer, tmp_path: Path
) -> None:
    for name, sizes in (("quantized", {"n_embd": 64}), ("short", {"n_positions": 1})):
        small = {"n_positions": 24, "n_embd": 8, "n_layer": 1, "n_head": 1}
        model = GPT2(GPT2Config(vocab_size=300, **{**small, **sizes}), tokenizer=tokenizer)
        if name == "quantized":
            quantize_network(model, 8)
        write_gallery(model.eval(), tmp_path / name, name=name, texts=["a"])
        assert data_of(tmp_path / name)["model"]["name"] == name


@pytest.mark.parametrize("text", ["", "a " * 30])
def test_a_text_that_does_not_fit_is_refused_before_there_is_any_work(
    model: GPT2, tmp_path: Path, text: str
) -> None:
    with pytest.raises(InputError, match="the text must have 1 to 24 tokens"):
        write_gallery(model, tmp_path / "a.html", name="a", texts=["a", text])
    assert not list(tmp_path.iterdir())


def test_weights_that_are_not_finite_are_refused(model: GPT2, tmp_path: Path) -> None:
    with torch.no_grad():
        model.wpe.weight[0, 0] = torch.nan
    with pytest.raises(NotFiniteError, match="weights of runs/a are not finite"):
        write_gallery(model, tmp_path / "a.html", name="runs/a")


def test_what_the_data_hold_stays_inside_the_data() -> None:
    evil = "</script><!-- {{style}} <script>\u2028"
    html = one_file("gallery.js", evil, {"page": {"text": evil}, "text-0": evil})
    assert evil not in html
    assert html.count("</script>") == 4  # the modules, two data, and the start
    assert "<title>&lt;/script&gt;" in html


def test_the_page_names_no_address_of_any_network() -> None:
    assert "default-src 'none'" in one_file("gallery.js", "a", {})
    web = Path(str(files("gpt2") / "web"))
    sources = [path.read_text(encoding="utf-8") for path in web.rglob("*.*")]
    addresses = {found for source in sources for found in re.findall(r"https?://[^\s\"']+", source)}
    assert addresses == {"http://www.w3.org/2000/svg"}  # the name of a kind of element
