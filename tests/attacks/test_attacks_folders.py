"""Folders and files as strangers have them: links, pipes, pointers of Git LFS, outputs that would replace an input."""

import json
import os
import re
import shutil
import tempfile
import unicodedata
from pathlib import Path

import pytest
from processes import largest_file
from samples import GOLDEN, MECAB_VOCABULARY, write_random_model

from morphbert.atomic_files import check_apart, json_bytes
from morphbert.cli import experiment_file
from morphbert.cli.build_vocab import main as build_vocab
from morphbert.cli.create_pretraining_data import main as create
from morphbert.cli.prepare_corpus import main as prepare
from morphbert.data.creation import PretrainingDataConfig
from morphbert.data.listed_words import read_words
from morphbert.errors import MorphbertError, UsageError
from morphbert.files import expand, in_form_of_disk
from morphbert.finetune.task_configs import ClassificationConfig, PredictConfig
from morphbert.formats.lines import read_lines
from morphbert.formats.tables import rows_of
from morphbert.interop.configs import ExportConfig
from morphbert.interop.pretrained import check_keeps
from morphbert.model.config import BertConfig
from morphbert.plugins import load_plugins
from morphbert.text.vocabulary import parse_vocabulary
from morphbert.text.vocabulary_file import read_special_tokens_map
from morphbert.train.preflight import expand_records

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 442221694\n"


def names(folder, found):
    return [os.path.relpath(path, folder) for path in found]


def test_links_to_folders_are_followed_once_and_loops_end(tmp_path):
    """A corpus is often a folder of links to disks: what they lead to must not be left out in silence."""
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "deep").mkdir(parents=True)
    (elsewhere / "deep" / "b.txt").write_text("나\n")
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / "a.txt").write_text("가\n")
    (folder / "disk").symlink_to(elsewhere)
    (folder / "disk_again").symlink_to(elsewhere)
    (elsewhere / "deep" / "loop").symlink_to(folder)
    assert names(folder, expand(str(folder))) == ["a.txt", "disk/deep/b.txt"]


def test_a_link_beside_its_folder_does_not_read_the_files_twice(tmp_path):
    """The link sorts before the folder, and the folder has a file of its own: `latest -> y2024`."""
    (tmp_path / "y2024").mkdir()
    (tmp_path / "y2024" / "a.txt").write_text("가\n")
    (tmp_path / "latest").symlink_to("y2024")
    (tmp_path / "zlink").symlink_to("latest")
    assert names(tmp_path, expand(str(tmp_path))) == ["y2024/a.txt"]


