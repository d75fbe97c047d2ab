"""The prompts of CORE: which text they have, what is scored, and what fits into the context."""

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import Template

from gpt2.evaluate.core_bundle import Example, Kind, Task, example_of
from gpt2.evaluate.core_prompts import Prompt, common_prefix, parts_of, prompts_of, shots_of
from llm_tokenizer import Tokenizer

TEXTS = st.text(st.sampled_from(" \n\tab.{%}é日'\r"), max_size=8)


def a_task(kind: Kind, *examples: Example, shots: int = 0) -> Task:
    return Task(
        label="a", kind=kind, shots=shots, baseline=0.0, data="a.jsonl", examples=[*examples]
    )


def scored_texts(task: Task, tokenizer: Tokenizer, index: int = 0) -> list[tuple[str, str]]:
    """Return of each option the text that is given and the text that is scored."""
    texts = []
    for prompt in prompts_of(task, index, tokenizer):
        assert prompt.ids[0] == tokenizer.eot_token
        end = len(prompt.ids) - prompt.scored
        texts.append(
            (tokenizer.decode(prompt.ids[1:end].tolist()), tokenizer.decode(prompt.ids[end:]))
        )
    return texts


def test_of_choices_is_scored_what_follows_their_shared_tokens(tokenizer: Tokenizer) -> None:
    task = a_task("multiple_choice", Example(["Is it? it is", "Is it? it can be"], 0))
    assert scored_texts(task, tokenizer) == [("Is it? it ", "is"), ("Is it? it ", "can be")]


def test_of_a_schema_is_scored_the_end_that_all_share(tokenizer: Tokenizer) -> None:
    task = a_task("schema", Example(["the cat was big", "the dog was big"], 0))
    assert scored_texts(task, tokenizer) == [("the cat", " was big"), ("the dog", " was big")]


def test_of_a_text_is_scored_what_follows_the_prompt_without_it(tokenizer: Tokenizer) -> None:
    task = a_task("language_modeling", Example(["once more"], 0, "once "))
    assert scored_texts(task, tokenizer) == [("once", " more")]


def test_solved_examples_come_first(tokenizer: Tokenizer) -> None:
    rows = [Example([f"{k}? no", f"{k}? yes"], k % 2) for k in range(3)]
    task = a_task("multiple_choice", *rows, shots=5)  # more than there are
    order = random.Random(1234).sample([1, 2], 2)
    solved = "".join(f"{k}? {['no', 'yes'][k % 2]}\n\n" for k in order)
    assert scored_texts(task, tokenizer) == [(solved + "0? ", "no"), (solved + "0? ", "yes")]


@given(st.integers(1, 30), st.integers(0, 12), st.data())
def test_solved_examples_are_those_of_nanochat(count: int, shots: int, data: st.DataObject) -> None:
    rows = [Example([str(k)], 0) for k in range(count)]
    index = data.draw(st.integers(0, count - 1))
    others = [k for k in range(count) if k != index]
    expected = random.Random(1234 + index).sample(others, min(shots, len(others)))
    found = shots_of(a_task("schema", *rows, shots=shots), index)
    assert [int(shot.options[0]) for shot in found] == expected


def test_a_prompt_that_the_answer_changes_is_scored_from_there(tokenizer: Tokenizer) -> None:
    # "THE" is one token: the prompt without the answer, TH, is not the beginning of the whole.
    task = a_task("language_modeling", Example(["a THE b"], 0, "a TH"))
    assert scored_texts(task, tokenizer) == [("a", " THE b")]


# As jinja renders them, and rows of that kind. Options: those of the row.
FORMS: dict[Kind, tuple[str, Any]] = {
    "multiple_choice": (
        "{% for s in shots %}{{ s.query }}{{ d }}{{ s.choices[s.gold] }}\n\n{% endfor %}"
        "{{ row.query }}{{ d }}{{ option }}",
        st.fixed_dictionaries({"query": TEXTS, "choices": st.tuples(TEXTS, TEXTS)}),
    ),
    "schema": (
        "{% for s in shots %}{{ s.context_options[s.gold] }}{{ d }}{{ s.continuation }}\n\n"
        "{% endfor %}{{ option }}{{ d }}{{ row.continuation }}",
        st.fixed_dictionaries({"context_options": st.tuples(TEXTS, TEXTS), "continuation": TEXTS}),
    ),
    "language_modeling": (
        "{% for s in shots %}{{ s.context|trim }}{{ d }}{{ s.continuation }}\n\n{% endfor %}"
        "{{ row.context|trim }}{{ d }}{{ option }}",
        st.fixed_dictionaries({"context": TEXTS, "continuation": TEXTS}),
    ),
}


