"""prepare_corpus.py: every input format, filters, shards, the report, and errors."""

import bz2
import csv
import gzip
import io
import json
import lzma
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from samples import ROOT

from morphbert.cli.prepare_corpus import main

TEXT = "첫째다. 둘째다.\n셋째다.\n\n새 문서다.\n"
SENTENCES = "첫째다.\n둘째다.\n셋째다.\n\n새 문서다.\n"
DOCUMENTS = ["첫째다. 둘째다.\n셋째다.", "새 문서다."]


def _zst(data):
    from backports import zstd

    return zstd.compress(
        data, options={zstd.CompressionParameter.checksum_flag: 1}
    )  # as the command zstd does


PACKERS = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": _zst}


@pytest.fixture
def run(tmp_path):
    def run(content, *flags, name="in.txt", output="out.txt", status=0):
        (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
        flags = [f"--input_file={tmp_path / name}", f"--output_file={tmp_path / output}", *flags]
        assert main(["--num_workers=1", *flags]) == status
        return (tmp_path / output).read_bytes() if status == 0 else (tmp_path / output).exists()

    return run


def test_documents_of_plain_text(run, capsys):
    written = run("\n첫째다. 둘째다.\n셋째\u200b다.\n\n  \n\n새  문서다.\n")
    assert written.decode() == SENTENCES
    assert "wrote 2 documents with 4 sentences (18 characters)" in capsys.readouterr().out


def test_lines_may_be_sentences_already(run):
    assert run("첫째다. 둘째다.\n셋째다.\n", "--splitter=line").decode() == "첫째다. 둘째다.\n셋째다.\n"


@pytest.mark.parametrize("name", ["in.jsonl", "in.jsonl.gz", "in.json"])
def test_documents_of_json_lines(run, name):
    rows = [{"text": "가다. 나다.\n다다."}, {"text": ""}, {"text": None}, {"text": "끝 \ud800"}]
    content = "\n".join(map(json.dumps, rows)).encode()
    written = run(gzip.compress(content) if name.endswith("gz") else content, name=name)
    assert written.decode() == "가다.\n나다.\n다다.\n\n끝 \ufffd\n"


def test_nested_fields_and_compressed_output(run):
    row = json.dumps({"id": 1, "article": {"body": {"ko": "본문이다."}}})
    flags = ["--text_field=article.body.ko", "--format=jsonl"]
    written = run(row, *flags, output="out.txt.gz")
    assert gzip.decompress(written).decode() == "본문이다.\n"
    assert written == run(row, *flags, output="out2.txt.gz")


def test_several_fields_lists_and_names_with_dots(run):
    row = json.dumps({"title": "제목", "paragraphs": [{"form": "가다."}, {"form": "나다."}], "a.b": "다다."})
    assert run(row, "--text_field=title,paragraphs.form,a.b", name="in.jsonl").decode() == (
        "제목\n가다.\n나다.\n다다.\n"
    )


def _table(rows, **options):
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n", **options).writerows(rows)
    return "\ufeff" + text.getvalue()


@pytest.mark.parametrize("flags", [["--text_field=본문"], ["--text_field=2", "--noheader"]])
def test_columns_of_csv(run, flags):
    rows = [["id", "본문", "label"], *([str(n), text, "1"] for n, text in enumerate(DOCUMENTS))]
    rows.append(["3", '그는 "응, 그래."라고\n했다. ' + "가" * 200_000, ""])
    written = run(_table(rows), *flags, name="in.csv").decode()
    expected = SENTENCES + '\n그는 "응, 그래."라고\n했다.\n' + "가" * 200_000 + "\n"
    assert written == ("본문\n\n" + expected if "--noheader" in flags else expected)


def test_columns_of_tsv_are_not_quoted(run):
    content = 'id\tdocument\tlabel\n1\t"첫째다. 둘째다.\t0\n\n2\t그"래"\t1\n'
    assert run(content, "--text_field=document", name="ratings.tsv").decode() == (
        '"첫째다.\n둘째다.\n\n그"래"\n'
    )


WIKI = """<doc id="1" url="https://ko.wikipedia.org/wiki?curid=1" title="&quot;사과&quot; &amp; 배">
"사과" &amp; 배

사과는 과일이다. 배도 &lt;과일&gt;이다.

역사가 길다.

</doc>
<doc id="2" url="https://ko.wikipedia.org/wiki?curid=2" title="빈 문서">
빈 문서

</doc>
<doc id="3" url="" title="서울">
서울

서울은 수도이다.
</doc>
"""
WIKI_SENTENCES = "사과는 과일이다.\n배도 <과일>이다.\n역사가 길다.\n\n서울은 수도이다.\n"


@pytest.mark.parametrize(
    ("name", "flags"), [("wiki_00", []), ("wiki.txt", []), ("a", ["--format=wikiextractor"])]
)
def test_wikiextractor(run, name, flags):
    assert run(WIKI, *flags, name=name).decode() == WIKI_SENTENCES


def test_wikiextractor_writes_json_too(run):
    pages = [
        ("사과", "사과는 과일이다. 배도 &lt;과일&gt;이다.\n역사가 길다.\n"),
        ("빈", ""),
        ("서울", "서울은 수도이다."),
    ]
    rows = [{"id": "1", "revid": "9", "url": "", "title": title, "text": text} for title, text in pages]
    content = bz2.compress("\n".join(json.dumps(row) for row in rows).encode())
    written = run(content, "--remove_html", name="wiki_00.bz2")
    assert written.decode() == WIKI_SENTENCES
    assert written == run(content, "--remove_html", "--format=wikiextractor", name="wiki_00.bz2")


@pytest.mark.parametrize("ending", PACKERS)
def test_compressed_input(run, ending):
    assert run(PACKERS[ending](TEXT.encode()), name="글.txt" + ending).decode() == SENTENCES


@pytest.mark.parametrize("ending", [".gz", ".bz2", ".xz", ".zst"])
def test_damaged_compressed_input(run, capsys, ending):
    text = "".join(f"{number}번째 문서다.\n\n" for number in range(5000)).encode()
    packed = PACKERS[ending](text)
    broken = bytearray(packed)
    broken[len(packed) // 2] ^= 0xFF
    for content in (packed[: len(packed) // 2], packed[:-3], bytes(broken), b"plain text\n"):
        assert run(content, name="글.txt" + ending, status=1) is False
        message = capsys.readouterr().err
        assert re.search(r"글\.txt\.\w+ cannot be read after line \d+: .*Is the file complete", message)


def test_standard_input(tmp_path):
    command = [sys.executable, ROOT / "prepare_corpus.py", "--input_file=-", "--num_workers=2"]
    for content, flags in ((TEXT, []), ("\n".join(json.dumps({"text": t}) for t in DOCUMENTS), [])):
        done = subprocess.run(
            [*command, f"--output_file={tmp_path}/out.txt", *flags],
            input=content.encode(),
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "out.txt").read_text(encoding="utf-8") == SENTENCES


NUMBERED = "\n".join(f"{number}번째 문서다. 길지 않다.\n" for number in range(100))


def test_workers_change_nothing(run, monkeypatch, tmp_path):
    monkeypatch.setattr("morphbert.corpus.preparation._BLOCK_CHARACTERS", 50)
    flags = ["--near_duplicates=0.7", "--min_characters=14", "--report_file"]
    one = run(NUMBERED, *flags, str(tmp_path / "one.json"))
    assert one == run(NUMBERED, *flags, str(tmp_path / "three.json"), "--num_workers=3", output="other.txt")
    reports = [
        json.loads((tmp_path / name).read_text(encoding="utf-8")) for name in ("one.json", "three.json")
    ]
    for report in reports:
        del report["settings"]
    assert reports[0] == reports[1]


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("ending", ["", ".gz"])
def test_shards_are_the_one_file_in_pieces(run, tmp_path, monkeypatch, workers, ending):
    monkeypatch.setattr("morphbert.corpus.preparation._BLOCK_CHARACTERS", 200)
    whole = run(NUMBERED)
    flags = [f"--input_file={tmp_path / 'in.txt'}", f"--output_file={tmp_path / 's.txt'}{ending}"]
    assert main([*flags, "--num_shards=4", f"--num_workers={workers}"]) == 0
    names = sorted(path.name for path in tmp_path.glob("s.txt-*"))
    assert names == [f"s.txt-{number:05d}-of-00004{ending}" for number in range(4)]
    parts = [(tmp_path / name).read_bytes() for name in names]
    parts = [gzip.decompress(part) if ending else part for part in parts]
    assert b"".join(parts) == whole
    assert all(part.endswith(b"\n\n") for part in parts[:-1])
    assert max(map(len, parts)) - min(map(len, parts)) < 200


def test_shards_of_another_number_are_not_mixed(tmp_path, capsys):
    (tmp_path / "in.txt").write_text(TEXT, encoding="utf-8")
    flags = [f"--input_file={tmp_path / 'in.txt'}", f"--output_file={tmp_path / 's'}"]
    assert main([*flags, "--num_shards=3"]) == main([*flags, "--num_shards=3"]) == 0
    assert main([*flags, "--num_shards=2"]) == 2
    assert "s-00000-of-00003 is from an earlier run" in capsys.readouterr().err
    assert len(list(tmp_path.glob("s-*"))) == 3


@pytest.mark.parametrize(
    "flag", ["--output_file={}/in.txt/out", "--output_file={}/in.txt/out --num_shards=2"]
)
@pytest.mark.parametrize("report", ["", "--report_file={}/in.txt/r.md"])
def test_a_place_that_cannot_be_written_is_said_at_once(tmp_path, capsys, flag, report):
    (tmp_path / "in.txt").write_text(TEXT, encoding="utf-8")
    flags = f"--input_file={{}}/in.txt {flag} {report}".format(*[tmp_path] * 3).split()
    assert main(flags) == 1
    assert "cannot be written" in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["in.txt"]


def test_more_shards_than_documents(tmp_path):
    (tmp_path / "in.txt").write_text(TEXT, encoding="utf-8")
    flags = [f"--input_file={tmp_path / 'in.txt'}", f"--output_file={tmp_path / 's'}", "--num_shards=9"]
    assert main(flags) == 0
    parts = [path.read_text(encoding="utf-8") for path in sorted(tmp_path.glob("s-*"))]
    assert len(parts) == 9
    assert "".join(parts) == SENTENCES


def test_what_is_left_out_is_said(run, capsys, tmp_path):
    text = "같은 글이다.\n\n같은  글이다.\n\n짧다.\n\nonly English text here.\n\n정말 재밌다ㅋㅋㅋㅋㅋㅋ 1000000원\n"
    flags = ["--drop_duplicates", "--min_characters=5", "--min_hangul_share=0.3", "--max_repeats=2"]
    assert run(text, *flags).decode() == "같은 글이다.\n\n정말 재밌다ㅋㅋ\n1000000원\n"
    assert "(left out: duplicate: 1, too short: 1, too little Hangul: 1)" in capsys.readouterr().out
    report = (tmp_path / "out.txt.report.md").read_text(encoding="utf-8")
    source = tmp_path / "in.txt"
    assert f"- {source}, line 3: `같은 글이다.` (of {source}, line 1)" in report
    assert f"- {source}, line 5: `짧다.` (3 characters)" in report
    assert f"- {source}, line 7: `only English text here.` (0%)" in report
    assert "| too short | 1 | 20.00% | 3 |" in report
    assert "| long run | 1 |" in report
    assert "`ㅋㅋㅋㅋㅋㅋ`" in report
    assert "- `--max_repeats=2`" in report


def test_more_filters_and_the_report_as_json(run, tmp_path):
    text = "한 문장뿐이다.\n\n하나다. 둘이다.\n\n" + "길다. " * 50 + "\n"
    flags = ["--min_sentences=2", "--max_characters=100", f"--report_file={tmp_path / 'r.json'}"]
    assert run(text, *flags).decode() == "하나다.\n둘이다.\n"
    report = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert report["dropped"] == {
        "too few sentences": {"documents": 1, "characters": 8},
        "too long": {"documents": 1, "characters": 150},
    }
    assert (report["read"], report["documents"], report["sentences"], report["characters"]) == (3, 1, 2, 8)
    assert "한 문장뿐이다." in (tmp_path / "r.json").read_text(encoding="utf-8")


def test_broken_documents_can_be_left_out(run, capsys, tmp_path):
    rows = ['{"text": "가다."}', '{"text": ', '{"body": "나다."}', "[1]", '{"text": "다다."}']
    assert run("\n".join(rows), "--skip_unreadable", name="in.jsonl").decode() == "가다.\n\n다다.\n"
    assert "not readable: 3" in capsys.readouterr().out
    report = (tmp_path / "out.txt.report.md").read_text(encoding="utf-8")
    assert 'in.jsonl, line 2: `{"text":`' in report


def test_a_text_without_empty_lines_is_divided(run, monkeypatch, tmp_path):
    monkeypatch.setattr("morphbert.formats.plain_text._LONGEST_DOCUMENT", 30)
    text = "".join(f"{number}번째 문장이다.\n" for number in range(10))
    written = run(text).decode()
    assert written.replace("\n\n", "\n") == text
    assert written.count("\n\n") == 2
    assert "2 documents were too long" in (tmp_path / "out.txt.report.md").read_text(encoding="utf-8")


def test_a_glob_does_not_read_the_report(run, tmp_path):
    run(TEXT, output="corpus.txt")
    assert (tmp_path / "corpus.txt.report.md").exists()
    assert main([f"--input_file={tmp_path}/corpus*", f"--output_file={tmp_path}/again"]) == 0
    assert (tmp_path / "again").read_text(encoding="utf-8") == SENTENCES


TSV = ["--text_field=document"]


@pytest.mark.parametrize(
    ("name", "content", "flags", "message"),
    [
        ("in.txt", "\n \n", [], "no document of 1 file(s) is kept"),
        ("in.txt", '{"text": "가"}\n{"text": ', ["--format=jsonl"], "in.txt, line 2: not JSON"),
        ("in.jsonl", '{"body": "가"}', [], "line 1: there is no field 'text' (found: body)"),
        ("in.jsonl", '\n{"a": {"b": 1}}', ["--text_field=a.c"], "line 2: there is no field 'a.c' (found: b)"),
        ("in.jsonl", '{"a": "가"}', ["--text_field=a.b"], "no field 'a.b' (found: str)"),
        ("in.jsonl", '{"text": 3}', [], "contains int, not text"),
        ("in.jsonl", '["가"]', [], "example 1: a text, where an object"),
        ("in.jsonl", "[" * 100_000, [], "line 1: not JSON"),
        ("in.txt", "가나다\n".encode("cp949"), [], "in.txt, line 1: not UTF-8"),
        ("in.txt", "가나다\n", ["--min_characters=9"], "too short: 1"),
        ("in.tsv", "id\ttext\n1\t가\n", TSV, "line 1: there is no column 'document' (found: 'id', 'text')"),
        ("in.tsv", "id\tdocument\n1\t가\n2\n", TSV, "line 3: 1 columns, where the first line has 2"),
        ("in.csv", "1,가\n", ["--text_field=3", "--noheader"], "no column '3' (found: 2 columns)"),
        ("in.csv", 'id,document\n1,"가\n나"\n2,"다\n', TSV, "line 4: not CSV"),
        (
            "in.csv",
            'id,document\n1,"가\n나"\n2,다,라\n',
            TSV,
            "line 4: 3 columns, where the first line has 2",
        ),
        ("wiki_00", WIKI[:-8], [], "line 13: this <doc> has no end"),
        ("wiki_00", WIKI + "끝", [], "there is text outside of <doc …>"),
    ],
)
def test_bad_input_leaves_no_output(run, capsys, name, content, flags, message):
    assert run(content, *flags, name=name, status=1) is False
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--text_field=본문", "--noheader"], "columns are numbers from 1"),
        (["--text_field=a,,b"], "--text_field is empty"),
        (["--output_file=out.txt.zst"], "the only compression of output is .gz"),
        (["--output_file={input}"], "the output {input} is --input_file={input}"),
        (["--report_file={input}"], "the output {input} is --input_file={input}"),
        (["--input_file=-,{input}"], "cannot be combined with files"),
        (["--min_characters=9", "--max_characters=8"], "is less than"),
        (["--near_duplicates=1.5"], "near_duplicates"),
        (["--splitter=pecab"], "splitter"),
    ],
)
def test_wrong_use_is_explained(tmp_path, capsys, flags, message):
    source = tmp_path / "in.txt"
    source.write_text(TEXT, encoding="utf-8")
    flags = [flag.format(input=source) for flag in flags]
    assert main([f"--input_file={source}", f"--output_file={tmp_path / 'out.txt'}", *flags]) == 2
    assert message.format(input=source) in capsys.readouterr().err
    assert sorted(os.listdir(tmp_path)) == ["in.txt"]


@pytest.mark.parametrize("shards", [[], ["--num_shards=3"]])
def test_a_kill_leaves_what_was_there(tmp_path, shards):
    outputs = (
        [tmp_path / "out.txt"] if not shards else [tmp_path / f"out.txt-{n:05d}-of-00003" for n in range(3)]
    )
    for path in outputs:
        path.write_text("what an earlier run wrote\n", encoding="utf-8")
    command = [sys.executable, ROOT / "prepare_corpus.py", "--input_file=-", "--num_workers=2", *shards]
    process = subprocess.Popen(
        [*command, f"--output_file={tmp_path / 'out.txt'}"], stdin=subprocess.PIPE, start_new_session=True
    )
    for _ in range(20):
        process.stdin.write(NUMBERED.encode() * 100)
    process.stdin.flush()
    deadline = time.monotonic() + 30
    while not shards and not list(tmp_path.glob(".out.txt*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    process.stdin.close()
    assert all(path.read_text(encoding="utf-8") == "what an earlier run wrote\n" for path in outputs)
    done = subprocess.run(
        [*command, f"--output_file={tmp_path / 'out.txt'}"], input=NUMBERED.encode(), check=False
    )
    assert done.returncode == 0
    left = [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]
    assert left == []
    assert "".join(path.read_text(encoding="utf-8") for path in outputs).count("\n\n") == 99
