"""task.json: the files of earlier versions are read, and written alike."""

import pytest

from morphbert.errors import MorphbertError
from morphbert.finetune.tasks import task_of

HEAD = {"pooling": "mean", "layers": [-1, -2], "lstm_units": 4}
# As version 0.1.0 has written them since it had these tasks.
SAVED = [
    {
        "task": "classification",
        "kind": "class",
        "labels": ["0", "1"],
        **HEAD,
        "max_seq_length": 64,
        "text_columns": 2,
    },
    {
        "task": "classification",
        "kind": "score",
        "labels": [],
        **HEAD,
        "max_seq_length": 64,
        "text_columns": 1,
    },
    {"task": "tagging", "labels": ["B-PS", "I-PS", "O", "B-PS:2|O"], **HEAD, "max_seq_length": 128},
    {
        "task": "relation",
        "labels": ["no_relation", "per:title"],
        "entity_types": ["ORG", "PER"],
        **HEAD,
        "max_seq_length": 128,
    },
    {
        "task": "span",
        **HEAD,
        "max_seq_length": 384,
        "doc_stride": 128,
        "max_query_length": 64,
        "version_2_with_negative": True,
    },
]


@pytest.mark.parametrize("saved", SAVED, ids=lambda saved: saved["task"])
def test_what_a_folder_says_of_its_task_is_read_and_written_alike(saved):
    assert task_of({"format_version": 1, "morphbert_version": "0.1.0", **saved}).to_dict() == saved
    older = {name: value for name, value in saved.items() if name not in HEAD}
    pooling = {"classification": "cls", "relation": "cls"}.get(saved["task"], "pieces")
    assert task_of(older).head.to_dict() == {"pooling": pooling, "layers": [-1], "lstm_units": 0}
    with pytest.raises(
        MorphbertError, match=r"'summary' is unknown: use a newer version .*--plugin=FILE\.py"
    ):
        task_of({**saved, "task": "summary"})
