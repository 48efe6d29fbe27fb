"""`scripts/pretrain.sh`: the whole chain, resumed, refused, in awkward places; and KoNLPy's text."""

import gzip
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
from processes import run_process
from samples import GOLDEN, ROOT

SCRIPT = ROOT / "scripts" / "pretrain.sh"
CONFIGS = ROOT / "morphbert" / "model" / "configs"
STAGES = ("vocab", "records", "model", "filled")
SMALL = {
    "PYTHON": sys.executable,
    "VOCAB_SIZE": "600",
    "MODEL": "tiny",
    "MAX_SEQ_LENGTH": "32",
    "DUPE_FACTOR": "1",
    "TRAIN_BATCH_SIZE": "4",
    "NUM_TRAIN_STEPS": "12",
    "SAVE_CHECKPOINTS_STEPS": "2",
    "SENTENCES": "정말 [MASK] 날씨다.\n나는 학교에 [MASK].",
}


def _environment(**settings):
    return {**os.environ, **SMALL, **settings}


def _run(*arguments, cwd, **settings):
    return run_process([SCRIPT, *arguments], cwd=cwd, env=_environment(**settings))


def _eval_results(folder):
    return (folder / "model" / "eval_results.txt").read_text()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A working directory with a space and Hangul in its name, with two files of real Korean sentences."""
    folder = tmp_path_factory.mktemp("사전 학습")
    corpus = folder / "말뭉치 모음"
    corpus.mkdir()
    for name in ("documents_ko.txt", "documents_ko_2.txt"):
        (corpus / name).write_bytes((GOLDEN / name).read_bytes())
    return folder


@pytest.fixture(scope="module")
def finished(place):
    """A finished run: its folder and its output."""
    done = _run("말뭉치 모음/*.txt", "결과 하나", cwd=place)
    assert done.returncode == 0, done.stdout + done.stderr
    return place / "결과 하나", done.stdout


def test_every_stage_says_what_it_read_and_wrote(finished):
    folder, output = finished
    for stage in STAGES:
        assert re.search(rf"^{stage}: .+ → .*결과 하나/\S+, \d+ s$", output, re.M), output
    assert output.count("[MASK]: ") == 2
    for line in re.findall(r"\[MASK\]: (.*)", output):
        assert len(re.findall(r"\d+\.\d%", line)) == 5
    loss = re.search(r"held-out masked LM loss: ([\d.]+) at step 0, ([\d.]+) at step 12 ", output)
    assert float(loss[2]) < float(loss[1])
    for name in ("vocab/vocab.txt", "records/train.tfrecord.manifest.json", "model/checkpoint"):
        assert (folder / name).is_file()
    assert list((folder / "model").rglob("events.out.tfevents.*"))
    config = json.loads((folder / "bert_config.json").read_text())
    assert config["vocab_size"] == 600


def test_a_finished_run_is_not_done_again(finished, place):
    folder, output = finished
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    done = _run("말뭉치 모음/*.txt", "결과 하나", cwd=place)
    assert done.returncode == 0, done.stderr
    assert [line.split(":")[0] for line in done.stdout.splitlines() if "finished before" in line] == [*STAGES]
    assert done.stdout.splitlines()[-2:] == output.splitlines()[-2:]
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    ours = {path for path in before if path.name != ".lock" and path.parent.name != "stages"}
    assert {path: after[path] for path in ours} == {path: before[path] for path in ours}


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"NUM_TRAIN_STEPS": "20"}, "NUM_TRAIN_STEPS=20"),
        ({"LEARNING_RATE": "3e-4"}, "LEARNING_RATE=3e-4"),
        ({"VOCAB_SIZE": "700"}, "VOCAB_SIZE=700"),
        ({"MODEL": "mini"}, "hidden_size=256"),
    ],
)
def test_a_trained_model_is_not_mixed_with_other_settings(finished, place, settings, named):
    folder, _ = finished
    before = _eval_results(folder), (folder / "vocab" / "vocab.txt").read_bytes()
    done = _run("말뭉치 모음/*.txt", "결과 하나", cwd=place, **settings)
    assert done.returncode == 1
    assert named in done.stderr
    assert "Take another OUTPUT_DIR" in done.stderr
    assert (_eval_results(folder), (folder / "vocab" / "vocab.txt").read_bytes()) == before


@pytest.mark.long
def test_killed_while_training_ends_like_the_uninterrupted_run(finished, place):
    process = subprocess.Popen(
        [str(SCRIPT), "말뭉치 모음/*.txt", "결과 둘"],
        cwd=place,
        env=_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    folder = place / "결과 둘"
    deadline = time.monotonic() + 240
    while not (folder / "model" / "checkpoint").exists() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (folder / "stages" / "model.done").exists()
    done = _run("말뭉치 모음/*.txt", "결과 둘", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "records: finished before" in done.stdout
    assert "continuing from" in done.stdout
    assert _eval_results(folder) == _eval_results(finished[0])


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_signal_to_the_script_saves_first_and_the_same_command_continues(finished, place, number):
    """SIGTERM to the script alone, as a scheduler sends it; Ctrl-C to all, as the terminal does."""
    folder = place / f"결과 {number.name}"
    shutil.copytree(finished[0], folder)
    shutil.rmtree(folder / "model")
    for path in [*(folder / "stages").glob("model.*"), *(folder / "stages").glob("filled.*")]:
        path.unlink()
    long = {"NUM_TRAIN_STEPS": "100000", "SAVE_CHECKPOINTS_STEPS": "100000", "TRAIN_FLAGS": "--log_steps=1"}
    process = subprocess.Popen(
        [str(SCRIPT), "말뭉치 모음/*.txt", folder.name],
        cwd=place,
        env=_environment(**long),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    for line in process.stdout:
        if re.match(r"step \d+/", line):
            break
    (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
    said, errors = process.communicate(timeout=120)
    assert process.returncode == 128 + number, errors
    assert "the checkpoint is saved first" in said
    assert 'stopped at the stage "model"; the same command continues' in errors
    assert "Traceback" not in errors
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
    step = re.search(r"model.ckpt-(\d+)", (folder / "model" / "checkpoint").read_text())[1]
    assert 0 < int(step) < 100000
    for path in (folder / "stages").glob("model.*"):
        path.unlink()  # as if the run had been meant to be short
    done = _run("말뭉치 모음/*.txt", folder.name, cwd=place, **{**long, "NUM_TRAIN_STEPS": step})
    assert done.returncode == 0, done.stderr
    # No step is taken again; the evaluation of a run of this length is made up for.
    assert re.search(
        rf"continuing from .*model\.ckpt-{step}\b|already at step {step} of {step}", done.stdout
    ), done.stdout
    assert not re.search(r"^step \d+/", done.stdout, re.M)


def test_changed_settings_redo_their_stage_and_what_follows(place):
    # Training fails at its flags, so that only the stages before it are seen.
    settings = {"TRAIN_FLAGS": "--no_such_flag=1"}
    first = _run("말뭉치 모음/*.txt", "결과 셋", cwd=place, **settings)
    assert first.returncode == 2
    assert "no_such_flag" in first.stderr
    assert 'stopped at the stage "model"' in first.stderr
    vocab = place / "결과 셋" / "vocab" / "vocab.txt"
    made = vocab.stat().st_mtime_ns
    again = _run("말뭉치 모음/*.txt", "결과 셋", cwd=place, DUPE_FACTOR="2", **settings)
    assert "vocab: finished before" in again.stdout
    assert "records: done again, because the settings of records changed" in again.stdout
    assert vocab.stat().st_mtime_ns == made
    manifest = json.loads((place / "결과 셋" / "records" / "train.tfrecord.manifest.json").read_text())
    assert manifest["dupe_factor"] == 2
    third = _run("말뭉치 모음/*_ko.txt", "결과 셋", cwd=place, DUPE_FACTOR="2", **settings)
    assert "vocab: done again, because the settings of corpus changed" in third.stdout


def test_json_lines_become_sentences_first(place):
    with gzip.open(place / "글.jsonl.gz", "wt", encoding="utf-8") as stream:
        for document in (GOLDEN / "documents_ko.txt").read_text(encoding="utf-8").split("\n\n"):
            stream.write(json.dumps({"body": document}, ensure_ascii=False) + "\n")
    done = _run("글.jsonl.gz", "결과 넷", cwd=place, TEXT_FIELD="body", TRAIN_FLAGS="--no_such_flag=1")
    assert re.search(r"^corpus: 글.jsonl.gz → 결과 넷/corpus.txt, ", done.stdout, re.M), done.stderr
    assert re.search(r"^records: 결과 넷/corpus.txt → ", done.stdout, re.M)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("표.tsv", {"TEXT_FIELD": "본문"}),
        ("wiki_00", {}),
        ("글.txt", {"PREPARE_FLAGS": "--max_repeats=3 --urls=remove"}),
        ("완성형.txt", {"PREPARE_FLAGS": "--encoding=cp949"}),
    ],
)
def test_other_raw_text_and_flags_for_its_preparation(place, name, settings):
    document = (GOLDEN / "documents_ko.txt").read_text(encoding="utf-8").split("\n\n")[0]
    line = " ".join(document.split())
    content = {
        "표.tsv": "id\t본문\n" + f"1\t{line}\n" * 3,
        "wiki_00": f'<doc id="1" url="" title="제목">\n제목\n\n{line}\n</doc>\n' * 3,
        "글.txt": f"{line} 재밌다ㅋㅋㅋㅋㅋㅋ http://a.kr\n\n" * 3,
        "완성형.txt": f"{line}\n\n" * 3,
    }[name]
    (place / name).write_text(content, encoding="cp949" if name == "완성형.txt" else "utf-8")
    output = f"결과 {name}"
    done = _run(name, output, cwd=place, TRAIN_FLAGS="--no_such_flag=1", **settings)
    assert f"corpus: {name} → {output}/corpus.txt, " in done.stdout, done.stderr
    corpus = (place / output / "corpus.txt").read_text(encoding="utf-8")
    assert corpus.count("\n\n") == 2
    assert corpus.replace("\n", " ").startswith(line[:200])
    assert ("재밌다ㅋㅋㅋ\n" in corpus, "http" in corpus) == (name == "글.txt", False)


def _settings(place, stage, **settings):
    """What the script's functions write down of a stage, without running it."""
    functions = f'source <(sed "s/^main .*//" "{SCRIPT}"); root="{ROOT}"'
    program = f"{functions}; input=a output=b; find_python; set_defaults; settings {stage}"
    done = run_process(
        ["bash", "-c", program],
        cwd=place,
        env={**os.environ, "PYTHON": sys.executable, **settings},
        check=True,
    )
    return dict(line.split("=", 1) for line in done.stdout.splitlines())


