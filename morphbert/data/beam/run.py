"""Runs the pipeline on a Beam runner and returns its results."""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from morphbert.data.batches import Statistics
from morphbert.data.build import BuildConfig, SplitResult
from morphbert.data.leftovers import check_replaceable, remove_leftovers
from morphbert.data.outputs import final_names
from morphbert.errors import MorphbertError, UsageError
from morphbert.files import is_remote

try:
    import apache_beam as beam
    from apache_beam.io.filesystems import FileSystems
    from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner
except ImportError as error:
    raise MorphbertError(
        "--engine=beam needs Apache Beam, which is not installed: pip install 'morphbert[beam]', in a separate "
        "environment if TensorFlow and Beam need different versions of protobuf."
    ) from error

from morphbert.data.beam.pipeline import BeamJob, construct, result_path
from morphbert.data.beam.text import ranges_of
from morphbert.data.beam.vocabulary import PackedVocabulary

# The number of pieces in a block: about 50 MB with the pieces of its instances.
BLOCK_TOKENS = 1 << 20
# Beam's DirectRunner may download and run a program (Prism); this runner stays in Python.
_LOCAL_RUNNERS = (None, "DirectRunner", "FnApiRunner")


def options_of(arguments: Sequence[str]) -> PipelineOptions:
    """Returns Beam's options from the command line.

    Raises:
      UsageError: Beam does not know one of them.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, conflict_handler="resolve")
    for options in PipelineOptions.__subclasses__():
        options._add_argparse_args(parser)
    unknown = parser.parse_known_args(list(arguments))[1]
    if unknown:
        raise UsageError(f"{unknown[0]} is not a flag of this program or of Apache Beam (see --help).")
    return PipelineOptions(list(arguments))


def match_inputs(patterns: str, options: PipelineOptions) -> list[tuple[str, int]]:
    """Returns the files of paths and globs with commas, on any of Beam's filesystems, with their sizes in bytes."""
    FileSystems.set_options(options)
    chosen = [part.strip() for part in patterns.split(",") if part.strip()]
    found: list[tuple[str, int]] = []
    try:
        for pattern, match in zip(chosen, FileSystems.match(chosen), strict=True):
            if not match.metadata_list:
                raise MorphbertError(
                    f"no file matches {pattern!r} (working directory: {os.getcwd()}). Give a path, a glob in quotes "
                    "or a comma-separated list of both."
                )
            found += sorted((one.path, one.size_in_bytes) for one in match.metadata_list)
    except (ValueError, beam.io.filesystem.BeamIOError) as error:
        raise MorphbertError(f"{patterns} cannot be read by Apache Beam: {error}") from error
    return found


def build(
    config: BuildConfig,
    vocabulary: PackedVocabulary,
    inputs: Sequence[tuple[str, int]],
    options: PipelineOptions,
    say: Callable[[str], None],
) -> list[SplitResult]:
    """Makes the records of a run with Apache Beam.

    Args:
      config: the configuration, whose `input_files` are those of `inputs`; `token_store` and `num_workers` are ignored.
      options: Beam's options, including the runner.

    Raises:
      MorphbertError: the input is invalid, or the pipeline failed.
    """
    names = tuple({"name": os.path.basename(path), "bytes": size} for path, size in inputs)
    temporary = f"{config.output_files[0]}.beam-{uuid.uuid4().hex[:12]}"
    config = replace(config, input_files=tuple(path for path, _ in inputs))
    job = BeamJob(config, vocabulary, names, temporary, BLOCK_TOKENS)
    runner: Any = options.view_as(StandardOptions).runner
    if runner in _LOCAL_RUNNERS:
        runner = FnApiRunner()
        _let_workers_import()
    # In an object store nothing is removed; readers of the records detect leftovers there.
    local = [name for name in config.all_outputs if not is_remote(name)]
    check_replaceable(local)
    folders = {os.path.dirname(name) for name in (*config.output_files, config.eval_output_file or "")}
    for folder in (*sorted(folders), temporary):
        _make_folder(folder)
    try:
        pipeline = beam.Pipeline(runner=runner, options=options)
        construct(pipeline, job, ranges_of(list(inputs), encoding=config.encoding))
        say(
            f"Apache Beam {beam.__version__}, {type(runner).__name__ if not isinstance(runner, str) else runner}"
        )
        _run(pipeline)
        results = []
        for number in range(2 if config.eval_output_file is not None else 1):
            with FileSystems.open(result_path(job, number)) as stream:
                name, documents, sentences, sums = json.loads(stream.read())
            results.append(SplitResult(name, documents, sentences, Statistics(**sums)))
            say(f"{name}: {results[-1].statistics.records:,} records")
        if config.shard_bytes is None:  # otherwise only the workers know the names
            remove_leftovers(final_names(local, config.instances), say)
        return results
    finally:
        try:
            FileSystems.delete([temporary])
        except Exception as error:
            logging.getLogger("morphbert").warning("%s could not be removed: %s", temporary, error)


def _make_folder(folder: str) -> None:
    """Makes a folder on a disk; object stores have no folders."""
    try:
        if folder and not FileSystems.exists(folder):
            FileSystems.mkdirs(folder)
    except (OSError, ValueError, beam.io.filesystem.BeamIOError) as error:
        raise MorphbertError(f"{folder} cannot be written: {error}") from error


def _let_workers_import() -> None:
    """Adds this program's folder to the import path of the worker processes that the local runner starts."""
    import morphbert

    root = os.path.dirname(os.path.dirname(os.path.abspath(morphbert.__file__)))
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    if root not in paths:
        os.environ["PYTHONPATH"] = os.pathsep.join([root, *paths])


def _run(pipeline: beam.Pipeline) -> None:
    try:
        state = pipeline.run().wait_until_finish()
    except MorphbertError as error:
        # Beam appends the stage of the pipeline.
        raise MorphbertError(re.sub(r" \[while running .*", "", str(error), flags=re.S)) from error
    except Exception as error:
        # From a worker process an error comes as text.
        ours = re.findall(r"MorphbertError: (.*?)(?: \[while running |\n|$)", str(error))
        if ours:
            raise MorphbertError(ours[-1]) from error
        raise MorphbertError(f"the pipeline failed: {error}") from error
    if state not in (None, "DONE"):
        raise MorphbertError(f"the pipeline ended as {state}: see the log of its runner.")