@pytest.mark.parametrize("kind", FORMS)
@settings(max_examples=50)
@given(st.data(), st.sampled_from([" ", "", "\n", "\nAnswer: ", "%}"]), st.integers(0, 2))
def test_prompts_are_those_that_nanochat_renders_with_jinja(
    tokenizer: Tokenizer, kind: Kind, data: st.DataObject, delimiter: str, shots: int
) -> None:
    source, forms = FORMS[kind]
    rows = [
        row | {"gold": k % 2} for k, row in enumerate(data.draw(st.tuples(forms, forms, forms)))
    ]
    examples = [example_of(kind, delimiter, "", to_lists(row)) for row in rows]
    task = a_task(kind, *examples, shots=shots)
    solved = [rows[examples.index(shot)] for shot in shots_of(task, 0)]
    key = {"multiple_choice": "choices", "schema": "context_options"}.get(kind)
    options = rows[0][key] if key else [rows[0]["continuation"]]
    expected = [
        Template(source).render(row=rows[0], option=option, d=delimiter, shots=solved)
        for option in options
    ]
    prompts = prompts_of(task, 0, tokenizer)
    assert [tokenizer.decode(prompt.ids[1:].tolist()) for prompt in prompts] == expected


def to_lists(row: dict[str, Any]) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in row.items()}


def a_prompt(ids: list[int], scored: int) -> Prompt:
    return Prompt(np.array(ids, np.uint16), scored)


def shape(*prompts: Prompt, longest: int = 8) -> list[Any]:
    """Return of each part its context, continuations, options and how many tokens are scored."""
    return [
        (
            part.question.context.tolist(),
            [each.tolist() for each in part.question.continuations],
            part.options,
            part.scored,
        )
        for part in parts_of(prompts, longest)
    ]


def test_what_choices_share_is_read_once() -> None:
    prompts = [a_prompt([9, 1, 2, 3], 2), a_prompt([9, 1, 4], 1)]
    assert shape(*prompts) == [([9, 1], [[2, 3], [4]], [0, 1], [2, 1])]


def test_options_of_a_schema_share_what_comes_before_they_differ() -> None:
    prompts = [a_prompt([9, 1, 2, 5], 1), a_prompt([9, 1, 3, 3, 5], 1)]
    assert shape(*prompts) == [([9, 1], [[2, 5], [3, 3, 5]], [0, 1], [1, 1])]


def test_a_scored_token_is_never_in_the_context() -> None:
    prompts = [a_prompt([9, 1, 1, 5], 2), a_prompt([9, 1, 1, 1, 5], 2)]
    assert shape(*prompts) == [([9, 1], [[1, 5], [1, 1, 5]], [0, 1], [2, 2])]


def test_a_prompt_that_equals_an_earlier_one_or_has_nothing_scored_is_left_out() -> None:
    prompts = [a_prompt([9, 1], 0), a_prompt([9, 1, 2], 1), a_prompt([9, 1, 2], 1)]
    assert shape(*prompts) == [([9, 1], [[2]], [1], [1])]
    assert shape(a_prompt([9, 1], 0)) == []


def test_a_prompt_that_is_too_long_loses_its_beginning_and_is_apart() -> None:
    prompts = [a_prompt([9, 1, 2, 3, 4], 2), a_prompt([9, 1, 2, 3], 1), a_prompt([9, 1, 2, 5], 1)]
    assert shape(*prompts, longest=4) == [
        ([1, 2], [[3, 4]], [0], [2]),
        ([9, 1, 2], [[3], [5]], [1, 2], [1, 1]),
    ]


def test_prompts_that_lose_as_much_share_what_is_left() -> None:
    prompts = [a_prompt([9, 1, 2, 3, 4], 1), a_prompt([9, 1, 2, 3, 5], 1)]
    assert shape(*prompts, longest=3) == [([2, 3], [[4], [5]], [0, 1], [1, 1])]


def test_prompts_that_then_begin_with_other_tokens_are_apart() -> None:
    prompts = [a_prompt([9, 1, 3, 4], 1), a_prompt([9, 2, 3, 4], 1)]
    assert shape(*prompts, longest=3) == [([1, 3], [[4]], [0], [1]), ([2, 3], [[4]], [1], [1])]


def test_of_a_scored_part_that_is_cut_the_rest_is_scored() -> None:
    assert shape(a_prompt([9, 1, 2, 3, 4], 4), longest=3) == [([2], [[3, 4]], [0], [2])]


def test_all_of_a_prompt_but_its_first_token_is_scored_at_the_most() -> None:
    prompts = [a_prompt([9, 1, 2], 3)]  # the only option of a schema: all of it is shared
    assert shape(*prompts) == [([9], [[1, 2]], [0], [2])]


@given(st.lists(st.lists(st.integers(0, 1), max_size=6), min_size=1, max_size=4))
def test_a_common_prefix_is_as_long_as_can_be(rows: list[list[int]]) -> None:
    count = common_prefix([np.array(row, np.uint16) for row in rows])
    assert all(row[:count] == rows[0][:count] for row in rows)
    shortest = min(map(len, rows))
    assert count == shortest or len({row[count] for row in rows}) == 2