@pytest.mark.parametrize(
    "pattern", ["말뭉치/?째.txt", "말뭉치/[첫둘]째.txt", "말*/*째.txt", "말??/?[째].txt", "말뭉치"]
)
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_globs_match_syllables_in_either_form(pattern, form, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / unicodedata.normalize(form, "말뭉치")
    folder.mkdir()
    for name in ("첫째.txt", "둘째.txt", "셋.txt"):
        (folder / unicodedata.normalize(form, name)).touch()
    if pattern == "말뭉치":
        assert len(expand(pattern)) == 3
    else:
        assert len(expand(pattern)) == len(expand_records(pattern, "--input_file")) == 2


def test_every_path_is_found_in_the_form_of_the_disk(tmp_path, capsys):
    """A second folder of the same looks would begin a run at step 0, or leave a vocabulary unfound."""
    decomposed = unicodedata.normalize("NFD", "어휘")
    (tmp_path / decomposed).mkdir()
    shutil.copy(GOLDEN / "vocab_ko.txt", tmp_path / decomposed / "vocab.txt")
    flags = [f"--input_file={GOLDEN}/documents_ko.txt", "--do_lower_case=false", "--num_workers=1"]
    store = f"--token_store={tmp_path}/어휘/단어/s"
    assert (
        create([*flags, f"--vocab_file={tmp_path}/어휘/vocab.txt", store, f"--output_file={tmp_path}/r"]) == 0
    )
    assert (
        prepared(tmp_path / "어휘" / "vocab.txt", tmp_path, f"--report_file={tmp_path}/어휘/새 글.md")[0] == 0
    )
    assert {name for name in os.listdir(tmp_path) if "휘" in unicodedata.normalize("NFC", name)} == {
        decomposed
    }
    assert sorted(os.listdir(tmp_path / decomposed)) == ["vocab.txt", "단어", "새 글.md"]
    assert in_form_of_disk("gs://통/어휘") == "gs://통/어휘"
    assert in_form_of_disk("/없는 폴더/어휘") == "/없는 폴더/어휘"


def test_small_files_are_found_in_the_form_of_the_disk(tmp_path):
    """Files that flags of one path name, beside those of data and models."""
    decomposed = tmp_path / unicodedata.normalize("NFD", "설정")
    decomposed.mkdir()
    roles = {f"{role}_token": f"<{role.upper()}>" for role in ("pad", "unk", "cls", "sep", "mask")}
    (decomposed / "map.json").write_text(json.dumps(roles))
    (decomposed / "words.txt").write_text("사과\n", encoding="utf-8")
    (decomposed / "plugin.py").write_text("")
    (decomposed / "c.yaml").write_text("export_model:\n  plugin: plugin.py\n")
    typed = f"{tmp_path}/설정"
    assert read_special_tokens_map(f"{typed}/map.json").mask_token == "<MASK>"
    records = PretrainingDataConfig(
        input_file="a", output_file="b", vocab_file="v", mask_words_file=f"{typed}/words.txt"
    )
    assert read_words(str(records.mask_words_file)) == ("사과",)
    assert experiment_file.read(f"{typed}/c.yaml", {"export_model": ["plugin"]}) == {"plugin": "plugin.py"}
    for kind, required in (
        (ClassificationConfig, {"output_dir": "o", "do_predict": True, "predict_file": "p"}),
        (PredictConfig, {"model": "m", "input_file": "i", "output_file": "o"}),
        (ExportConfig, {"checkpoint": "c", "output_dir": "o", "format": "onnx"}),
    ):
        load_plugins(kind(**required, plugin=(f"{typed}/plugin.py",)).plugin)


@pytest.fixture
def nobody():
    """Another user; root may read everything."""
    if os.name != "posix" or os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    yield
    os.seteuid(0)


def test_a_folder_that_may_not_be_read_is_not_left_out(tmp_path, request):
    corpus = tmp_path / "corpus"
    (corpus / "private").mkdir(parents=True)
    (corpus / "a.txt").write_text("가\n")
    (corpus / "private" / "b.txt").write_text("나\n")
    for folder in (tmp_path, *tmp_path.parents):
        if folder.is_relative_to(tempfile.gettempdir()) and folder != Path(tempfile.gettempdir()):
            folder.chmod(0o755)  # pytest's, which are the user's alone
    (corpus / "private").chmod(0)
    request.getfixturevalue("nobody")
    for pattern in (corpus, corpus / "private", corpus / "private" / "*.txt"):
        with pytest.raises(MorphbertError, match=r"corpus/private'?( cannot be read)?: Permission denied"):
            expand(str(pattern))


def test_pipes_in_a_folder_are_left_out_and_broken_links_are_named(tmp_path):
    (tmp_path / "a.txt").write_text("가\n")
    os.mkfifo(tmp_path / "pipe.txt")  # to open it waits for ever
    (tmp_path / ".DS_Store").write_bytes(b"\0")
    (tmp_path / "._a.txt").write_bytes(b"\0\5")
    assert names(tmp_path, expand(str(tmp_path))) == ["a.txt"]
    (tmp_path / "lost.txt").symlink_to("nowhere")
    with pytest.raises(MorphbertError, match=r"lost.txt cannot be read: No such file"):
        [list(read_lines(path)) for path in expand(str(tmp_path))]


@pytest.mark.parametrize(
    "read",
    [
        lambda path: list(read_lines(path)),
        lambda path: list(rows_of(path)),
        lambda path: list(rows_of(shutil.copy(path, path + ".parquet"))),
        lambda path: BertConfig.from_json_file(path),
        lambda path: parse_vocabulary(POINTER, path),
    ],
)
def test_a_pointer_of_git_lfs_is_no_text_no_table_and_no_configuration(read, tmp_path):
    (tmp_path / "a.tsv").write_bytes(POINTER)
    with pytest.raises(
        MorphbertError, match=r"a.tsv.* is a Git LFS pointer, .*git lfs pull|a.tsv.*it is a Git LFS"
    ):
        read(str(tmp_path / "a.tsv"))


def test_an_output_is_no_input(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("가\n")
    (tmp_path / "link.txt").symlink_to("a.txt")
    with pytest.raises(UsageError, match=r"the output .*link.txt is --input_file=.*a.txt"):
        check_apart([str(tmp_path / "link.txt")], [("--input_file", str(tmp_path / "a.txt"))])
    check_apart([str(tmp_path / "b.txt")], [("--input_file", str(tmp_path / "a.txt"))])


def test_a_folder_that_is_replaced_holds_no_remote_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check_keeps(".", ("gs://bucket/model", None, "/somewhere/else"))
    with pytest.raises(MorphbertError, match=r"holds model/config.json, which is read"):
        check_keeps(".", ("gs://bucket/model", "model/config.json"))


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_records_do_not_replace_the_vocabulary(kind, tmp_path, capsys):
    shutil.copy(GOLDEN / "vocab_ko.txt", tmp_path / "vocab.txt")
    vocabulary = tmp_path / "vocab.txt" if kind == "file" else tmp_path
    flags = [f"--input_file={GOLDEN}/documents_ko.txt", f"--vocab_file={vocabulary}", "--num_workers=1"]
    assert create([*flags, "--do_lower_case=false", f"--output_file={tmp_path}/vocab.txt"]) == 2
    assert "vocab.txt, which is read" in capsys.readouterr().err
    assert (tmp_path / "vocab.txt").read_bytes() == (GOLDEN / "vocab_ko.txt").read_bytes()


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("report.md", ["--input_file={}/report.md", "--vocab_dir={}"]),
        ("vocab.txt", [f"--input_file={GOLDEN}/documents_ko.txt", "--init_vocab={}", "--vocab_dir={}"]),
        (
            "vocab.txt",
            [f"--input_file={GOLDEN}/documents_ko.txt", "--init_vocab={}/vocab.txt", "--vocab_dir={}"],
        ),
        (
            "report.html",
            [f"--compare={GOLDEN}/vocab_ko.txt", "--input_file={}/report.html", "--report_dir={}"],
        ),
    ],
)
def test_a_vocabulary_and_its_reports_replace_no_input(name, flags, tmp_path, capsys):
    shutil.copy(GOLDEN / "vocab_ko.txt", tmp_path / name)
    assert build_vocab([flag.format(tmp_path) for flag in flags]) == 2
    assert f"{name}, which is read" in capsys.readouterr().err
    assert os.listdir(tmp_path) == [name]
    assert (tmp_path / name).read_bytes() == (GOLDEN / "vocab_ko.txt").read_bytes()


