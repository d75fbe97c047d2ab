"""Pushing to the hub, through huggingface_hub's own client, to a server on the loopback."""

from pathlib import Path
from typing import Any

import pytest

from gpt2.errors import HubError
from gpt2.hub import make_repository, push

Hub = Any  # of conftest.py

# As huggingface_hub sends a large file where its package hf_xet does not, as here.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "token")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "files").mkdir()
    for name in ("config.json", "model.safetensors", "notes.txt"):
        (tmp_path / "files" / name).write_text(f"what is in {name}")
    return tmp_path / "files"


def test_the_named_files_arrive_in_one_commit_and_stale_ones_go(
    hub_server: Hub, directory: Path
) -> None:
    make_repository("someone/new", private=False, replace=False)
    repository = hub_server.folder / "someone/new"
    (repository / "tokenizer.json").touch()
    (repository / "config.json").touch()

    names = ["config.json", "model.safetensors"]
    url = push("someone/new", directory, names, ["tokenizer.json", "config.json", "a.bin"])

    assert url == f"{hub_server.url}/someone/new"
    [commit] = hub_server.commits
    assert sorted(commit) == [
        ("deletedFile", "tokenizer.json"),
        ("file", "config.json"),
        ("lfsFile", "model.safetensors"),
    ]
    assert {path.name for path in repository.iterdir()} == {*names, ".gitattributes"}
    for name in names:
        assert (repository / name).read_bytes() == (directory / name).read_bytes()


def test_a_repository_that_holds_files_is_replaced_only_if_asked(hub_server: Hub) -> None:
    make_repository("someone/new", private=False, replace=False)
    make_repository("someone/new", private=False, replace=False)  # .gitattributes is the hub's
    (hub_server.folder / "someone/new/README.md").touch()
    with pytest.raises(HubError, match="is there already; choose another name, or replace it"):
        make_repository("someone/new", private=False, replace=False)
    make_repository("someone/new", private=False, replace=True)


def test_what_is_to_be_private_is_pushed_nowhere_else(hub_server: Hub) -> None:
    make_repository("someone/hidden", private=True, replace=False)
    assert hub_server.private == {"someone/hidden"}
    make_repository("someone/hidden", private=True, replace=True)
    make_repository("someone/open", private=False, replace=False)
    with pytest.raises(HubError, match="someone/open is there already, and all can see it"):
        make_repository("someone/open", private=True, replace=True)


@pytest.mark.parametrize("name", ["new", "a/b/c", "someone/", "some one/new", "someone/a--b", ""])
def test_a_name_that_the_hub_does_not_take_is_refused_without_asking(
    hub_server: Hub, name: str
) -> None:
    with pytest.raises(HubError, match="must be owner/name, of letters"):
        make_repository(name, private=False, replace=False)
    assert hub_server.tokens == []


@pytest.mark.parametrize(
    ("name", "token", "told"),
    [
        ("someone/new", "wrong", "the hub does not accept the token; log in with: hf auth login"),
        ("else/new", "token", "the token may not write there"),
    ],
)
def test_a_token_without_the_rights_is_told_in_one_line(
    hub_server: Hub, monkeypatch: pytest.MonkeyPatch, name: str, token: str, told: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(HubError) as raised:
        make_repository(name, private=False, replace=False)
    assert str(raised.value).startswith(f"cannot push to {name}: {told}")
    assert "\n" not in str(raised.value)


def test_without_a_token_the_hub_is_not_asked(
    hub_server: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    with pytest.raises(HubError, match="there is no token; log in with: hf auth login, or set"):
        make_repository("someone/new", private=False, replace=False)
    assert hub_server.tokens == []


def test_offline_mode_is_told(hub_server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="^cannot push to someone/new: HF_HUB_OFFLINE is set$"):
        make_repository("someone/new", private=False, replace=False)


def test_a_hub_that_does_not_answer_is_told(
    hub_server: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(HubError, match="the hub cannot be reached .*; check the network$"):
        make_repository("someone/new", private=False, replace=False)


def test_what_the_hub_finds_wrong_in_a_card_is_told_and_nothing_is_pushed(
    hub_server: Hub, directory: Path
) -> None:
    (directory / "README.md").write_text("---\nlicense: mine\n---\n")
    hub_server.card_faults = ['"license" must be one of [mit, other]']
    make_repository("someone/new", private=False, replace=False)
    with pytest.raises(HubError) as raised:
        push("someone/new", directory, ["README.md"], [])
    told = 'Invalid metadata in README.md. - "license" must be one of [mit, other]'
    assert str(raised.value) == f"cannot push to someone/new: {told}"
    assert hub_server.commits == []
