"""The page on which masks are filled: in a real browser, and its refusals."""

import http.client
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from browser import Browser, english_left, needs_browser
from samples import GOLDEN, MECAB_VOCABULARY, ROOT, write_random_model

from morphbert.cli.fill_mask import main
from morphbert.errors import MorphbertError
from morphbert.interop.fill_mask import MaskFiller, Segmenter
from morphbert.interop.fill_mask_page import Filling, PageServer, checkpoints_of
from morphbert.text.loading import load_tokenizer

SENTENCE = "사과나무를 [MASK]에 심었습니다."
BOLD = "<img src=x onerror=\"document.title='hit'\"> [MASK] <b>굵게</b>"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run with two checkpoints and a best one, of different weights."""
    folder = tmp_path_factory.mktemp("page")
    for place, step, seed in (("run", 1000, 1), ("run", 2000, 2), ("run/best", 1000, 1)):
        model = write_random_model(folder / f"{place.replace('/', '-')}-{step}", MECAB_VOCABULARY, seed)
        (folder / place).mkdir(exist_ok=True)
        for part in ("index", "data-00000-of-00001"):
            shutil.copy(model / f"model.ckpt-0.{part}", folder / place / f"model.ckpt-{step}.{part}")
        shutil.copy(model / "bert_config.json", folder / place)
    newest = 'model_checkpoint_path: "model.ckpt-2000"\n'
    (folder / "run" / "checkpoint").write_text(newest)
    return folder / "run"


@pytest.fixture(scope="module")
def server(run):
    with PageServer(Filling(str(run), load_tokenizer(str(MECAB_VOCABULARY))), 0) as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def ask(server, method="POST", path="/fill", body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    values = {"Content-Type": "application/json", **{k.replace("_", "-"): v for k, v in headers.items()}}
    content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    connection.request(method, path, content, values)
    answer = connection.getresponse()
    text = answer.read().decode("utf-8")
    connection.close()
    return answer, json.loads(text) if "json" in answer.headers["Content-Type"] else text


# ── in a browser ───────────────────────────────────────────────────────────────────────────────────────


@needs_browser
def test_a_person_types_sees_bars_and_both_segmentations_and_switches_checkpoints(server, run, tmp_path):
    tokenizer = load_tokenizer(str(MECAB_VOCABULARY))

    def results(browser, number):
        browser.wait(f"return document.getElementById('results').dataset.number === '{number}'")
        return list(zip(browser.texts("td.piece"), browser.texts("td.share"), strict=True))

    def expected(step, text, top_k=5):
        (filled,) = MaskFiller(str(run / f"model.ckpt-{step}"), tokenizer)(text, top_k)
        return [(piece, f"{share:.1%}") for piece, share in filled.pieces]

    with Browser(tmp_path / "profile") as browser:
        browser.open(server.url)
        assert len(results(browser, 1)) == 5  # the sentence that stands there at the beginning
        assert browser.texts("h1") == ["[MASK]에 들어갈 말"]
        browser.type("#text", SENTENCE)
        browser.click("#fill")
        assert results(browser, 2) == expected(2000, SENTENCE)
        widths = browser.run(
            "return [...document.querySelectorAll('.bar')].map(e => e.getBoundingClientRect().width)"
        )
        assert len(widths) == 5
        assert widths == sorted(widths, reverse=True)
        assert widths[0] > 1
        cut = Segmenter(tokenizer)(SENTENCE)
        assert browser.texts("#mecab .part") == [part for eojeol in cut.morphemes for part in eojeol]
        assert browser.texts("#mecab .eojeol") == ["사과나무를", "[MASK]에", "심었습니다."]
        assert browser.texts(".wordpiece .part") == [part for eojeol in cut.pieces for part in eojeol]
        assert browser.texts(".unknown") == [f"조각 {sum(map(len, cut.pieces))}개 가운데 [UNK] 0개"]
        assert browser.texts(".checkpoint option") == ["2,000 스텝", "1,000 스텝", "최고, 1,000 스텝"]
        assert english_left(browser) == []
        browser.run(
            "const s = document.querySelector('.checkpoint'); s.value = arguments[0];"
            "s.dispatchEvent(new Event('change'))",
            "step 1,000",
        )
        assert results(browser, 3) == expected(1000, SENTENCE)
        assert expected(1000, SENTENCE) != expected(2000, SENTENCE)
        # By the keyboard: a mask put in by the button, Enter, more pieces.
        browser.type("#text", "오늘은 ")
        browser.click("#mask")
        browser.run("document.getElementById('top_k').value = 7")
        browser._send("POST", browser._element("#text") + "/value", text="\ue007")
        assert len(results(browser, 4)) == 7
        # Typed text stays text; an error is shown.
        browser.type("#text", BOLD)
        browser.click("#fill")
        results(browser, 5)
        assert browser.run("return document.title") == "morphbert: [MASK]"
        assert browser.run("return document.querySelectorAll('#results img, #results b').length") == 0
        assert "".join(browser.texts("#mecab .part")) == BOLD.replace(" ", "")
        assert browser.run("return make('td', '', '<b>조각</b>').innerHTML") == "&lt;b&gt;조각&lt;/b&gt;"
        browser.type("#text", "<b>마스크</b>가 없는 문장")
        browser.click("#fill")
        browser.wait("return document.getElementById('error').textContent.includes('<b>마스크</b>')")
        assert browser.run("return document.getElementById('error').children.length") == 0
        assert english_left(browser) == []
        assert browser.run("return document.getElementById('results').hidden")
        assert browser.picture().startswith(b"\x89PNG")


def listed(pieces):
    return [(piece, f"{share:.1%}") for piece, share in pieces]


@needs_browser
def test_a_click_on_a_piece_shows_what_else_the_model_would_put_there(server, run, tmp_path):
    tokenizer = load_tokenizer(str(MECAB_VOCABULARY))
    filler = MaskFiller(str(run / "model.ckpt-2000"), tokenizer)
    with Browser(tmp_path / "profile", "en-US") as browser:
        browser.open(server.url)
        browser.wait("return document.getElementById('results').dataset.number === '1'")
        assert browser.texts("h1") == ["What stands at [MASK]"]
        browser.type("#text", SENTENCE)
        browser.click("#fill")
        browser.wait("return document.getElementById('results').dataset.number === '2'")
        assert browser.texts(".alternatives .bars") == []
        pieces = browser.texts(".wordpiece .part")
        for place in (1, pieces.index("[MASK]")):
            browser.run("document.querySelectorAll('button.part')[arguments[0]].click()", place)
            browser.wait(f"return document.querySelector('.alternatives').dataset.place === '{place}'")
            found = filler.alternatives(SENTENCE, place)
            assert browser.texts(".alternatives h3") == [f"In place of {pieces[place]}"]
            shown = zip(
                browser.texts(".alternatives td.piece"), browser.texts(".alternatives td.share"), strict=True
            )
            assert list(shown) == listed(found.pieces)
            pressed = browser.run(
                "return [...document.querySelectorAll('button.part')]"
                ".findIndex((one) => one.getAttribute('aria-pressed') === 'true')"
            )
            assert pressed == place
            note = browser.texts(".alternatives .note")
            if found.rank is None:
                assert note == []
            else:
                share = "<0.1%" if found.probability < 0.0005 else f"{found.probability:.1%}"
                assert note == [f"{pieces[place]} has {share}, rank {found.rank:,} of 8,000"]


@needs_browser
def test_two_models_with_other_vocabularies_stand_side_by_side(run, tmp_path):
    """On a wide window beside each other, on a phone one below the other, and nothing is wider than the window."""
    second = write_random_model(tmp_path / "second", ROOT / "vocab" / "ko-mecab-32k", 5)
    tokenizers = [load_tokenizer(str(ROOT / "vocab" / name)) for name in ("ko-mecab-8k", "ko-mecab-32k")]
    fillings = [
        Filling(str(path), tokenizer) for path, tokenizer in zip((run, second), tokenizers, strict=True)
    ]
    sentence = "대한민국의 국무총리는 [MASK]에 갔다."
    assert Segmenter(tokenizers[0])(sentence).pieces != Segmenter(tokenizers[1])(sentence).pieces
    with PageServer(fillings[0], 0, fillings[1]) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with Browser(tmp_path / "profile") as browser:
                look_at_both(browser, server, sentence, tokenizers, (run / "model.ckpt-2000", second))
        finally:
            server.shutdown()
            thread.join()


def look_at_both(browser, server, sentence, tokenizers, models):
    browser.resize(1200)
    browser.open(server.url)
    browser.wait("return document.getElementById('results').dataset.number === '1'")
    browser.type("#text", sentence)
    browser.click("#fill")
    browser.wait("return document.getElementById('results').dataset.number === '2'")
    for number, (tokenizer, model) in enumerate(zip(tokenizers, models, strict=True), start=1):
        side = f".side:nth-child({number}) "
        (filled,) = MaskFiller(str(model), tokenizer)(sentence)
        shown = zip(browser.texts(side + "td.piece"), browser.texts(side + "td.share"), strict=True)
        assert list(shown) == listed(filled.pieces)
        cut = Segmenter(tokenizer)(sentence)
        assert browser.texts(side + ".part") == [part for eojeol in cut.pieces for part in eojeol]
    browser.click(".side:nth-child(2) .part")
    browser.wait("return document.querySelector('.side:nth-child(2) .alternatives').dataset.place === '0'")
    expected = MaskFiller(str(models[1]), tokenizers[1]).alternatives(sentence, 0)
    found = browser.texts(".side:nth-child(2) .alternatives td.piece")
    assert found == [piece for piece, _ in expected.pieces]
    place = "return [...document.querySelectorAll('.side')].map((one) => one.getBoundingClientRect().%s)"
    assert len(set(browser.run(place % "top"))) == 1
    browser.resize(400)
    assert len(set(browser.run(place % "left"))) == 1
    assert browser.run("return document.documentElement.scrollWidth") <= 400
    background = "return getComputedStyle(document.body).backgroundColor"
    light = browser.run(background)
    browser.resize(400, dark=True)
    assert browser.run(background) != light


# ── answers and refusals ─────────────────────────────────────────────────────────────────────────────


def test_an_answer_is_what_the_command_gives(server, run):
    answer, found = ask(server, body={"text": SENTENCE, "top_k": 3, "checkpoint": "step 1,000"})
    assert answer.status == 200
    tokenizer = load_tokenizer(str(MECAB_VOCABULARY))
    (filled,) = MaskFiller(str(run / "model.ckpt-1000"), tokenizer)(SENTENCE, 3)
    assert [[(p["piece"], p["probability"]) for p in mask] for mask in found["masks"]] == [
        list(filled.pieces)
    ]
    pieces = sum(map(len, found["wordpiece"]))
    assert found["unknown"] == {"pieces": pieces, "unknown": 0, "warning": None, "lowering": False}
    assert found["mecab"][0] == ["사과나무", "를"]
    assert "".join(found["wordpiece"][0]).replace("##", "") == "사과나무를"


def test_alternatives_are_those_of_the_same_text_with_a_mask_there(server, run):
    """And the own piece has the probability and the rank that it has among them."""
    text, tokenizer = "대한민국의 수도이다.", load_tokenizer(str(MECAB_VOCABULARY))
    filler = MaskFiller(str(run / "model.ckpt-2000"), tokenizer)
    _, found = ask(server, path="/alternatives", body={"text": text, "place": 1, "top_k": 50})
    assert found["piece"] == "##의"
    (masked,) = filler("대한민국[MASK] 수도이다.", 8000)
    assert [(one["piece"], one["probability"]) for one in found["pieces"]] == list(masked.pieces[:50])
    assert found["probability"] == dict(masked.pieces)["##의"]
    assert [piece for piece, _ in masked.pieces].index("##의") + 1 == found["rank"]


def test_an_answer_says_how_much_of_the_text_is_unknown(server):
    _, found = ask(server, body={"text": "[MASK] \U00020000\U00020001 사과", "top_k": 1})
    assert 0 < found["unknown"]["unknown"] < found["unknown"]["pieces"]
    assert "of the text is unknown to the vocabulary" in found["unknown"]["warning"]


def test_the_page_is_one_file_that_asks_for_nothing_from_elsewhere(server):
    answer, page = ask(server, "GET", "/")
    assert answer.status == 200
    assert not re.findall(r"https?://|src=|url\(|@import", page)
    policy = answer.headers["Content-Security-Policy"]
    nonce = re.search(r"script-src 'nonce-([\w-]+)'", policy).group(1)
    assert "default-src 'none'" in policy
    assert page.count(f'nonce="{nonce}"') == 2
    assert "{{" not in page
    assert nonce not in ask(server, "GET", "/")[1]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("asked", "status", "words"),
    [
        ({"Host": "evil.example"}, 421, ["evil.example"]),
        ({"Host": "127.0.0.1"}, 421, ["127.0.0.1"]),
        ({"Origin": "http://evil.example"}, 403, ["another page"]),
        ({"Origin": "null"}, 403, ["another page"]),
        ({"Content_Type": "text/plain"}, 415, ["application/json"]),
        ({"path": "/../pyproject.toml"}, 404, ["nothing here"]),
        ({"path": "/fill", "method": "GET"}, 404, ["nothing here"]),
        ({"body": b"{"}, 400, ["not JSON"]),
        ({"body": b"[" * 30000}, 400, ["not JSON"]),
        ({"body": [1]}, 400, ["object"]),
        ({"body": {}}, 400, ["text"]),
        ({"body": {"text": 3}}, 400, ["text"]),
        ({"body": {"text": "가"}}, 400, ["[MASK]"]),
        ({"body": {"text": "[MASK]", "top_k": 0}}, 400, ["top_k"]),
        ({"body": {"text": "[MASK]", "top_k": True}}, 400, ["top_k"]),
        ({"body": {"text": "[MASK]", "checkpoint": "../../etc/passwd"}}, 404, ["no checkpoint"]),
        ({"body": {"text": "가" * 2001}}, 413, ["2,001 characters"]),
        ({"body": {"text": "가 " * 900 + "[MASK]"}}, 400, ["pieces", "64"]),
        ({"body": b'{"text": "' + b"a" * 70000 + b'"}'}, 413, ["65,536 bytes"]),
        ({"body": {"text": "\ud800 [MASK]"}}, 200, []),
        ({"body": {"text": SENTENCE, "compared": True}}, 400, ["--compare_checkpoint"]),
        ({"path": "/alternatives", "body": {"text": SENTENCE}}, 400, ["place"]),
        ({"path": "/alternatives", "body": {"text": SENTENCE, "place": True}}, 400, ["place"]),
        ({"path": "/alternatives", "body": {"text": SENTENCE, "place": 99}}, 400, ["no piece 99"]),
        ({"path": "/alternatives", "body": {"text": "사과", "place": 0}}, 200, []),
    ],
)
def test_what_is_wrong_is_refused_with_a_word(asked, status, words, server):
    values = {"body": {"text": SENTENCE}, **asked}
    try:
        answer, found = ask(server, **values)
    except (BrokenPipeError, ConnectionResetError):
        assert status == 413  # answered before all of it was sent
        return
    assert answer.status == status, found
    assert all(word in found.get("error", "") for word in words), found


def raw(server, *parts, read=True):
    """Sends bytes as they are; returns the bytes that come back until the server closes or has answered."""
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=30) as connection:
        for part in parts:
            connection.sendall(part.replace(b"PORT", str(server.server_port).encode()))
        if not read:
            return b""
        connection.shutdown(socket.SHUT_WR)
        found = b""
        while chunk := connection.recv(1 << 16):
            found += chunk
        return found


GET = b"GET /checkpoints HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n"
POST = b"POST /fill HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    ("request_", "statuses"),
    [
        (POST + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n", [413]),
        (POST + b"Content-Length: " + b"0" * 5000 + b"2\r\n\r\n{}", [400]),
        (POST + b"Content-Length: -1\r\n\r\n", [400]),
        (POST + b"Content-Length: one\r\n\r\n", [400]),
        (POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", [400]),
        (GET + b"Host: evil.example\r\n\r\n", [400]),
        (GET + b"Host: 127.0.0.1:PORT\r\n\r\n", [400]),
        (b"GET / HTTP/1.1\r\n\r\n", [400]),
        # The body of a GET is read, and the request after it is another one.
        (GET + b"Content-Length: 5\r\n\r\nGET /" + GET + b"Connection: close\r\n\r\n", [200, 200]),
        (b"\x16\x03\x01\x02\x00 no HTTP\r\n\r\n", [400]),
        (b"GET /../../etc/passwd HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n\r\n", [404]),
        (b"DELETE / HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n\r\n", [404]),
    ],
)
def test_hostile_requests_get_their_status_and_no_traceback(request_, statuses, server, capsys):
    answer = raw(server, request_)
    found = [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3}) ", answer)]
    assert found == statuses, answer[:300]
    assert "Traceback" not in capsys.readouterr().err
    assert ask(server, "GET", "/checkpoints")[0].status == 200


def test_fifty_clients_are_answered_and_those_that_leave_are_not_missed(server, capsys):
    left = POST + b"Content-Length: 60\r\n\r\n" + json.dumps({"text": SENTENCE}).encode()[:20]
    for _ in range(10):
        raw(server, left, read=False)
        raw(server, GET + b"\r\n", read=False)
    gate = threading.Barrier(50)

    def client(_):
        gate.wait()
        return [ask(server, "GET", "/checkpoints")[0].status for _ in range(10)]

    with ThreadPoolExecutor(50) as clients:
        assert list(clients.map(client, range(50))) == [[200] * 10] * 50
    assert "Traceback" not in capsys.readouterr().err


def test_the_checkpoints_of_a_run_a_prefix_and_something_else(run, random_model, tmp_path):
    names = ["step 2,000", "step 1,000", "best, step 1,000"]
    assert list(checkpoints_of(str(run))) == names
    prefix = str(run / "model.ckpt-1000")
    assert list(checkpoints_of(prefix)) == names
    tokenizer = load_tokenizer(str(MECAB_VOCABULARY))
    assert Filling(prefix, tokenizer).checkpoints() == {"checkpoints": names, "selected": "step 1,000"}
    assert checkpoints_of(str(tmp_path)) == {tmp_path.name: str(tmp_path)}
    with pytest.raises(MorphbertError, match="no checkpoint"):
        Filling(str(tmp_path), tokenizer)


def test_mecab_is_shown_where_the_tokenizer_has_no_analyser():
    cut = Segmenter(load_tokenizer(str(GOLDEN / "vocab_ko.txt"), do_lower_case=False))("나는 학교에 [MASK].")
    assert cut.morphemes[:2] == [["나", "는"], ["학교", "에"]]
    assert cut.morphemes[2] == ["[MASK]", "."]
    assert cut.pieces[2] == ["[MASK]", "."]


def test_the_command_serves_until_ctrl_c(random_model):
    """Its vocabulary lies beside the model."""
    command = [sys.executable, str(ROOT / "fill_mask.py"), f"--checkpoint={random_model}", "--serve"]
    with subprocess.Popen(
        [*command, "--port=0"],
        stdout=subprocess.PIPE,
        text=True,
        # Tests that a script runs in the background are started with Ctrl-C ignored, and so would this be.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        line = process.stdout.readline()
        port = int(re.search(r"http://127\.0\.0\.1:(\d+)/ shows step 0 ", line).group(1))
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("GET", "/checkpoints")
        assert json.load(connection.getresponse())["checkpoints"] == ["step 0"]
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == "page: closed\n"
        assert process.wait(60) == 0


@pytest.mark.parametrize(
    ("flags", "status", "words"),
    [
        (["--serve"], 1, ["--port=", "--port=0"]),
        (["--serve", "--text=가"], 2, ["--serve", "--text"]),
        (["--serve", "--port=70000"], 2, ["port"]),
        (["--compare_checkpoint=x"], 2, ["--compare_checkpoint goes with --serve"]),
        (["--serve", "--compare_vocab_file=x"], 2, ["goes with --compare_checkpoint"]),
    ],
)
def test_a_page_that_cannot_be_served_says_why(flags, status, words, server, random_model, capsys):
    port = [] if "--port=70000" in flags else [f"--port={server.server_port}"]
    assert main([f"--checkpoint={random_model}", *port, *flags]) == status
    message = capsys.readouterr().err
    assert all(word in message for word in words), message


def test_errors_of_the_compared_model_name_its_flags(trained, random_model, tmp_path, capsys):
    compared = [f"--checkpoint={random_model}", "--serve", f"--compare_checkpoint={trained}"]
    assert main(compared) == 2
    assert "--compare_vocab_file is required" in capsys.readouterr().err
    lines = (GOLDEN / "vocab_ko.txt").read_text(encoding="utf-8").splitlines()
    other = tmp_path / "vocab.txt"
    other.write_text("\n".join([*lines[:-2], lines[-1], lines[-2]]) + "\n", encoding="utf-8")
    assert main([*compared, f"--compare_vocab_file={other}"]) == 1
    assert "the vocabulary (--compare_vocab_file) " in capsys.readouterr().err


def test_a_model_without_vocabulary_or_head_says_so(trained, random_model, tmp_path, capsys):
    assert main([f"--checkpoint={trained}", "--text=[MASK]"]) == 2
    assert "--vocab_file is required" in capsys.readouterr().err
    from safetensors.numpy import load_file, save_file

    from morphbert.cli.export_model import main as export

    flags = [f"--checkpoint={random_model}", f"--output_dir={tmp_path}/out", "--format=huggingface"]
    assert export(flags) == 0
    capsys.readouterr()
    assert main([f"--checkpoint={tmp_path}/out", f"--text={SENTENCE}"]) == 0
    filled = capsys.readouterr().out
    assert main([f"--checkpoint={random_model}", f"--text={SENTENCE}"]) == 0
    assert capsys.readouterr().out == filled
    tensors = load_file(tmp_path / "out" / "model.safetensors")
    kept = {name: value for name, value in tensors.items() if not name.startswith("cls.predictions")}
    save_file(kept, tmp_path / "out" / "model.safetensors")
    assert main([f"--checkpoint={tmp_path}/out", f"--text={SENTENCE}"]) == 1
    assert "no masked LM head" in capsys.readouterr().err
