"""Weights for `--init_checkpoint` of pretraining, brought into the shape of the model that is to be trained."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from morphbert.errors import MorphbertError
from morphbert.hub import local_path
from morphbert.interop import electra, native, sources
from morphbert.interop.adapting import map_pieces, resize_positions
from morphbert.interop.growing import grown, grows
from morphbert.interop.huggingface import folder as huggingface
from morphbert.interop.importing import origin_of_parts
from morphbert.interop.pretrained import (
    Pretrained,
    as_float32,
    check_other_network,
    find_vocabulary,
)
from morphbert.interop.vocabularies import check_rows, tokenizer_of
from morphbert.model.config import BERT_CONFIG_NAME, BertConfig
from morphbert.model.electra import name_in_both
from morphbert.model.names import EMBEDDINGS, POSITION_EMBEDDINGS, WORD_EMBEDDINGS
from morphbert.model.parameters import pretraining_parameters
from morphbert.text.loading import load_tokenizer, load_vocabulary_of
from morphbert.text.vocabulary import Vocabulary, VocabularyDigest, check_same_vocabulary
from morphbert.train.checkpoint import State, other_names, read_shapes, read_state, read_weights, resolve


@dataclasses.dataclass(frozen=True)
class Vocabularies:
    """The vocabularies by which the pieces of a checkpoint are mapped to those of the model to be trained.

    Attributes:
      vocab_file: the model's, that of the records; None where it is that of the checkpoint.
      init_vocab_file: the checkpoint's; None takes the one beside it.
      records: the vocabulary of the records that are trained on, as far as it is known.
    """

    vocab_file: str | None = None
    init_vocab_file: str | None = None
    records: VocabularyDigest | None = None


def initial_weights(
    path: str, config: BertConfig, vocabularies: Vocabularies = Vocabularies()
) -> Mapping[str, np.ndarray]:
    """Reads weights and fits them to `config`; prints the parts that were taken and the changes.

    More positions than there are repeat those that there are; another vocabulary is mapped piece by piece; a smaller
    model is grown. Everything else has to fit, which is not checked here.

    Args:
      path: a checkpoint of this program or of TensorFlow 1, or a Hugging Face folder.
      config: of the model to be trained.
      vocabularies: by which pieces are mapped.

    Raises:
      MorphbertError: nothing readable there, or another number of pieces and no vocabularies to map them by.
    """
    start = _read(path, config)
    larger = grows(start.config, config)
    for line in origin_of_parts(start if larger else dataclasses.replace(start, config=config)):
        print(f"training: {line}", flush=True)
    weights = dict(start.weights)
    if vocabularies.vocab_file is not None:
        weights = _in_vocabulary(
            start, config.vocab_size, vocabularies.vocab_file, vocabularies.init_vocab_file
        )
    elif WORD_EMBEDDINGS in weights and len(weights[WORD_EMBEDDINGS]) != config.vocab_size:
        raise MorphbertError(
            f"{path}: {WORD_EMBEDDINGS} is {list(weights[WORD_EMBEDDINGS].shape)}, and vocab_size in "
            f"--bert_config_file is {config.vocab_size}: to map the pieces of one vocabulary to another, give "
            "--vocab_file, that of the records; else give the configuration that the checkpoint was trained with."
        )
    elif vocabularies.records is not None:
        _check_records(start, vocabularies.records)
    if POSITION_EMBEDDINGS in weights:
        weights[POSITION_EMBEDDINGS] = _positions(weights, start.config.position_offset, config)
    if larger:
        weights, how = grown(weights, start.config, config, start.source)
        print(f"training: {how}", flush=True)
    return weights


def initial_weights_of_both(
    path: str,
    generator_path: str | None,
    discriminator: BertConfig,
    generator: BertConfig,
    vocabularies: Vocabularies = Vocabularies(),
    disentangles: bool = False,
) -> Mapping[str, np.ndarray]:
    """Reads weights for both networks of an ELECTRA, as `initial_weights` does for one.

    Args:
      path: the discriminator or a model with its encoder, or a checkpoint of both networks.
      generator_path: the generator, or a checkpoint of both networks; None takes the one of `path`, if it holds one.
      discriminator, generator: the configurations of the networks to be trained, which share their embeddings.
      vocabularies: by which pieces are mapped.
      disentangles: whether each network has its own word embeddings, see `Electra`.

    Returns:
      The weights by their names in a checkpoint of both networks; without a generator those of the discriminator alone.

    Raises:
      MorphbertError: as `initial_weights`, or a network is the other one.
    """
    weights = dict(initial_weights(path, discriminator, vocabularies))
    if generator_path is None and not _holds_both(path):
        print(f"training: {path} has no generator, which starts from initial values", flush=True)
        return weights
    source = generator_path or path
    print(f"training: the generator, from {source}:", flush=True)
    found = initial_weights(source, generator, vocabularies)
    beside = electra.beside_discriminator(found, disentangles)
    left_out = (
        name
        for name in found
        if name.startswith(f"{EMBEDDINGS}/") and name_in_both(name, disentangles) not in beside
    )
    if not all(np.array_equal(found[name], weights.get(name, found[name])) for name in left_out):
        print(
            f"training: the embeddings of {source} are other than the discriminator's, which both networks share, and "
            "are left out",
            flush=True,
        )
    return weights | beside


def _holds_both(path: str) -> bool:
    path = local_path(path)
    if os.path.isdir(path) and huggingface.is_folder(path):
        return False
    return electra.holds_both(read_shapes(resolve(path)))


def _check_records(start: Pretrained, records: VocabularyDigest) -> None:
    """Refuses records of another vocabulary than the checkpoint's, where nothing says how to map it."""
    known: Vocabulary | VocabularyDigest | None = start.vocabulary_digest
    if known is None and start.vocabulary is not None:
        own = load_vocabulary_of(start.vocabulary)
        known = own if len(own) == len(start.weights.get(WORD_EMBEDDINGS, ())) else None
    if known is None:
        print(
            f"training: {start.source} does not say which vocabulary it was trained with; the records' vocabulary "
            "is assumed",
            flush=True,
        )
        return
    remedy = (
        "Give --vocab_file, the vocabulary of the records: a piece that both have then keeps its embedding, "
        "and another starts from the mean of the pieces that spell it."
    )
    check_same_vocabulary(f"the vocabulary of {start.source} (--init_checkpoint)", known, records, remedy)


