"""What the page at / asks of its server: answers are those of the model that runs."""

import asyncio
import base64
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from starlette.requests import Request

from gpt2.files.pretrained import GPT2
from gpt2.serve import explore
from gpt2.serve.errors import ApiError
from gpt2.visual.gallery.facts import vocabulary
from gpt2.visual.gallery.inside import inside
from gpt2.visual.gallery.pictures import drawings, picture_entry

TEXT = "Permission is hereby granted"


def whole(served: Any) -> GPT2:
    model: GPT2 = served.models.find(None).whole()
    return model


def asked(served: Any, path: str, **body: Any) -> Any:
    answer = httpx.post(f"{served.url}/explore/{path}", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(served: Any, path: str, status: int, **body: Any) -> str:
    answer = httpx.post(f"{served.url}/explore/{path}", json=body)
    assert answer.status_code == status, answer.text
    message: str = answer.json()["error"]["message"]
    return message


def unpacked(packed: dict[str, Any]) -> np.ndarray:
    values = np.frombuffer(base64.b64decode(packed["base64"]), np.dtype(packed["type"]))
    return values.reshape(packed["shape"])


def test_a_text_is_looked_into_as_in_the_gallery(served: Any) -> None:
    answer = asked(served, "inside", text=TEXT) | {"lens": asked(served, "lens", text=TEXT)}
    ids = whole(served).require_tokenizer().encode(TEXT)

    expected = inside(whole(served), TEXT)

    assert answer == {**expected, "whole": ids, "first": 0}


def test_answers_are_what_transformers_computes(served: Any, tmp_path: Path) -> None:
    import transformers

    whole(served).save_pretrained(tmp_path)
    theirs = transformers.GPT2LMHeadModel.from_pretrained(tmp_path, attn_implementation="eager")
    answer = asked(served, "inside", text=TEXT)
    with torch.no_grad():
        expected = theirs(
            torch.tensor([answer["ids"]]), output_attentions=True, output_hidden_states=True
        )
    attentions = torch.cat(expected.attentions)
    np.testing.assert_allclose(unpacked(answer["weights"]), attentions, atol=1e-3)
    *streams, final = expected.hidden_states
    shown = unpacked(answer["stream"])
    np.testing.assert_allclose(shown[: len(streams)], torch.cat(streams), rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(shown[-1], final[0], rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(
        unpacked(answer["logits"]["values"]), expected.logits[0], rtol=1e-4, atol=1e-4
    )


def test_the_last_tokens_of_a_long_text_are_shown_unless_others_are_asked_for(served: Any) -> None:
    text = "a b c d e f g h i j k l m n o p q r s t u v w x y z"
    ids = whole(served).require_tokenizer().encode(text)
    for first, shown in ((None, ids[-24:]), (3, ids[3:27]), (10**9, ids[-24:])):
        answer = asked(served, "inside", text=text, first=first)
        assert answer["ids"] == shown
        assert ids[answer["first"] :][:24] == shown
        assert answer["length"] == len(answer["whole"]) == len(ids)


def test_ids_are_looked_into_also_where_their_text_has_others(served: Any) -> None:
    ids = [*b"ab", 290, 3]
    answer = asked(served, "inside", text=ids)
    assert answer["ids"] == answer["whole"] == ids
    assert answer["text"] == whole(served).require_tokenizer().decode(ids)


def test_what_cannot_be_looked_into_is_an_error(served: Any, monkeypatch: Any) -> None:
    assert "1 to 24 tokens" in refused(served, "inside", 400, text="")
    assert "1 to 24 tokens" in refused(served, "lens", 400, text=[])
    assert "got 300" in refused(served, "inside", 400, text=[5, 300])
    assert "got -1" in refused(served, "inside", 400, text=[-1])
    assert "other" in refused(served, "inside", 404, text="a", model="other")
    refused(served, "inside", 400, text="a" * (explore.MOST_CHARACTERS + 1))
    assert "there is no field 'unknown'" in refused(served, "inside", 400, text="a", unknown=1)
    refused(served, "inside", 400, text="a", first=-1)
    asked(served, "inside", text="a")  # the server lives on


def test_a_model_that_has_diverged_is_an_error(serve_with: Any, model: GPT2) -> None:
    with torch.no_grad():
        model.wpe.weight[20:] = torch.nan  # the server reads less when it starts
    served = serve_with(models={"bad": model})
    assert "diverged" in refused(served, "inside", 400, text="a b c d e f g h i j k l m n o p")
    asked(served, "inside", text="a")


def test_the_vocabulary_has_the_text_of_each_id(serve_with: Any, gapped_model: GPT2) -> None:
    served = serve_with(models={"gapped": gapped_model})
    answer = httpx.get(f"{served.url}/explore/vocabulary", params={"model": "gapped"}).json()
    assert answer == {"vocabulary": vocabulary(gapped_model)}


def test_pictures_are_those_of_the_gallery(served: Any) -> None:
    names = httpx.get(f"{served.url}/explore/pictures").json()["pictures"]
    directory = str(served.models.find(None).directory)
    expected = {each.name: each for each in drawings(whole(served), directory, TEXT)}
    assert names == list(expected)
    for _ in range(2):  # drawn, and from memory
        answer = httpx.get(f"{served.url}/explore/picture", params={"name": "positions"}).json()
        assert answer == picture_entry(expected["positions"])
    wrong = httpx.get(f"{served.url}/explore/picture", params={"name": "none"})
    assert wrong.status_code == 404
    assert "positions" in wrong.json()["error"]["message"]


class Client:
    """A client that is there or has gone."""

    def __init__(self, is_there: bool = True) -> None:
        self.is_there = is_there

    def request(self) -> Request:
        async def receive() -> dict[str, Any]:
            if self.is_there:
                await asyncio.Event().wait()
            return {"type": "http.disconnect"}

        return Request({"type": "http", "headers": []}, receive)


def test_what_a_client_that_has_gone_wanted_is_not_computed() -> None:
    async def ask() -> list[str]:
        done: list[str] = []

        def work(name: str) -> bytes:
            done.append(name)
            return b"{}"

        turns = explore._Turns()
        await turns.do(Client(is_there=False).request(), lambda: work("gone"))
        await turns.do(Client().request(), lambda: work("there"))
        return done

    assert asyncio.run(ask()) == ["there"]


def test_only_so_many_requests_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explore, "MOST_WAITING", 2)

    async def ask() -> None:
        turns = explore._Turns()
        jobs = [asyncio.ensure_future(turns.do(Client().request(), lambda: b"{}")) for _ in "ab"]
        await asyncio.sleep(0)
        with pytest.raises(ApiError, match="up to 2 requests may wait") as error:
            await turns.do(Client().request(), lambda: b"{}")
        assert error.value.status == 429
        await asyncio.gather(*jobs)
        await turns.do(Client().request(), lambda: b"{}")  # there is room again

    asyncio.run(ask())


def test_the_page_knows_the_models_from_the_start(served: Any) -> None:
    data = explore.explorer_data(served.models, needs_key=True, has_run=True)
    (model,) = data["models"]
    assert model["name"] == "tiny"
    assert model["most_tokens"] == model["n_positions"] == 24
    assert model["parameters"] == whole(served).num_parameters()
    assert data["needsKey"] and data["hasRun"]