@pytest.mark.parametrize(
    ("length", "share", "places"),
    [
        ("128", "0.15", "20"),
        ("64", ".15", "10"),
        ("512", "0.15", "77"),
        ("128", "0.3", "39"),
        ("128", "0.08", "11"),
    ],
)
def test_there_is_a_place_for_every_mask(place, length, share, places):
    found = _settings(place, "records", MAX_SEQ_LENGTH=length, MASKED_LM_PROB=share)
    assert found["MAX_PREDICTIONS_PER_SEQ"] == places


@pytest.mark.parametrize(
    ("settings", "rate"),
    [
        ({}, "1e-4"),
        ({"RECIPE": "modern"}, "1e-3"),
        ({"RECIPE": "modern", "MODEL": "tiny"}, "2e-3"),
        ({"RECIPE": "modern", "MODEL": "tiny", "LEARNING_RATE": "3e-4"}, "3e-4"),
        ({"RECIPE": "modern", "BERT_CONFIG_FILE": str(CONFIGS / "modern-base.json")}, "1e-4"),
        ({"RECIPE": "electra", "MODEL": "tiny"}, "1e-4"),
    ],
)
def test_a_recipe_has_its_rate_and_optimizer(place, settings, rate):
    lines = _settings(place, "model", **settings)
    assert lines["LEARNING_RATE"] == rate
    assert lines.get("OPTIMIZER") == ("--optimizer=adamw" if settings.get("RECIPE") == "modern" else None)


