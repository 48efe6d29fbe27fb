"""`run_ner.py`: a pretrained model → one that finds names in a text, by a tag for each character."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from absl import flags

from morphbert.cli import task_flags
from morphbert.cli.command import Command
from morphbert.errors import MorphbertError
from morphbert.finetune import choices

if TYPE_CHECKING:
    from morphbert.finetune.experiment import Problem, Scores
    from morphbert.finetune.losses import LossConfig
    from morphbert.finetune.pretrained_start import Start
    from morphbert.finetune.run import Judgement
    from morphbert.finetune.tagging import Tagging, TextWindow
    from morphbert.finetune.tags import TaggedText


def _command() -> Command:
    command = Command(
        "run_ner.py",
        "Fine-tunes a pretrained model to find entities in texts with a tag for each character, as in KLUE-NER.",
        """
        run_ner.py --init_checkpoint=out/model --vocab_file=out/vocab --train_file=klue-ner-v1.1_train.tsv \\
            --eval_file=klue-ner-v1.1_dev.tsv --output_dir=out/ner --do_train --do_eval
        """,
    )
    task_flags.define_model(command)
    command.group("Data", "data")
    command.string(
        "train_file",
        None,
        "Texts to train on, in KLUE-NER's format: a character, a tab and its tag (O, B-PS, I-PS …) on each line, "
        "spaces too, and an empty line after each text. Compressed too.",
    )
    command.string("eval_file", None, "Texts to evaluate on.")
    command.string(
        "predict_file",
        None,
        "Texts to tag: one a line; a .tsv is read in KLUE-NER's format, its tags left aside.",
    )
    command.enum(
        "straddling",
        "split",
        choices.STRADDLING,
        "Pieces that an entity begins or ends within. split: their labels say where, so that all tags come back. "
        "first: they take the tag of their first character, as KLUE's baseline does.",
    )
    task_flags.define_training(command, epochs=3.0, max_seq_length=128)
    task_flags.define_test(
        command, "Write predictions.jsonl for --predict_file: text, tags and entities with their characters."
    )
    task_flags.define_head(command)
    task_flags.define_loss(command)
    task_flags.define_rest(command)
    return command


class _Texts:
    """Tagged texts of a file, cut into windows."""

    def __init__(self, values: flags.FlagValues, start: Start, path: str) -> None:
        from morphbert.finetune.tagging import labels_of_windows, windows_of
        from morphbert.finetune.tags import first_of, read_tagged

        self.path, self._most = path, values.max_seq_length
        self.texts, account = read_tagged(path)
        self.plain = [text.text for text in self.texts]
        self.windows: list[TextWindow] = windows_of(start.tokenizer, self.plain, values.max_seq_length)
        self.labels = labels_of_windows(self.windows, self.texts)
        straddling = sum("|" in label for found in self.labels for label in found)
        if values.straddling == "first":
            self.labels = [[first_of(label) for label in found] for found in self.labels]
        pieces = sum(len(found) for found in self.labels)
        print(
            f"data: {os.path.basename(path)}: {account}; {len(self.windows)} windows, {pieces} pieces, of which "
            f"{straddling} straddle tags",
            flush=True,
        )

    def check(self, known: Sequence[str]) -> None:
        """Refuses a type of entity that there is no label for."""
        tags = {tag for text in self.texts for tag in text.tags or ()}
        strange = sorted(tags.difference(known))
        if strange:
            raise MorphbertError(
                f"{self.path} has the tag {strange[0]!r}, which is not one of "
                f"{', '.join(k for k in known if '|' not in k)}: mend the file, or train on texts that have it."
            )


def _problem(values: flags.FlagValues, start: Start) -> tuple[Problem, LossConfig | None]:
    from morphbert.finetune import tagging
    from morphbert.finetune.experiment import Problem
    from morphbert.finetune.heads import NO_POOLING
    from morphbert.finetune.tags import labels_in

    features = None
    saved = task_flags.saved_task(values)
    if saved is None:
        train = _Texts(values, start, values.train_file)
        counts = tagging.label_counts(train.windows, train.labels)
        labels = labels_in(counts)
        if len(labels) < 2:
            raise MorphbertError(f"{values.train_file} has no entity: there is nothing to tell apart.")
        head = task_flags.head_config(values, NO_POOLING.pooling)
        loss = task_flags.loss_config(values, [counts[label] for label in labels])
        task = tagging.Tagging(tagging.TaggingConfig(labels, head, loss))
        saved = {
            "task": "tagging",
            "labels": list(labels),
            **head.to_dict(),
            "max_seq_length": values.max_seq_length,
        }
        features = tagging.features_of(train.windows, train.labels, labels, values.max_seq_length)
    else:
        task = task_flags.task_in_folder(values, saved, tagging.Tagging)
    labels = task.config.labels
    held_out = judge = asked = write = None
    if values.eval_file and (values.do_eval or values.eval_every):
        texts = _Texts(values, start, values.eval_file)
        texts.check(labels)
        best = tagging.tag_ceiling(texts.windows, texts.texts, labels)
        print(
            f"ceiling: entity F1 {best['entity_f1']:.4f}, character F1 {best['character_f1']:.4f} with this "
            "tokenizer and perfect labels",
            flush=True,
        )
        held_out = tagging.features_of(texts.windows, None, labels, values.max_seq_length)

        def judge(scores: Scores) -> Judgement:
            return _judgement(texts, scores, task)

    if values.do_predict:
        new = _read_new(values.predict_file)
        windows = tagging.windows_of(start.tokenizer, [text.text for text in new], values.max_seq_length)
        asked = tagging.features_of(windows, None, labels, values.max_seq_length)

        def write(folder: str, scores: Scores) -> str:
            return _write(folder, new, windows, scores, labels)

    problem = Problem(task, saved, "entity_f1", features, held_out, judge, asked, write)
    return problem, task.config.loss


def _judgement(texts: _Texts, scores: Scores, task: Tagging) -> Judgement:
    import numpy as np

    from morphbert.finetune import tagging
    from morphbert.finetune.confusion import Confusion
    from morphbert.finetune.experiment import by_length
    from morphbert.finetune.run import Judgement

    known = task.config.labels
    labels = tagging.labels_of_scores(texts.windows, scores, known)
    found = tagging.tags_of_texts(texts.windows, labels, texts.plain)
    kinds = list(dict.fromkeys(tagging.type_of(label) for label in known if "|" not in label))
    numbers = {kind: number for number, kind in enumerate(kinds)}

    def of_characters(tags: Sequence[Sequence[str]]) -> np.ndarray:
        return np.asarray([numbers[tagging.type_of(tag)] for some in tags for tag in some], np.int64)

    wanted = [text.tags or () for text in texts.texts]

    def figures_of(rows: np.ndarray) -> dict[str, float]:
        return tagging.tag_metrics([texts.texts[row] for row in rows], [found[row] for row in rows], known)

    lengths = np.asarray([len(text) for text in texts.plain])
    groups = by_length(lengths, figures_of, "characters")
    confusion = Confusion.of(of_characters(wanted), of_characters(found), kinds)
    return Judgement(tagging.tag_metrics(texts.texts, found, known), confusion, groups)


def _read_new(path: str) -> list[TaggedText]:
    from morphbert.files import expand, read_lines
    from morphbert.finetune.tags import TaggedText, read_tagged

    if path.removesuffix(".gz").endswith(".tsv"):
        return read_tagged(path)[0]
    lines = (line.rstrip("\r\n") for name in expand(path) for line in read_lines(name))
    return [TaggedText(str(number), line) for number, line in enumerate(lines, start=1)]


def _write(
    folder: str,
    texts: Sequence[TaggedText],
    windows: Sequence[TextWindow],
    scores: Scores,
    known: Sequence[str],
) -> str:
    import dataclasses

    from morphbert.finetune import tagging
    from morphbert.finetune.tags import entities_of
    from morphbert.train.storage import write_json_lines

    labels = tagging.labels_of_scores(windows, scores, known)
    found = tagging.tags_of_texts(windows, labels, [text.text for text in texts])
    path = os.path.join(folder, "predictions.jsonl")
    rows = []
    for text, tags in zip(texts, found, strict=True):
        entities = [dataclasses.asdict(entity) for entity in entities_of(text.text, tags)]
        rows.append({"id": text.id, "text": text.text, "tags": tags, "entities": entities})
    write_json_lines(path, rows)
    return f"{len(texts)} texts, written to {path}"


def _texts(values: flags.FlagValues, path: str) -> Iterator[Sequence[str]]:
    from morphbert.finetune.tags import read_tagged

    for text in read_tagged(path)[0]:
        yield [text.text]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status (128 + the signal's number where one stopped it)."""
    return task_flags.run(_command(), argv, task_flags.check_files, _problem, _texts)


if __name__ == "__main__":
    sys.exit(main())
