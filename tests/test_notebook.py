"""The Colab notebook, executed from top to bottom on the CPU at a small size."""

import json
import os
import sys

import pytest
from processes import run_process
from samples import GOLDEN, ROOT

NOTEBOOK = ROOT / "scripts" / "pretrain_colab.ipynb"
# The cells hold plain Python, no line of IPython's own: executing their text one after the other in one namespace is
# what a kernel does.
EXECUTE = """
import json, sys
namespace = {"__name__": "__main__"}
with open(sys.argv[1], encoding="utf-8") as stream:
    cells = json.load(stream)["cells"]
for number, cell in enumerate(cells):
    if cell["cell_type"] == "code":
        exec(compile("".join(cell["source"]), f"cell {number}", "exec"), namespace)
"""
SMALL = {
    "CORPUS": f"{GOLDEN}/documents_ko*.txt",
    "VOCAB_SIZE": "1000",
    "MAX_SEQ_LENGTH": "64",
    "TRAIN_BATCH_SIZE": "4",
    "NUM_TRAIN_STEPS": "3",
    "MODEL": "tiny",
    "TRAIN_FLAGS": "--strategy=cpu",
}


def execute(folder):
    return run_process(
        [sys.executable, "-c", EXECUTE, str(NOTEBOOK)],
        env={**os.environ, **SMALL, "DRIVE_FOLDER": str(folder)},
        cwd=ROOT / "scripts",
    )


def cells(kind):
    found = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in found if cell["cell_type"] == kind]


@pytest.mark.long
def test_it_runs_from_top_to_bottom(tmp_path):
    first = execute(tmp_path / "drive")
    assert first.returncode == 0, first.stdout + first.stderr
    for word in ("런타임 · runtime:", "All is there.", "masked_lm_loss = ", "config.json"):
        assert word in first.stdout
    assert (tmp_path / "drive" / "huggingface" / "model.safetensors").stat().st_size > 100_000


@pytest.mark.slow
def test_run_again_it_passes_over_what_is_finished(tmp_path):
    assert execute(tmp_path / "drive").returncode == 0
    second = execute(tmp_path / "drive")
    assert second.returncode == 0, second.stdout + second.stderr
    assert "model: finished before" in second.stdout


def test_it_is_a_clean_notebook_in_two_languages():
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["metadata"]["kernelspec"]["name"]) == (4, "python3")
    for cell in notebook["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
    for text in cells("markdown"):
        assert any("가" <= letter <= "힣" for letter in text)
        assert any("a" <= letter <= "z" for letter in text)
    for text in cells("code"):
        compile(text, "cell", "exec")  # neither ! nor % of IPython, on which the executor above relies
