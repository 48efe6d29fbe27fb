"""What a run says where it is continued with other data."""

import pytest

from morphbert.train.trajectory import change_of_files, say_differences


@pytest.mark.parametrize(
    ("now", "words"),
    [
        ([["a", 1], ["b", 2]], "2 before, 2 now; in another order"),
        ([["b", 2], ["a", 7]], "2 before, 2 now; another size: a"),
        ([["b", 2]], "2 before, 1 now; no longer a"),
        (
            [[f"r-{n}", 1] for n in range(5)],
            "2 before, 5 now; no longer b, a; new r-0, r-1, r-2 and 2 more",
        ),
        (None, "2 before, 0 now; no longer b, a"),
    ],
)
def test_what_differs_between_files_is_named(now, words):
    assert change_of_files([["b", 2], ["a", 1]], now) == words


def test_a_resharded_input_is_named_file_by_file(capsys):
    say_differences([("files", [["r-0-of-1", 9]], [["r-0-of-2", 4], ["r-1-of-2", 5]])])
    assert (
        "the input files changed (1 before, 2 now; no longer r-0-of-1; new r-0-of-2, r-1-of-2): the run continues"
        in capsys.readouterr().out
    )