def test_half_a_surrogate_pair_stays_escaped():
    content = json.loads('{"text": "가\\ud83d나"}')
    assert json.loads(json_bytes(content)) == content
    assert "가".encode() in json_bytes(content)


def test_a_vocabulary_of_an_old_mac_is_named(tmp_path):
    with pytest.raises(MorphbertError, match=r"the lines end with \\r alone"):
        parse_vocabulary(b"[PAD]\r[UNK]\r", "vocab.txt")


def test_euc_kr_has_the_syllables_that_files_called_so_have(tmp_path):
    (tmp_path / "a.txt").write_bytes("똠방각하가 뷁 하고 말했다.\n".encode("cp949"))
    assert list(read_lines(str(tmp_path / "a.txt"), encoding="euc-kr")) == ["똠방각하가 뷁 하고 말했다."]


def prepared(path, tmp_path, *flags):
    status = prepare([f"--input_file={path}", f"--output_file={tmp_path}/out.txt", "--num_workers=1", *flags])
    return status, (tmp_path / "out.txt").read_text(encoding="utf-8") if status == 0 else ""


def test_two_columns_of_one_name_are_no_choice(tmp_path, capsys):
    (tmp_path / "a.csv").write_text("text,text\n첫째 글이다.,둘째 글이다.\n", encoding="utf-8")
    assert prepared(tmp_path / "a.csv", tmp_path)[0] == 1
    assert "line 1: 2 columns, and 'text' occurs more than once" in capsys.readouterr().err
    (tmp_path / "b.csv").write_text("id,id,text\n1,2,글이다.\n", encoding="utf-8")  # of no matter here
    assert prepared(tmp_path / "b.csv", tmp_path) == (0, "글이다.\n")


def test_bytes_of_parquet_are_text_or_refused(tmp_path, capsys):
    """Never as Python shows bytes."""
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")

    def write(*values, **others):
        parquet.write_table(pa.table({"text": list(values), **others}), tmp_path / "a.parquet")
        return str(tmp_path / "a.parquet")

    path = write("첫째 글이다.".encode(), picture=[b"\x89PNG\xff"])
    assert prepared(path, tmp_path) == (0, "첫째 글이다.\n")
    assert next(rows_of(path)) == {"text": "첫째 글이다.", "picture": b"\x89PNG\xff"}
    assert prepared(write("둘째 글이다.".encode("cp949")), tmp_path)[0] == 1
    assert "'text' contains an object with bytes, not text" in capsys.readouterr().err
    assert prepared(write({"body": "글이다."}), tmp_path)[0] == 1
    assert "contains an object with body, not text" in capsys.readouterr().err