@pytest.mark.parametrize(
    ("arguments", "settings", "status", "words"),
    [
        ([], {}, 2, "one or two arguments"),
        (["a", "b", "c"], {}, 2, "in quotes"),
        (["--output=x"], {}, 2, "unknown option --output=x"),
        (["*.txt"], {}, 2, "looks like input"),
        (["없는 폴더/*.txt", "out"], {}, 1, "no file matches '없는 폴더/*.txt'"),
        (["말뭉치 모음/*.txt", "a,b"], {}, 2, "OUTPUT_DIR may not contain"),
        (["말뭉치 모음/*.txt", "out"], {"MODEL": "huge"}, 2, "base large medium mini"),
        (
            ["말뭉치 모음/*.txt", "out"],
            {"MODEL": "medium", "RECIPE": "modern"},
            2,
            "with RECIPE=modern, MODEL is one of base large mini small tiny",
        ),
        (
            ["말뭉치 모음/*.txt", "out"],
            {"RECIPE": "old"},
            2,
            "RECIPE=old is none of bert, modern and electra",
        ),
        (["말뭉치 모음/*.txt", "out"], {"MASKED_LM_PROB": "15%"}, 2, "not a share such as 0.15"),
        (["말뭉치 모음/*.txt", "out"], {"VOCAB_SIZE": "8k"}, 2, "VOCAB_SIZE=8k is not a whole number"),
        (["말뭉치 모음/*.txt", "out"], {"BERT_CONFIG_FILE": str(SCRIPT)}, 1, "not a model configuration"),
        (["말뭉치 모음/*.txt", "out"], {"PYTHON": "/bin/false"}, 1, "make pretrain"),
        (["말뭉치 모음/*.txt", "말뭉치 모음/documents_ko.txt/out"], {}, 1, "cannot be written"),
    ],
)
def test_wrong_use_is_explained(place, arguments, settings, status, words):
    done = _run(*arguments, cwd=place, **settings)
    assert done.returncode == status
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (place / "out").exists()


