"""`--config`: experiments in YAML."""

import importlib
import re

import pytest
from samples import MECAB_VOCABULARY, ROOT
from tasks import choices, ner_texts, relations, write_json, write_json_lines, write_ner

from morphbert.cli import FINE_TUNING, run_classifier, run_squad
from morphbert.errors import UsageError


def experiments():
    """The command of each file in `configs/` but those of pretraining, from the command line in its comment."""
    found = {}
    for path in sorted((ROOT / "configs").glob("*.yaml")):
        if not path.stem.startswith("pretrain_"):
            line = rf"^#   python (\w+)\.py --config=configs/{path.name} "
            command = re.search(line, path.read_text(encoding="utf-8"), re.M)
            assert command, (
                f"{path.name}: a comment shows the command: #   python run_….py --config=configs/{path.name} …"
            )
            found[path.stem] = importlib.import_module(f"morphbert.cli.{command[1]}")
    return found


COMMANDS = experiments()
SECTIONS = {"tokenizer", "model", "head", "loss", "optimizer", "data", "train", "test"}


def parsed(tmp_path, text, *flags, module=run_classifier):
    path = tmp_path / "experiment.yaml"
    path.write_text(text, encoding="utf-8")
    command = module._command()
    command.parse([f"--config={path}", *flags])
    return command


def test_sections_give_flags_and_flags_come_first(tmp_path):
    command = parsed(
        tmp_path,
        """
        # 영화 평
        data: {text_column: [sentence1, sentence2], labels: [0, 1]}
        optimizer:
          learning_rate: 3e-5
          optimizer: adamw
        train: {do_train: true, output_dir: out/가, seed: 7, num_train_epochs: 4}
        test: {do_eval: yes}
        loss:
        """,
        "--learning_rate=1e-4",
        "--num_train_steps=10",
    )
    values = command.values
    assert values.text_column == "sentence1,sentence2"
    assert values.labels == "0,1"
    assert values.learning_rate == 1e-4
    assert values.optimizer == "adamw"
    assert values.do_train
    assert values.do_eval
    assert values.output_dir == "out/가"
    assert values.seed == 7
    # One of the command line puts aside its rival in the file.
    assert values.num_train_steps == 10
    assert not command.given("num_train_epochs")
    assert command.given("learning_rate")


