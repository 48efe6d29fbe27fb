"""Extracts hidden states of a pretrained model for texts, as google-research/bert's `extract_features.py` does.

This is the feature-based approach (Devlin et al. 2019, section 5.3), as opposed to fine-tuning: the model is not
trained.

    lines or rows → Encoded → batches of similar length → [layers, B, L, H] → JSON Lines or Parquet, in the input's
    order
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import tensorflow as tf

from morphbert.atomic_files import atomic_write, check_apart, json_bytes
from morphbert.errors import MorphbertError, UsageError
from morphbert.files import expand
from morphbert.formats.texts import read_texts
from morphbert.hints import held_back
from morphbert.interop.configs import ExtractConfig, Pooling
from morphbert.interop.pretrained_start import Start, find_start
from morphbert.interop.sequence_batches import piece_arrays, scoring_batches
from morphbert.model.config import BertConfig
from morphbert.model.encoder import EncoderInputs, encode_layers
from morphbert.plugins import load_plugins
from morphbert.text.sequences import Sequence as Encoded
from morphbert.text.sequences import encode_sequence
from morphbert.text.unknown_share import MOST_TEXTS, say_unknown_share

# The number of values kept before they are written in input order: 256 MB.
_HELD_FIGURES = 1 << 26
_MOST_BATCHES = 50


@dataclasses.dataclass(frozen=True)
class Extracted:
    """A model's hidden states for one text.

    Attributes:
      index: the number of its line or row in the input, from 0.
      tokens: its pieces, special tokens included.
      values: float32 [layers, pieces, H]; with pooling [layers, H].
    """

    index: int
    tokens: list[str]
    values: np.ndarray


Write = Callable[[Extracted], None]
Run = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def extract(config: ExtractConfig, progress: Callable[[Iterable[Any]], Iterable[Any]] = iter) -> int:
    """Writes the hidden states of all texts; returns the number of texts. Loads the model's plugins.

    Args:
      config: the configuration of the extraction.
      progress: wraps the iterator of results, as `tqdm` does.

    Raises:
      MorphbertError: the input cannot be read or does not fit the model; no file is written then.
    """
    load_plugins(config.plugin)
    check_apart([config.output_file], (("--input_file", path) for path in expand(config.input_file)))
    with held_back():
        start = _start(config)
        layers = _layers(config.layers, start.config.num_hidden_layers)
        texts = read_texts(config.input_file, config.text_field, config.text_pair_field, config.encoding)
        # The first texts are read ahead and put back, because a pipe can be read only once.
        looked_at = list(itertools.islice(texts, MOST_TEXTS))
    assert start.weights is not None
    run = _runner(start.config, start.weights, layers, config.pooling)
    texts = itertools.chain(looked_at, texts)
    say_unknown_share(start.tokenizer, (first for first, _ in looked_at), config.input_file)
    encoded = (
        encode_sequence(start.tokenizer, first, second, config.max_seq_length)[0] for first, second in texts
    )
    count = 0
    written = start.tokenizer.vocabulary.special.written
    figures = len(layers) * start.config.hidden_size
    with _writer(config, layers) as write:
        for example in progress(_extracted(encoded, run, config, figures)):
            write(dataclasses.replace(example, tokens=list(map(written, example.tokens))))
            count += 1
        if not count:
            raise MorphbertError(f"there is no text in {config.input_file}.")
    return count


def _start(config: ExtractConfig) -> Start:
    start = find_start(
        config.init_checkpoint, config.bert_config_file, config.vocab_file, config.do_lower_case
    )
    if config.max_seq_length > start.config.max_position_embeddings:
        raise UsageError(
            f"--max_seq_length={config.max_seq_length}, but the model has {start.config.max_position_embeddings} "
            "positions: lower it, or lengthen the model with import_model.py --max_position_embeddings."
        )
    return start


def _layers(asked: tuple[int, ...] | None, count: int) -> tuple[int, ...]:
    """Returns the requested layers, or the last four, of a model with `count` layers."""
    if asked is None:
        return tuple(range(-1, -1 - min(4, count), -1))
    wrong = [layer for layer in asked if not -count <= layer < count]
    if wrong:
        raise UsageError(
            f"--layers: the model has {count} layers, numbered from 0 to {count - 1} or from -{count} to -1; "
            f"there is no {wrong[0]}."
        )
    return asked


def _runner(
    config: BertConfig, weights: Mapping[str, np.ndarray], layers: tuple[int, ...], pooling: Pooling
) -> Run:
    """Returns a function of ids, mask and segments, int32 [B, L], that computes the requested layers. Its result is
    float32 [layers, B, L, H], or with pooling [layers, B, H].
    """
    held = {name: tf.constant(value) for name, value in weights.items()}

    @tf.function(autograph=False)  # compiled for each of a few lengths
    def run(ids: tf.Tensor, mask: tf.Tensor, segments: tf.Tensor) -> tf.Tensor:
        outputs = encode_layers(held, config, EncoderInputs(ids, mask, segments))[1:]
        chosen = tf.stack([outputs[layer] for layer in layers])
        if pooling == "cls":
            return chosen[:, :, 0]
        if pooling == "mean":
            real = tf.cast(mask, chosen.dtype)[None, :, :, None]
            return tf.reduce_sum(chosen * real, 2) / tf.reduce_sum(real, 2)
        return chosen

    return lambda ids, mask, segments: run(*map(tf.constant, (ids, mask, segments))).numpy()


def _extracted(
    encoded: Iterator[Encoded], run: Run, config: ExtractConfig, figures: int
) -> Iterator[Extracted]:
    """Yields results in input order; sorts the texts of some batches at a time by length.

    Args:
      figures: the number of values per piece.
    """
    figures *= config.max_seq_length if config.pooling == "none" else 1
    batches = max(1, min(_MOST_BATCHES, _HELD_FIGURES // (figures * config.batch_size)))
    index = 0
    while window := list(itertools.islice(encoded, batches * config.batch_size)):
        arrays = piece_arrays(window, config.max_seq_length)
        found: dict[int, np.ndarray] = {}
        for rows, pieces in scoring_batches(arrays, config.batch_size):
            values = run(pieces["input_ids"], pieces["input_mask"], pieces["segment_ids"])
            for place, row in enumerate(rows):
                value = values[:, place]
                found[int(row)] = value if config.pooling != "none" else value[:, : len(window[row].ids)]
        for place, sequence in enumerate(window):
            yield Extracted(index, sequence.tokens, found.pop(place))
            index += 1


def _writer(config: ExtractConfig, layers: tuple[int, ...]) -> AbstractContextManager[Write]:
    if config.output_file.lower().endswith(".parquet"):
        return _parquet_writer(config, layers)
    return _json_writer(config.output_file, layers)


@contextmanager
def _json_writer(path: str, layers: tuple[int, ...]) -> Iterator[Write]:
    with atomic_write(path) as stream:

        def write(example: Extracted) -> None:
            stream.write(json_bytes(as_json(example, layers)) + b"\n")

        yield write


def as_json(example: Extracted, layers: Sequence[int]) -> dict[str, Any]:
    """Returns google-research/bert's JSON of one text (`linex_index` is its spelling), rounded to six places.

    `{"linex_index": 0, "features": [{"token": "[CLS]", "layers": [{"index": -1, "values": […]}]}]}`; with pooling
    `{"linex_index": 0, "tokens": ["[CLS]"], "layers": […]}`.
    """
    figures = np.round(example.values.astype(np.float64), 6).tolist()
    if example.values.ndim == 2:
        pooled = [{"index": layer, "values": values} for layer, values in zip(layers, figures, strict=True)]
        return {"linex_index": example.index, "tokens": example.tokens, "layers": pooled}
    features = [
        {
            "token": token,
            "layers": [{"index": layer, "values": figures[i][place]} for i, layer in enumerate(layers)],
        }
        for place, token in enumerate(example.tokens)
    ]
    return {"linex_index": example.index, "features": features}


@contextmanager
def _parquet_writer(config: ExtractConfig, layers: tuple[int, ...]) -> Iterator[Write]:
    """Writes columns `linex_index`, `tokens`, and per layer, as `layer_-1`, a list of values per piece or one list."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MorphbertError(
            f"{config.output_file}: Parquet needs pyarrow: pip install 'morphbert[finetune]'"
        ) from error
    figures = pa.list_(pa.float32())
    kind = figures if config.pooling != "none" else pa.list_(figures)
    names = [f"layer_{layer}" for layer in layers]
    schema = pa.schema(
        [("linex_index", pa.int64()), ("tokens", pa.list_(pa.string())), *((name, kind) for name in names)]
    )
    rows: list[Extracted] = []
    with atomic_write(config.output_file) as stream, pq.ParquetWriter(stream, schema) as parquet:

        def flush() -> None:
            columns = [
                pa.array([row.index for row in rows], pa.int64()),
                pa.array([row.tokens for row in rows], pa.list_(pa.string())),
                *(pa.array([list(row.values[i]) for row in rows], kind) for i in range(len(names))),
            ]
            parquet.write_table(pa.Table.from_arrays(columns, schema=schema))
            rows.clear()

        def write(example: Extracted) -> None:
            rows.append(example)
            if len(rows) == config.batch_size:
                flush()

        yield write
        if rows:
            flush()
