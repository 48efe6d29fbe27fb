"""Damaged token stores: made again with the reason, never other records with exit status 0."""

import shutil

import pytest
from creating import create, files_of, flags
from samples import flipped_bit, zeros

from morphbert.cli.create_pretraining_data import main
from morphbert.data.store import ARRAYS


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    create(folder / "r", num_workers=1)
    return folder


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def emptied(path):
    path.write_bytes(b"")


def gone(path):
    path.unlink()


DAMAGE = [zeros, flipped_bit, cut, emptied, gone]


@pytest.mark.parametrize("damage", DAMAGE, ids=[damage.__name__ for damage in DAMAGE])
def test_a_damaged_array_is_found_and_the_store_made_again(damage, made, tmp_path, capsys):
    expected = files_of(made)
    for name in ARRAYS:
        folder = tmp_path / name
        shutil.copytree(made, folder)
        for path in folder.glob("r*"):
            path.unlink()
        damage(folder / "token_store" / name)
        capsys.readouterr()
        create(folder / "r", num_workers=1)
        assert f"is made again, because its array {name}" in capsys.readouterr().err
        assert files_of(folder) == expected


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"format": 1}', '{"format": 2}'])
def test_a_store_that_does_not_describe_itself_is_made_again(content, made, tmp_path, capsys):
    folder = tmp_path / "copy"
    shutil.copytree(made, folder)
    for path in folder.glob("r*"):
        path.unlink()
    (folder / "token_store" / "store.json").write_text(content)
    create(folder / "r", num_workers=1)
    assert "is made again, because" in capsys.readouterr().err
    assert files_of(folder) == files_of(made)


def test_a_sound_store_is_used_again(made, tmp_path, capsys):
    folder = tmp_path / "copy"
    shutil.copytree(made, folder)
    create(folder / "r2", num_workers=1, token_store=folder / "token_store")
    assert "is used again" in capsys.readouterr().err


def test_a_damaged_block_of_an_interrupted_run_is_named_and_made_again(tmp_path, capsys, monkeypatch):
    from morphbert.data import store_build

    command = flags(tmp_path / "r", num_workers=1)
    with monkeypatch.context() as patched:
        patched.setattr(store_build, "_join", lambda *arguments: (_ for _ in ()).throw(KeyboardInterrupt))
        assert main(command) == 130
    (block,) = (tmp_path / "token_store" / "blocks").glob("*.npz")
    zeros(block)
    assert main(command) == 1
    message = capsys.readouterr().err
    assert f"{block.name}, part of the token store" in message
    assert "run the same command again" in message
    assert main(command) == 0


def test_an_input_without_text_leaves_the_store_of_another(made, tmp_path, capsys):
    folder = tmp_path / "copy"
    shutil.copytree(made, folder)
    blank = tmp_path / "blank.txt"
    blank.write_text("\n \n\u3000\n", encoding="utf-8")
    before = files_of(folder / "token_store")
    command = flags(folder / "r2", num_workers=1, token_store=folder / "token_store", input_file=blank)
    assert main(command) == 1
    assert "the input contains no text: 1 file(s)" in capsys.readouterr().err
    assert files_of(folder / "token_store") == before
    create(folder / "r2", num_workers=1, token_store=folder / "token_store")
    assert "is used again" in capsys.readouterr().err
