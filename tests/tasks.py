"""Korean sentences made up for the tests of fine-tuning, and a tiny model's flags for them."""

import itertools
import json

import numpy as np
from samples import MECAB_VOCABULARY

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


def write_json(path, content):
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return path


def figures(folder):
    """What `eval_results.txt` says."""
    lines = (folder / "eval_results.txt").read_text().splitlines()
    return {name: float(value) for name, value in (line.split(" = ") for line in lines)}
