"""Models of the Hugging Face Hub by their names, against a local server that speaks its API."""

import json
import os
import sys

import pytest
from hub_server import HubServer
from processes import run_process
from samples import GOLDEN, ROOT

from morphbert.hub import is_hub_name

pytest.importorskip(
    "huggingface_hub", reason="huggingface_hub is not installed: pip install 'morphbert[hub]'"
)

TEXT = "사과나무를 심었습니다."


def in_process(home, server, code, *arguments, **more):
    """Runs Python in a process of its own: the Hub's settings are read when huggingface_hub is imported."""
    settings = {
        "HF_HOME": str(home),
        "HF_ENDPOINT": server and server.address,
        "HF_HUB_DISABLE_TELEMETRY": "1",
        **more,
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
    environment = {**kept, **{name: value for name, value in settings.items() if value is not None}}
    return run_process(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=home,
        env={
            **environment,
            "PYTHONPATH": str(ROOT),
            "PYTHONIOENCODING": "utf-8",
            "TF_CPP_MIN_LOG_LEVEL": "3",
        },
    )


@pytest.fixture(scope="module")
def server():
    vocabulary = (GOLDEN / "vocab_ko.txt").read_bytes()
    files = {
        "config.json": json.dumps({"model_type": "bert"}).encode(),
        "vocab.txt": vocabulary,
        "tokenizer_config.json": b'{"tokenizer_class": "BertTokenizer", "do_lower_case": false}',
        "pytorch_model.bin": b"a pickle",
        "flax_model.msgpack": b"other",
        "README.md": b"# card",
    }
    with HubServer({"klue/bert-tiny": files}) as made:
        yield made


TOKENIZE = """
import sys
import morphbert
print(" ".join(morphbert.load_tokenizer(sys.argv[1]).tokenize(sys.argv[2])))
"""


def test_names_are_told_from_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    assert is_hub_name("klue/bert-base")
    assert is_hub_name("klue/bert-base@v1.0")
    for path in (
        "out/model",
        "/tmp/x",
        "model",
        "a/b/c",
        "../x",
        "gs://a/b",
        "./a/b",
        "a/b@",
        "~/x",
        "a/..",
        "a/bert_model.ckpt",
    ):
        assert not is_hub_name(path), path


def test_a_tokenizer_by_its_name_then_from_the_cache_alone(server, tmp_path):
    first = in_process(tmp_path, server, TOKENIZE, "klue/bert-tiny", TEXT)
    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith("사")
    asked = [path for method, path in server.requests if "/resolve/" in path]
    assert not any(path.endswith((".bin", ".msgpack", "README.md")) for path in asked)
    commit = server.commit_of("klue/bert-tiny")
    again = in_process(tmp_path, None, TOKENIZE, f"klue/bert-tiny@{commit}", TEXT, HF_HUB_OFFLINE="1")
    assert (again.returncode, again.stdout) == (0, first.stdout), again.stderr
    local = in_process(tmp_path, None, TOKENIZE, GOLDEN / "vocab_ko.txt", TEXT)
    assert local.stdout == first.stdout


PIN = """
import sys
from morphbert.errors import MorphbertError
from morphbert.hub import local_path, pinned
try:
    print(pinned(sys.argv[1]))
    import os
    print(" ".join(sorted(os.listdir(local_path(sys.argv[1], pickles=len(sys.argv) > 2)))))
except MorphbertError as error:
    sys.exit(str(error))
"""


def test_the_commit_is_pinned_and_pickles_come_when_asked_for(server, tmp_path):
    done = in_process(tmp_path, server, PIN, "klue/bert-tiny")
    name, files = done.stdout.splitlines()
    assert name == f"klue/bert-tiny@{server.commit_of('klue/bert-tiny')}"
    assert files == "config.json tokenizer_config.json vocab.txt"
    done = in_process(tmp_path, server, PIN, "klue/bert-tiny", "pickles")
    assert "pytorch_model.bin" in done.stdout.splitlines()[1]


@pytest.mark.parametrize(
    ("name", "more", "words"),
    [
        ("klue/bert-tinny", {}, ["klue/bert-tinny", "there is no file, folder or checkpoint of this name"]),
        ("klue/bert-tiny@v9", {}, ["klue/bert-tiny@v9"]),
        ("klue/bert-tiny", {"HF_HUB_OFFLINE": "1"}, ["klue/bert-tiny", "in the cache"]),
    ],
)
def test_what_the_hub_does_not_have_is_said_with_the_remedy(server, tmp_path, name, more, words):
    done = in_process(tmp_path, server, PIN, name, **more)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert all(word in done.stderr for word in words), done.stderr


def test_without_the_package_the_extra_is_named(server, tmp_path):
    code = "import sys; sys.modules['huggingface_hub'] = None" + PIN
    done = in_process(tmp_path, server, code, "klue/bert-tiny")
    assert "pip install 'morphbert[hub]'" in done.stderr


EXPORT = """
import sys
from morphbert.cli.export_model import main
if "--then" not in sys.argv:
    sys.exit(main(sys.argv[1:]))
where = sys.argv.index("--then")
print([main(flags) for flags in (sys.argv[1:where], sys.argv[where + 1 :])])
"""


def test_an_exported_folder_is_uploaded(server, random_model, tmp_path):
    flags = [f"--checkpoint={random_model}", f"--output_dir={tmp_path / 'out'}", "--format=huggingface"]
    flags += ["--push_to_hub=team/small-bert", "--hub_private"]
    done = in_process(tmp_path, server, EXPORT, *flags, HF_TOKEN="hf_test")
    assert done.returncode == 0, done.stderr
    assert f"uploaded to {server.address}/team/small-bert" in done.stdout
    # Newer clients say `visibility`, older ones `private`.
    created = server.created["team/small-bert"]
    assert created.get("visibility") == "private" or created.get("private") is True
    written = {
        str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()
    }
    assert written <= set(server.uploads)
    assert server.uploads["config.json"] == (tmp_path / "out" / "config.json").read_bytes()
    wrong = [*flags[:2], "--format=onnx", "--push_to_hub=a/b"]
    refused = in_process(tmp_path, server, EXPORT, *flags, "--overwrite", "--then", *wrong)
    assert refused.stdout.splitlines()[-1] == "[1, 2]"
    assert "hf auth login" in refused.stderr
    assert "--format=huggingface" in refused.stderr
