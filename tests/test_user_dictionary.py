"""--user_dictionary: words of one's own win over the dictionary's, travel with the folder, and are checked."""

import json
import pickle
import shutil

import pytest

from morphbert.cli.build_vocab import main
from morphbert.errors import MorphbertError
from morphbert.text.analyzers import MARK, USER_DICTIONARY_NAME, MecabAnalyzer
from morphbert.text.loading import load_tokenizer, make_analyzer
from morphbert.text.normalize import Normalizer
from morphbert.text.user_dictionary import compile_user_dictionary

TEXT = "완전 갑분싸였어. 존버는 승리한다, 의존버스도 탔다."


@pytest.fixture
def words(tmp_path):
    path = tmp_path / "내 낱말, 새것.csv"  # a path as people have them
    path.write_text("# 신조어\n갑분싸\n\n존버,NNG\n갑분싸\n", encoding="utf-8")
    return str(path)


def test_neologisms_win_and_other_words_stay(words):
    compiled = compile_user_dictionary(words, Normalizer())
    plain = MecabAnalyzer().mark(TEXT).replace(MARK, "|")
    assert "갑|분|싸였|어|" in plain
    assert "존|버|는|" in plain
    analyzer = MecabAnalyzer(user_dictionary=compiled)
    marked = analyzer.mark(TEXT)
    assert marked.replace(MARK, "|").startswith("완전| 갑분싸|였|어|.| 존버|는| 승리|한다|,| 의존|버스|도| ")
    assert pickle.loads(pickle.dumps(analyzer)).mark(TEXT) == marked
    assert MecabAnalyzer().mark(TEXT).replace(MARK, "|") == plain


def test_forms_of_a_line_and_the_same_bytes_for_the_same_words(tmp_path):
    forms = {
        "short": "존버,NNG\n갑분싸\n",
        "with costs": "갑분싸,NNP,0\n존버,NNG,0\n",
        "mecab-ko-dic": "존버,,,,NNG,*,F,존버,*,*,*,*,*\n갑분싸,,,,NNP,*,F,갑분싸,*,*,*,*\n",
        "decomposed": "존버,NNG\n갑분싸\n",
    }
    compiled = set()
    for name, text in forms.items():
        path = tmp_path / f"{name}.csv"
        path.write_text(text, encoding="utf-8")
        compiled.add(compile_user_dictionary(str(path), Normalizer()))
    assert len(compiled) == 1


def test_words_are_lower_cased_as_the_text_is(tmp_path):
    path = tmp_path / "w.csv"
    path.write_text("BERT코,NNG\n", encoding="utf-8")
    lower = Normalizer("nfc", do_lower_case=True)
    analyzer = MecabAnalyzer(user_dictionary=compile_user_dictionary(str(path), lower))
    assert analyzer.mark(lower("BERT코를")) == f"bert코{MARK}를{MARK}"


def test_a_costly_word_loses(tmp_path):
    path = tmp_path / "w.csv"
    path.write_text("사과나,NNG,32000\n", encoding="utf-8")
    analyzer = MecabAnalyzer(user_dictionary=compile_user_dictionary(str(path), Normalizer()))
    assert analyzer.mark("사과나무를") == f"사과나무{MARK}를{MARK}"


def test_the_folder_carries_its_words_and_refuses_others(words, tmp_path):
    (tmp_path / "c.txt").write_text(f"{TEXT}\n" * 30, encoding="utf-8")
    folder = tmp_path / "v"
    flags = [
        f"--input_file={tmp_path / 'c.txt'}",
        f"--vocab_dir={folder}",
        "--vocab_size=120",
        "--num_workers=2",
    ]
    assert main([*flags, f"--user_dictionary={words}"]) == 0
    metadata = json.loads((folder / "morphbert_tokenizer.json").read_text(encoding="utf-8"))
    assert metadata["format_version"] == 2
    assert metadata["analyzer"]["user_dictionary"]["size"] == (folder / USER_DICTIONARY_NAME).stat().st_size
    moved = tmp_path / "moved"
    shutil.copytree(folder, moved)
    assert load_tokenizer(str(moved)).tokenize("갑분싸였어") == ["갑분싸", "##였", "##어"]
    (moved / USER_DICTIONARY_NAME).write_bytes(compile_user_dictionary(other(tmp_path), Normalizer()))
    with pytest.raises(MorphbertError, match=r"user_dictionary\.dic.*Copy the folder again"):
        load_tokenizer(str(moved))
    (moved / USER_DICTIONARY_NAME).unlink()
    with pytest.raises(MorphbertError, match=r"user_dictionary\.dic"):
        load_tokenizer(str(moved))


def other(tmp_path):
    (tmp_path / "other.csv").write_text("떡상\n", encoding="utf-8")
    return str(tmp_path / "other.csv")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("존버,NOUN", "no tag 'NOUN'"),
        ("존버,NNG,cheap", "invalid literal"),
        ("존 버,NNG", "space, comma or quotation"),
        (",NNG", "the word is empty"),
        ("존버,1,2,3,4", "5 fields"),
    ],
)
def test_lines_that_are_no_entries(tmp_path, line, message):
    path = tmp_path / "w.csv"
    path.write_text(f"갑분싸\n{line}\n", encoding="utf-8")
    with pytest.raises(MorphbertError, match=f"line 2: .*{message}"):
        compile_user_dictionary(str(path), Normalizer())


def test_no_words_and_no_mecab(tmp_path):
    path = tmp_path / "w.csv"
    path.write_text("# 없음\n", encoding="utf-8")
    with pytest.raises(MorphbertError, match="contains no words"):
        compile_user_dictionary(str(path), Normalizer())
    with pytest.raises(MorphbertError, match="--analyzer=mecab"):
        make_analyzer("none", user_dictionary=b"x")
