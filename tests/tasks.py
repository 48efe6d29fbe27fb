"""Korean sentences made up for the tests of fine-tuning, and a tiny model's flags for them."""

import itertools
import json

import numpy as np
import pytest
from samples import MECAB_VOCABULARY, write_config

NAMES = ["김철수", "이영희", "박지성", "최민정", "정우성"]
PLACES = ["서울", "부산", "대전", "제주도", "강릉"]
COMPANIES = ["한빛전자", "미래은행", "푸른출판사", "대한항공", "누리통신"]


def shuffled(rows, seed=1):
    return [rows[index] for index in np.random.default_rng(seed).permutation(len(rows))]


def tiny_flags(folder, length=32):
    """Flags of a tiny model of random weights for the shipped Mecab vocabulary."""
    return [
        f"--bert_config_file={folder}/bert_config.json",
        f"--vocab_file={MECAB_VOCABULARY}",
        f"--max_seq_length={length}",
        "--train_batch_size=16",
        "--strategy=cpu",
    ]


def write_tiny_config(folder, **values):
    """Writes the configuration of a tiny model for the shipped Mecab vocabulary."""
    size = len((MECAB_VOCABULARY / "vocab.txt").read_text(encoding="utf-8").splitlines())
    return write_config(folder / "bert_config.json", vocab_size=size, **values)


def write_split(folder, write, rows, num_train, ending):
    """Writes rows as train and dev files with `write`, and the configuration of a tiny model; returns the folder."""
    write(folder / f"train{ending}", rows[:num_train])
    write(folder / f"dev{ending}", rows[num_train:])
    write_tiny_config(folder)
    return folder


def split_flags(folder, ending, output, *more, length=32):
    """Flags of a tiny model for the files of `write_split`; of a flag given twice the last counts."""
    files = [f"--train_file={folder}/train{ending}", f"--eval_file={folder}/dev{ending}"]
    return [*tiny_flags(folder, length), *files, f"--output_dir={output}", *more]


def training(main, ending, *flags):
    """A fixture: the folder of a tiny model that a command has trained and evaluated on the files of `data`."""

    @pytest.fixture(scope="module")
    def trained(data, tmp_path_factory):
        output = tmp_path_factory.mktemp("trained") / "model"
        assert main(split_flags(data, ending, output, "--do_train", "--do_eval", *flags)) == 0
        return output

    return trained


def write_ner(path, texts):
    """Writes texts, each parts of (characters, type or None), in KLUE-NER's format."""
    lines = ["## 문장 구분자 : \\n\\n"]
    for number, parts in enumerate(texts):
        lines.append(f"## 예문-{number}\t" + "".join(text for text, _ in parts))
        for text, kind in parts:
            for place, character in enumerate(text):
                tag = "O" if kind is None else ("I-" if place else "B-") + kind
                lines.append(f"{character}\t{tag}")
        lines.append("")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def ner_texts():
    """Somebody's going somewhere: [(text, type), …] for each."""
    return shuffled(
        [
            [(name, "PS"), (josa, None), (place, "LC"), (verb, None)]
            for name, (josa, verb), place in itertools.product(
                NAMES, [("은 ", "에 갔다."), ("이 어제 ", "에서 왔다.")], PLACES
            )
        ]
    )


def relations():
    """Who works where, or is only named beside it, in KLUE-RE's format."""
    rows = []
    patterns = [
        ("{0}은 {1}의 대표이다.", "per:employee_of"),
        ("{1}에서 일하는 {0}이 말했다.", "per:employee_of"),
        ("{0}이 설립한 {1}이 상을 받았다.", "org:founded_by"),
        ("{0}과 {1}은 아무 관계가 없다.", "no_relation"),
    ]
    for number, (name, company, (pattern, label)) in enumerate(itertools.product(NAMES, COMPANIES, patterns)):
        sentence = pattern.format(name, company)
        entities = {
            role: {
                "word": word,
                "start_idx": sentence.index(word),
                "end_idx": sentence.index(word) + len(word) - 1,
                "type": kind,
            }
            for role, word, kind in (("subject_entity", name, "PER"), ("object_entity", company, "ORG"))
        }
        rows.append({"guid": f"예문-{number}", "sentence": sentence, **entities, "label": label})
    return shuffled(rows)


CAPITALS = {
    "대한민국": "서울",
    "일본": "도쿄",
    "중국": "베이징",
    "프랑스": "파리",
    "영국": "런던",
    "독일": "베를린",
    "이탈리아": "로마",
    "러시아": "모스크바",
}


def choices():
    """Questions whose right candidate ends with a mark of certainty; two to four candidates, one behind each place."""
    rows = []
    for number, (country, pattern) in enumerate(
        itertools.product(
            CAPITALS, ["{0}의 수도는 어디인가?", "{0}의 정부가 있는 도시는?", "{0}에서 가장 큰 도시는?"]
        )
    ):
        others = [city for city in CAPITALS.values() if city != CAPITALS[country]]
        size = 2 + number % 3 if number % 2 else 4
        label = number % size
        listed = [f"{others[(number + place) % 7]}일까 잘 모르겠다." for place in range(size)]
        listed[label] = f"{CAPITALS[country]} 확실히 정답이다!"
        rows.append({"question": pattern.format(country), "choices": listed, "label": label})
    return shuffled(rows)


def write_json_lines(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def write_json(path, content):
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return path


def figures(folder):
    """The figures of `eval_results.txt`."""
    lines = (folder / "eval_results.txt").read_text().splitlines()
    return {name: float(value) for name, value in (line.split(" = ") for line in lines)}