def test_variables_of_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("MORPHBERT_DATA", "/자료")
    text = "data: {train_file: '${MORPHBERT_DATA}/a.tsv', eval_file: '${NOT_SET:-data}/b.tsv'}\ntrain: {output_dir: a}"
    values = parsed(tmp_path, text).values
    assert values.train_file == "/자료/a.tsv"
    assert values.eval_file == "data/b.tsv"
    with pytest.raises(UsageError, match="needs the environment variable NOT_SET"):
        parsed(tmp_path, "train: {output_dir: '${NOT_SET}/a'}")
    assert parsed(tmp_path, "train: {output_dir: '${NOT_SET}/a'}", "--output_dir=b").values.output_dir == "b"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("optimiser: {learning_rate: 1}", "'optimiser' is not a section. Did you mean optimizer?"),
        (
            "optimizer: {learning_rat: 1}",
            "'learning_rat' in the section optimizer. Did you mean learning_rate?",
        ),
        ("data: {learning_rate: 1}", "learning_rate is in the section data but belongs in optimizer"),
        ("learning_rate: 1", "learning_rate is a key of the section optimizer"),
        ("optimizer: {learning_rate: fast}", "learning_rate: "),
        ("head: {pooling: middle}", "pooling: "),
        ("train: {seed: {a: 1}}", "seed is {'a': 1}"),
        ("train: [1, 2]", "the section train contains [1, 2]"),
        ("- a", "contains no sections"),
        ("a: [", "is not YAML"),
        ("model: !!python/object/apply:os.system ['true']", "is not YAML"),
        ("data: {text_column: document}", "--output_dir is required"),
    ],
)
def test_mistakes_are_named(tmp_path, text, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        parsed(tmp_path, text).config()


@pytest.mark.parametrize(("name", "module"), COMMANDS.items())
def test_the_experiments_that_come_with_it(name, module, monkeypatch):
    """Every key is known, and no path is this machine's."""
    for variable in ("DATA", "MODEL", "OUT", "VOCAB"):
        monkeypatch.delenv(variable, raising=False)
    path = ROOT / "configs" / f"{name}.yaml"
    command = module._command()
    command.parse([f"--config={path}"])
    command.config()
    assert command.values.output_dir == f"out/{name}"
    assert command.values.train_file.startswith("data/")
    for section, keys in command._sections.items():
        assert section in SECTIONS, keys


def test_there_is_an_experiment_for_each_task():
    assert {module.__name__.split(".")[-1] for module in COMMANDS.values()} == set(FINE_TUNING)


def write_data(folder):
    """Invented sentences in the files that the experiments name, in their datasets' formats."""
    for name in ("nsmc", "korsts", "klue", "korquad", "kobest"):
        (folder / name).mkdir(parents=True)
    reviews = "id\tdocument\tlabel\n" + "1\t정말 재미있는 영화였다.\t1\n2\t너무 지루한 영화였다.\t0\n" * 8
    pairs = (
        "genre\tsentence1\tsentence2\tscore\n"
        + "뉴스\t비가 온다.\t비가 내린다.\t4.8\n뉴스\t비가 온다.\t개가 잔다.\t0.2\n" * 8
    )
    endings = [f"ending_{number}" for number in (1, 2, 3, 4)]
    for name in ("train", "test"):
        write_json_lines(
            folder / "kobest" / f"hellaswag_{name}.jsonl",
            [
                {
                    "context": row["question"],
                    **dict(zip(endings, row["choices"], strict=True)),
                    "label": row["label"],
                }
                for row in choices()
                if len(row["choices"]) == 4
            ],
        )
        (folder / "nsmc" / f"ratings_{name}.txt").write_text(reviews, encoding="utf-8")
    context = "대한민국의 수도는 서울특별시이며, 부산은 항구이다."
    entry = {"id": "1", "question": "수도는?", "answers": [{"text": "서울특별시", "answer_start": 10}]}
    questions = {"data": [{"title": "한국", "paragraphs": [{"context": context, "qas": [entry]}]}]}
    for name in ("train", "dev"):
        (folder / "korsts" / f"sts-{name}.tsv").write_text(pairs, encoding="utf-8")
        write_ner(folder / "klue" / f"klue-ner-v1.1_{name}.tsv", ner_texts()[:10])
        write_json(folder / "klue" / f"klue-re-v1.1_{name}.json", relations()[:20])
        write_json(folder / "korquad" / f"KorQuAD_v1.0_{name}.json", questions)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("name", "module"), COMMANDS.items())
def test_the_experiments_run(name, module, random_model, tmp_path, monkeypatch):
    monkeypatch.setenv("DATA", str(write_data(tmp_path / "data")))
    monkeypatch.setenv("MODEL", str(random_model))
    monkeypatch.setenv("VOCAB", str(MECAB_VOCABULARY))
    monkeypatch.setenv("OUT", str(tmp_path / "out"))
    flags = [f"--config={ROOT}/configs/{name}.yaml", "--num_train_steps=2", "--max_seq_length=48"]
    shape = ["--doc_stride=16"] if module is run_squad else []
    assert module.main([*flags, *shape, "--train_batch_size=4", "--strategy=cpu"]) == 0
    assert (tmp_path / "out" / name / "eval_results.txt").exists()


def test_a_file_of_another_shape_is_translated_key_by_key(tmp_path, capsys):
    path = tmp_path / "notes.yaml"
    path.write_text(
        "TOKENIZER: vocab/mine\nMODEL:\n  modelname: bert_config.json\n  PARAMETERS:\n    learning_rate: 3e-5\n"
        "    batch_size: 32\n    dropout_kind: odd\n  CHECKPOINT: out/model\nMODE: do_train\n",
        encoding="utf-8",
    )
    assert run_classifier.main([f"--config={path}", f"--output_dir={tmp_path / 'out'}"]) == 2
    said = capsys.readouterr().err
    for line in (
        "TOKENIZER: vocab/mine → section tokenizer: vocab_file: vocab/mine",
        "MODEL.CHECKPOINT: out/model → section model: init_checkpoint: out/model",
        "MODE: do_train → section",
        "MODEL.PARAMETERS.batch_size: 32 → section",
        "train_batch_size: 32",
        "dropout_kind: odd → this command has no such key",
    ):
        assert line in said, said
