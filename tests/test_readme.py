"""Every command in a ```bash block of both READMEs runs, at a smaller size, in a copy of the checkout."""

import gzip
import json
import os
import re
import shutil
import sys

import pytest
from processes import run_process
from samples import GOLDEN, ROOT

NOT_COPIED = shutil.ignore_patterns(".*", "out", "build", "dist", "*.egg-info", "__pycache__")
# These values become smaller, so that a command takes seconds: nothing else of it changes.
SMALLER = [
    (r"--num_train_steps=\d+", "--num_train_steps=2"),
    (r"--num_warmup_steps=\d+", "--num_warmup_steps=1"),
    (r"--dupe_factor=\d+", "--dupe_factor=1"),
    (r"\bNUM_TRAIN_STEPS=\d+", "NUM_TRAIN_STEPS=2"),
    (r"\bMODEL=\w+", "MODEL=tiny"),
]
SETTINGS = {"NUM_TRAIN_STEPS": "2", "DUPE_FACTOR": "1", "VOCAB_SIZE": "1000", "MODEL": "tiny"}


def _commands(readme):
    text = (ROOT / readme).read_text(encoding="utf-8")
    blocks = re.findall(r"^```bash\n(.*?)^```$", text, re.S | re.M)
    return [
        command.strip() for block in blocks for command in re.split(r"(?<!\\)\n", block) if command.strip()
    ]


def _programs(readme):
    text = (ROOT / readme).read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```$", text, re.S | re.M)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the checkout with a small corpus in `corpus/`, as text and as JSON Lines, and labelled reviews."""
    folder = tmp_path_factory.mktemp("readme") / "morphbert"
    shutil.copytree(ROOT, folder, ignore=NOT_COPIED)
    corpus = folder / "corpus"
    corpus.mkdir()
    documents = []
    for name in ("documents_ko.txt", "documents_ko_2.txt"):
        text = (GOLDEN / name).read_text(encoding="utf-8")
        (corpus / name).write_text(text, encoding="utf-8")
        documents += text.split("\n\n")
    with gzip.open(corpus / "documents.jsonl.gz", "wt", encoding="utf-8") as stream:
        for number, document in enumerate(documents):
            stream.write(json.dumps({"id": number, "text": document}, ensure_ascii=False) + "\n")
    labelled = "document\tlabel\n" + "정말 재미있는 영화였다.\t1\n너무 지루한 영화였다.\t0\n" * 20
    (folder / "reviews").mkdir()
    for name in ("train.tsv", "test.tsv"):
        (folder / "reviews" / name).write_text(labelled, encoding="utf-8")
    return folder


def _run(command, folder):
    for pattern, smaller in SMALLER:
        command = re.sub(pattern, smaller, command)
    python = os.path.dirname(sys.executable)
    environment = {**os.environ, **SETTINGS, "PYTHON": sys.executable}
    environment["PATH"] = python + os.pathsep + os.environ["PATH"]
    return run_process(["bash", "-euo", "pipefail", "-c", command], cwd=folder, env=environment)


def test_no_stage_by_hand_goes_into_a_folder_of_make_pretrain():
    """Who has run it, as the READMEs begin, would be refused there: the model is of another vocabulary."""
    script = (ROOT / "scripts" / "pretrain.sh").read_text(encoding="utf-8")
    taken = {f"out/{name}" for name in re.findall(r'--(?:output_dir|vocab_dir)="\$output/(\w+)"', script)}
    assert taken == {"out/model", "out/vocab"}
    written = re.findall(r"--(?:output|vocab)_dir=(\S+)", "\n".join(_commands("README.md")))
    assert "out/bert" in written
    assert taken.isdisjoint(written)


def test_both_readmes_have_the_same_commands():
    assert _commands("README.ko.md") == _commands("README.md")
    assert _programs("README.ko.md") == _programs("README.md")


@pytest.mark.long
def test_the_commands_run(checkout):
    commands = _commands("README.md")
    assert len(commands) >= 9
    filled = 0
    for command in commands:
        if command.startswith("make "):
            # They install; from here only their presence can be seen.
            command = command.replace("make ", "make -n ")
        done = _run(command, checkout)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        if "fill_mask.py" in command:
            filled += done.stdout.count("[MASK]: ")
    assert "masked_lm_loss" in (checkout / "out" / "bert" / "eval_results.txt").read_text()
    vocabulary = (checkout / "vocab" / "mine" / "vocab.txt").read_text(encoding="utf-8")
    assert len(vocabulary.splitlines()) == 8000
    assert filled == 1
    assert (checkout / "out" / "huggingface" / "model.safetensors").is_file()
    assert (checkout / "out" / "start" / "bert_config.json").is_file()
    assert (checkout / "out" / "features.parquet").is_file()
    assert (checkout / "out" / "bert" / "morphbert_tokenizer.json").is_file()
    for name in ("mine", "small"):
        assert (checkout / "out" / name / "fill_mask.txt").is_file()
    (program,) = _programs("README.md")
    (checkout / "example.py").write_text(program, encoding="utf-8")
    done = _run("python example.py", checkout)
    assert done.returncode == 0, done.stderr
    assert (checkout / "out" / "tensorflow-1" / "bert_model.ckpt.index").is_file()


def test_links_and_named_files_exist():
    for readme in ("README.md", "README.ko.md"):
        text = (ROOT / readme).read_text(encoding="utf-8")
        for target in re.findall(r"\]\((?!http)([^)#]+)\)", text):
            assert (ROOT / target).exists(), f"{readme}: {target}"
        for name in re.findall(r"`([\w./-]+\.(?:py|sh|json|txt|toml))`", text):
            if "/" in name and not name.startswith(("out/", "data/", "vocab/")):
                assert (ROOT / name).exists(), f"{readme}: {name}"


def test_every_flag_that_is_named_exists():
    """Also where a command cannot run here: TPU, GPU, notebooks."""
    known = {"--help", "--version"}
    for script in ROOT.glob("*.py"):
        known |= set(re.findall(r"--(?:\[no\])?\w+", _help(script)))
    known = {flag.replace("[no]", "") for flag in known}
    assert {"--do_train", "--vocab_size", "--tpu_name"} <= known
    foreign = {"--logdir", "--no_such_flag", "--nodes", "--ntasks", "--gpus"}  # TensorBoard's and Slurm's
    texts = ("README.md", "README.ko.md", "docs/formats.md", "scripts/pretrain.sh", "scripts/pretrain_tpu.sh")
    for path in (ROOT / name for name in texts):
        named = set(re.findall(r"(?<![\w-])--[a-z]\w+", path.read_text(encoding="utf-8")))
        assert named - known - foreign == set(), path.name


def _help(script):
    if script.name in ("setup.py", "tokenization.py"):
        return ""
    done = run_process([sys.executable, script, "--help"], check=True)
    return done.stdout