def _read(path: str, config: BertConfig) -> Pretrained:
    """Reads the model at `path`; of a checkpoint only weights, vocabulary and `position_offset` are certain."""
    path = local_path(path)
    if os.path.isdir(path) and huggingface.is_folder(path):
        read = sources.read(path)
        if None not in (read.config.electra, config.electra) and read.config.electra != config.electra:
            raise MorphbertError(
                f"{path} is the {read.config.electra} of an ELECTRA, and the model to train is a {config.electra}: "
                f"give the folder of the {config.electra}."
            )
        return read
    prefix, known = resolve(path), pretraining_parameters(config)
    found, weights = read_state(prefix), read_weights(path)
    others: dict[str, np.ndarray] = {}
    if not _discriminator_from_bert(found, weights, config):
        weights, others = electra.of_network(weights, config, path)
        check_other_network(prefix, others)
    extra = sorted(name for name in weights if name not in known)
    weights |= {name: as_float32(prefix, name, weights[name]) for name in known if name in weights}
    described = _described_by(found.state, config) if found else _described(prefix, weights, config)
    vocabulary = find_vocabulary(os.path.dirname(prefix))
    left_over = (*extra, *electra.describe_others(others, config), *other_names(path))
    return Pretrained(
        described, weights, path, left_over, vocabulary, vocabulary_digest=native.digest_in(prefix)
    )


def _discriminator_from_bert(
    found: State | None, weights: Mapping[str, np.ndarray], config: BertConfig
) -> bool:
    """Returns whether a discriminator starts from the encoder of a model that is no ELECTRA."""
    if config.electra != "discriminator" or electra.is_electra(weights):
        return False
    return found is None or found.state["config"].get("electra") is None


def _described_by(state: Mapping[str, Any], config: BertConfig) -> BertConfig:
    """Returns the configuration, as a checkpoint says it, of the network that is to be trained."""
    of_generator = state.get("generator_config") if config.electra == "generator" else None
    return BertConfig.from_dict(of_generator or state["config"])


def _described(prefix: str, weights: Mapping[str, np.ndarray], config: BertConfig) -> BertConfig:
    """Returns the configuration beside a TensorFlow 1 checkpoint, if it is a smaller model; else `config`."""
    beside = os.path.join(os.path.dirname(prefix), BERT_CONFIG_NAME)
    if WORD_EMBEDDINGS not in weights or not os.path.exists(beside):
        return config
    found = BertConfig.from_json_file(beside)
    fits = found.embedding_width == weights[WORD_EMBEDDINGS].shape[1]
    return found if fits and grows(found, config) else config


def _in_vocabulary(
    start: Pretrained, size: int, vocab_file: str, init_vocab_file: str | None
) -> dict[str, np.ndarray]:
    source = init_vocab_file or start.vocabulary
    if source is None and len(start.weights[WORD_EMBEDDINGS]) == size:
        if start.vocabulary_digest is not None:
            check_same_vocabulary(
                f"--vocab_file={vocab_file}",
                load_vocabulary_of(vocab_file),
                start.vocabulary_digest,
                "Give --init_vocab_file, the vocabulary of the checkpoint, and the pieces are mapped.",
            )
            return dict(start.weights)
        print(
            f"training: {start.source} has no vocabulary beside it; that of --vocab_file is assumed",
            flush=True,
        )
        return dict(start.weights)
    if source is None:
        raise MorphbertError(
            f"--vocab_file: there is no vocabulary beside {start.source}, so its embeddings cannot be mapped: give "
            "--init_vocab_file, the one it was trained with."
        )
    rows = len(start.weights[WORD_EMBEDDINGS])
    lower = start.do_lower_case if init_vocab_file is None else None
    config = dataclasses.replace(start.config, vocab_size=rows)
    old = tokenizer_of(dataclasses.replace(start, config=config, vocabulary=source, do_lower_case=lower))
    new = load_tokenizer(vocab_file)
    assert old is not None
    check_rows(new, size, f"--vocab_file={vocab_file}", start.source)
    if old.vocabulary.tokens == new.vocabulary.tokens and rows == size:
        return dict(start.weights)
    weights, mapped = map_pieces(start.weights, old, new, size)
    print(f"training: vocabulary: {mapped}", flush=True)
    return weights


def _positions(weights: Mapping[str, np.ndarray], offset: int, config: BertConfig) -> np.ndarray:
    before, now = len(weights[POSITION_EMBEDDINGS]) - offset, config.max_position_embeddings
    if (before, offset) == (now, config.position_offset):
        return weights[POSITION_EMBEDDINGS]
    if before != now:
        how = "the new ones repeat them" if now > before else "the last ones are left out"
        print(f"training: positions: {before} before, {now} now; {how}", flush=True)
    return resize_positions(weights, now, offset, config.position_offset)