def test_help_names_every_setting():
    text = _run("--help", cwd=ROOT).stdout
    program = SCRIPT.read_text(encoding="utf-8")
    used = set(re.findall(r'"\$\{([A-Z_]+):=', program)) | {"MAX_PREDICTIONS_PER_SEQ", "NUM_WARMUP_STEPS"}
    assert used >= {"VOCAB_SIZE", "SEED", "TRAIN_FLAGS"}
    assert {name for name in used if not re.search(rf"\b{name}\b", text)} == set()


@pytest.mark.skipif(importlib.util.find_spec("konlpy") is None, reason="KoNLPy is not installed")
def test_the_text_of_konlpy_is_all_there(tmp_path):
    script = ROOT / "scripts" / "konlpy_corpus.py"
    target = tmp_path / "글.txt"
    done = run_process([sys.executable, script, target])
    assert done.returncode == 0, done.stderr
    documents = target.read_text(encoding="utf-8").split("\n\n")
    assert 100 <= len(documents) <= 200
    assert sum("\n" in document.strip() for document in documents) > 0.9 * len(documents)
    folder = importlib.util.find_spec("konlpy").submodule_search_locations[0]
    corpus = os.path.join(folder, "data", "corpus")
    names = [
        os.path.join(corpus, kind, name)
        for kind in ("kolaw", "kobill")
        for name in sorted(os.listdir(os.path.join(corpus, kind)))
    ]
    text = ""
    for name in names:
        with open(name, encoding="utf-8") as stream:
            text += re.sub(r"^\s*- \d+ -\s*$", "", stream.read(), flags=re.M)
    letters = re.compile(r"[^\w]")
    assert letters.sub("", target.read_text(encoding="utf-8")) == letters.sub("", text)
