"""A real browser for tests: Debian's headless Chromium, driven through its chromedriver (W3C WebDriver, plain HTTP)."""

import base64
import json
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request

import pytest

CHROMIUM, CHROMEDRIVER = shutil.which("chromium"), shutil.which("chromedriver")
# No connection of its own to anywhere, and as root no sandbox.
FLAGS = (
    "headless no-sandbox disable-gpu disable-quic no-first-run disable-background-networking "
    "disable-component-update disable-sync disable-dev-shm-usage window-size=900,1000"
)
needs_browser = pytest.mark.skipif(
    not (CHROMIUM and CHROMEDRIVER),
    reason="there is no chromium with chromedriver (Debian: apt-get install chromium chromium-driver)",
)
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


class Browser:
    """One session; also a context manager, which ends it."""

    def __init__(self, profile, language="ko-KR"):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self._driver = subprocess.Popen(
            [CHROMEDRIVER, f"--port={self._port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        flags = [f"--{flag}" for flag in FLAGS.split()] + [f"--user-data-dir={profile}", f"--lang={language}"]
        options = {"binary": CHROMIUM, "args": flags, "prefs": {"intl.accept_languages": language}}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options}
        self._session = ""
        try:
            for _ in range(100):
                try:
                    self._send("GET", "/status")
                    break
                except OSError:
                    time.sleep(0.1)
            made = self._send("POST", "/session", capabilities={"alwaysMatch": wanted})
        except BaseException:
            self._driver.kill()
            raise
        self._session = f"/session/{made['sessionId']}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self._send("DELETE", "")
        finally:
            self._driver.terminate()
            self._driver.wait(20)

    def _send(self, method, path, **body):
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._port}{self._session}{path}",
            json.dumps(body).encode() if method == "POST" else None,
            {"Content-Type": "application/json"},
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(json.load(error)["value"]["message"]) from None

    def resize(self, width, height=1000, dark=False):
        """Shows pages as on a screen of this size in CSS pixels, narrower than a window can be, light or dark."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        for name, params in (
            ("setDeviceMetricsOverride", size),
            ("setEmulatedMedia", {"features": [scheme]}),
        ):
            self._send("POST", "/goog/cdp/execute", cmd=f"Emulation.{name}", params=params)

    def open(self, url):
        self._send("POST", "/url", url=url)

    def run(self, script, *arguments):
        """Runs JavaScript in the page; returns its value."""
        return self._send("POST", "/execute/sync", script=script, args=list(arguments))

    def wait(self, script, seconds=60):
        """Waits until JavaScript returns something true; that."""
        end = time.monotonic() + seconds
        while not (value := self.run(script)):
            assert time.monotonic() < end, f"not within {seconds} s: {script}"
            time.sleep(0.05)
        return value

    def _element(self, selector):
        found = self._send("POST", "/element", using="css selector", value=selector)
        return f"/element/{found[_ELEMENT]}"

    def click(self, selector):
        self._send("POST", self._element(selector) + "/click")

    def type(self, selector, text):
        """Replaces the text of a field by the text that a person types."""
        element = self._element(selector)
        self._send("POST", element + "/clear")
        self._send("POST", element + "/value", text=text)

    def texts(self, selector):
        """The visible texts of all elements that match."""
        return self.run(
            "return [...document.querySelectorAll(arguments[0])].map(e => e.textContent)", selector
        )

    def picture(self):
        """What the window shows, as a PNG file's bytes."""
        return base64.b64decode(self._send("GET", "/screenshot"))


# Words that Korean has too, or that no reader translates.
_ALLOWED = ("F1", "ROUGE-W", "[MASK]", "morphbert: [MASK]")


def english_left(browser):
    """The texts of a page for Korean readers that are English: unfolded, under the pointer, and read aloud.

    A text without Hangul that has a word, or three Latin words in a row, is English. Data, which `translate="no"` or
    <code> encloses, is not looked at.
    """
    found = browser.run(
        """for (const folded of document.querySelectorAll("details")) folded.open = true;
        const texts = [document.title], data = "script, style, code, [translate=no]";
        const nodes = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
        while (nodes.nextNode()) {
          const parent = nodes.currentNode.parentElement;
          if (!parent.closest(data) && (parent.tagName === "title" || parent.checkVisibility()))
            texts.push(nodes.currentNode.textContent.trim());
        }
        for (const element of document.querySelectorAll("[aria-label], [title], [placeholder]"))
          if (!element.closest(data)) texts.push(element.ariaLabel || element.title || element.placeholder);
        return texts"""
    )
    assert len(found) > 5
    word, row = re.compile(r"[A-Za-z]{2}"), re.compile(r"[A-Za-z]+[ ,]+[A-Za-z]+[ ,]+[A-Za-z]+")
    return [
        text
        for text in dict.fromkeys(found)
        if text not in _ALLOWED
        and (row.search(text) or (word.search(text) and not re.search("[가-힣]", text)))
    ]


def check_report(path, profile, heading):
    """Opens a page about a run: Korean throughout, as wide as the screen, dark at night, with values under the pointer.

    Args:
      path: of the HTML file.
      profile: a folder for the browser.
      heading: a Korean heading of the page.
    """
    with Browser(profile) as browser:
        browser.open(path.as_uri())
        assert browser.run("return document.documentElement.lang") == "ko"
        assert heading in browser.texts("h2")
        backs = []
        for width, dark in ((1200, False), (400, False), (400, True)):
            browser.resize(width, dark=dark)
            assert browser.run("return document.documentElement.scrollWidth") <= width
            backs.append(browser.run("return getComputedStyle(document.body).backgroundColor"))
        assert backs[0] == backs[1] != backs[2]
        assert not (english := english_left(browser)), english
        shown = browser.run(
            """return [...document.querySelectorAll("figure[data-curves]")].map(figure => {
              const svg = figure.querySelector("svg"), box = svg.getBoundingClientRect();
              const at = {clientX: box.left + box.width / 2, bubbles: true};
              svg.dispatchEvent(new PointerEvent("pointermove", at));
              return figure.querySelector("output").textContent; })"""
        )
        assert all(any(character.isdigit() for character in values) for values in shown), shown
        return shown
