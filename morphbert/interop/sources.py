"""A model of any format that is known, from its path."""

from __future__ import annotations

import dataclasses
import os

from morphbert.errors import MorphbertError
from morphbert.hub import local_path
from morphbert.interop import native
from morphbert.interop.huggingface import folder as huggingface
from morphbert.interop.pretrained import Pretrained
from morphbert.model.config import HUGGING_FACE_CONFIG_NAME
from morphbert.text.loading import load_vocabulary_of
from morphbert.text.vocabulary import Vocabulary, VocabularyDigest, check_same_vocabulary


def read(
    path: str,
    *,
    bert_config_file: str | None = None,
    vocab_file: str | None = None,
    do_lower_case: bool | None = None,
    allow_pickle: bool = False,
) -> Pretrained:
    """Reads a model.

    Args:
      path: a checkpoint of this program or of google-research/bert (a prefix, or a folder), or a Hugging Face
        folder, also by its name on the Hub (`klue/bert-base`).
      bert_config_file: of a checkpoint: its `bert_config.json`; None takes the one beside it.
      vocab_file: a vocabulary folder or a plain `vocab.txt`; None takes the one beside the model, if any.
      do_lower_case: for a plain `vocab.txt`.
      allow_pickle: whether a `pytorch_model.bin` may be read.

    Raises:
      MorphbertError: nothing readable there, or its parts do not belong together.
    """
    path = local_path(path, pickles=allow_pickle)
    if os.path.isdir(path) and huggingface.is_folder(path):
        model = huggingface.read_folder(path, allow_pickle)
    elif os.path.isdir(path) and _only_weights(path):
        raise MorphbertError(
            f"{path} has {_only_weights(path)} and no {HUGGING_FACE_CONFIG_NAME} that says model_type: copy the "
            "configuration of the model into the folder."
        )
    else:
        model = native.read(path, bert_config_file)
    if vocab_file is not None:
        given = load_vocabulary_of(vocab_file)
        check_vocabulary(model, given, f"--vocab_file={vocab_file}")
        model = dataclasses.replace(model, vocabulary=vocab_file, do_lower_case=do_lower_case)
    elif do_lower_case is not None:
        model = dataclasses.replace(model, do_lower_case=do_lower_case)
    return model


def check_vocabulary(model: Pretrained, given: Vocabulary, name: str) -> None:
    """Refuses another vocabulary than the model's, as its checkpoint or the vocabulary beside it tells.

    One of another size is left to who reads the text, whose message is about the size.

    Args:
      model: as it was read, with the vocabulary beside it.
      given: the vocabulary to be used with it.
      name: the given vocabulary in the message: `--vocab_file=PATH`.

    Raises:
      MorphbertError: the vocabularies differ.
    """
    known = model.vocabulary_digest
    if len(given) != model.config.vocab_size:
        return
    remedy = (
        f"Leave the flag out, or give the vocabulary that {model.source} was trained with. To go on with another "
        "vocabulary, map the embeddings to it: import_model.py --new_vocab_file, or run_pretraining.py "
        "--init_checkpoint with --vocab_file."
    )
    if known is not None:
        check_same_vocabulary(name, given, known, remedy)
    elif model.vocabulary is not None:
        try:
            own = load_vocabulary_of(model.vocabulary)
        except MorphbertError:  # its reader reports the error
            return
        if len(own) == model.config.vocab_size:
            beside = f"the vocabulary beside the model, {model.vocabulary}"
            made_with = own if own.tokens == given.tokens else VocabularyDigest(own.sha256, beside)
            check_same_vocabulary(name, given, made_with, remedy)


def _only_weights(folder: str) -> str | None:
    names = (huggingface.WEIGHTS_NAME, huggingface.INDEX_NAME, huggingface.PICKLE_NAME)
    return next((name for name in names if os.path.exists(os.path.join(folder, name))), None)