def test_a_build_that_cannot_be_written_leaves_nothing(tmp_path, capsys):
    (tmp_path / "file").write_text("x")
    flags = [f"--input_file={GOLDEN}/documents_ko.txt", f"--vocab_dir={tmp_path}/file", "--vocab_size=300"]
    assert build_vocab([*flags, "--num_workers=1"]) == 1
    assert "is not a folder" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "x"


# ── models ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_random_model(tmp_path_factory.mktemp("models") / "model", GOLDEN / "vocab_ko.txt")


@pytest.fixture(scope="module")
def published(model, tmp_path_factory):
    from morphbert.cli.export_model import main as export

    folder = tmp_path_factory.mktemp("published") / "hf"
    assert export([f"--checkpoint={model}", f"--output_dir={folder}", "--format=huggingface"]) == 0
    return folder


@pytest.fixture
def small_files():
    """No file may get more than 4 KiB, as on a disk that is all but full."""
    with largest_file(4096):
        yield


@pytest.mark.parametrize("form", ["huggingface", "google", "import"])
def test_a_model_on_a_full_disk_is_named_and_leaves_nothing(form, model, tmp_path, capsys, small_files):
    """Safetensors and TensorFlow raise errors of their own."""
    from morphbert.cli import export_model, import_model

    flags = [f"--checkpoint={model}", f"--output_dir={tmp_path}/out"]
    if form == "import":
        assert import_model.main(flags) == 1
    else:
        assert export_model.main([*flags, f"--format={form}"]) == 1
    assert re.search(r"out cannot be written: File too large\. ", capsys.readouterr().err)
    assert os.listdir(tmp_path) == []


def test_a_vocabulary_beside_a_run_is_whole_or_not_there(tmp_path, request):
    from morphbert.interop.vocabularies import put_beside_run
    from morphbert.text.loading import load_tokenizer

    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "vocab.txt").write_text("earlier")
    tokenizer = load_tokenizer(str(MECAB_VOCABULARY))
    request.getfixturevalue("small_files")
    with pytest.raises((MorphbertError, OSError), match="File too large"):
        put_beside_run(str(tmp_path / "run"), tokenizer, str(MECAB_VOCABULARY))
    assert os.listdir(tmp_path / "run") == ["vocab.txt"]
    assert (tmp_path / "run" / "vocab.txt").read_text() == "earlier"


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "morphbert_tokenizer.json"])
def test_a_clone_without_git_lfs_is_named(name, published, tmp_path):
    from morphbert.interop.loading import read_with_tokenizer

    folder = shutil.copytree(published, tmp_path / "hf")
    (folder / name).write_bytes(POINTER)
    with pytest.raises(MorphbertError, match="a Git LFS pointer"):
        read_with_tokenizer(str(folder))


def test_parts_without_their_index_are_named(published, tmp_path):
    from morphbert.interop import sources

    folder = shutil.copytree(published, tmp_path / "hf")
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    with pytest.raises(
        MorphbertError, match=r"has model-00001-of-00002.safetensors and no model.safetensors.index"
    ):
        sources.read(str(folder))


def test_a_folder_that_is_read_is_not_replaced(model, tmp_path, capsys):
    """With `--overwrite` the run and all its checkpoints would be gone."""
    from morphbert.cli.export_model import main as export
    from morphbert.cli.import_model import main as bring_in

    folder = shutil.copytree(model, tmp_path / "run" / "model")
    there = sorted(path.name for path in folder.iterdir())
    for command in (export, bring_in):
        for output in (folder, tmp_path / "run"):
            flags = [f"--checkpoint={folder}", f"--output_dir={output}", "--overwrite"]
            flags += ["--format=huggingface"] if command is export else []
            assert command(flags) == 1
            assert "which is read and would be lost" in capsys.readouterr().err
            assert sorted(path.name for path in folder.iterdir()) == there


def test_a_linked_output_folder_stays_a_link(model, tmp_path):
    from morphbert.cli.export_model import main as export

    (tmp_path / "disk" / "out").mkdir(parents=True)
    (tmp_path / "out").symlink_to(tmp_path / "disk" / "out")
    flags = [f"--checkpoint={model}", f"--output_dir={tmp_path}/out", "--format=huggingface"]
    assert export(flags) == 0
    assert (tmp_path / "out").is_symlink()
    assert (tmp_path / "disk" / "out" / "model.safetensors").is_file()
