"""Hooks of MkDocs: links that leave docs/ become plain text, and Korean pages say their language."""

import posixpath
import re

_LINK = re.compile(r"\[([^\]]+)\]\(([^):#]+)\)")


def on_page_markdown(markdown, page, **_):
    """Links to files outside docs/ work in a checkout; the site has only their text."""
    folder = posixpath.dirname(page.file.src_uri)

    def plain(link):
        leaves = posixpath.normpath(posixpath.join(folder, link[2])).startswith("..")
        return link[1] if leaves else link[0]

    # Without prompts, the highlighter takes all of a console block for output.
    return _LINK.sub(plain, markdown).replace("```console", "```bash")


def on_post_page(output, page, **_):
    """The theme has one language for the whole site."""
    return (
        output.replace('<html lang="en"', '<html lang="ko"', 1)
        if page.file.src_uri.startswith("ko/")
        else output
    )
