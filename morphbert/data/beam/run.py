"""Runs the pipeline on a Beam runner and returns its results."""

from __future__ import annotations

import argparse
import contextlib
import importlib
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
    from apache_beam.runners import create_runner
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner
except ImportError as error:
    raise MorphbertError(
        "--engine=beam needs Apache Beam, which is not installed: pip install 'morphbert[beam]', in a separate "
        "environment if TensorFlow and Beam need different versions of protobuf."
    ) from error

from morphbert.data.beam.pipeline import (
    BeamJob,
    construct,
    construct_from_survey,
    construct_survey,
    read_survey,
    result_path,
)
from morphbert.data.beam.text import Range, ranges_of
from morphbert.data.beam.vocabulary import PackedVocabulary

# The number of pieces in a block: about 50 MB with the pieces of its instances.
BLOCK_TOKENS = 1 << 20
# Beam's DirectRunner may download and run a program (Prism); this runner stays in Python.
_LOCAL_RUNNERS = (None, "DirectRunner", "FnApiRunner")
# Beam knows its other runners by their short names, in any case and also without "Runner".
_DASK = "apache_beam.runners.dask.dask_runner.DaskRunner"
_DASK_NAMES = ("dask", "daskrunner", _DASK.lower())
# Each stage of Dask's runner reads a partition at once; its own default has 128 ranges of text in one.
_DASK_PARTITIONS = 256


def options_of(arguments: Sequence[str]) -> PipelineOptions:
    """Returns Beam's options from the command line, and those of the runner that it names.

    Raises:
      UsageError: Beam does not know one of them, or the runner is none.
      MorphbertError: the runner is not installed.
    """
    _import_runner(arguments)
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, conflict_handler="resolve")
    for options in PipelineOptions.__subclasses__():
        options._add_argparse_args(parser)
    unknown = parser.parse_known_args(list(arguments))[1]
    if unknown:
        raise UsageError(f"{unknown[0]} is not a flag of this program or of Apache Beam (see --help).")
    return PipelineOptions(list(arguments))


def _import_runner(arguments: Sequence[str]) -> None:
    """Imports the module of a runner with a path of its own, which declares the runner's options."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--runner")
    name = parser.parse_known_args(list(arguments))[0].runner or ""
    is_dask = name.lower() in _DASK_NAMES
    if not is_dask and "." not in name:
        return
    try:
        importlib.import_module((_DASK if is_dask else name).rpartition(".")[0])
    except (ImportError, AttributeError) as error:  # the second, where there is Dask without its scheduler
        if is_dask:
            raise MorphbertError(
                f"--runner={name} needs Dask, which is not installed here: pip install 'morphbert[dask]', with the "
                "same versions for the scheduler and the workers."
            ) from error
        raise UsageError(f"--runner={name} cannot be imported: {error}.") from error


def _runner_of(options: PipelineOptions) -> Any:
    """Returns the runner that the options name.

    Raises:
      UsageError: there is none of that name, or a package of it is missing.
    """
    name = options.view_as(StandardOptions).runner
    if name in _LOCAL_RUNNERS:
        _let_workers_import()
        return FnApiRunner()
    if name.lower() in _DASK_NAMES:
        from apache_beam.runners.dask.dask_runner import DaskOptions

        chosen = options.view_as(DaskOptions)
        if chosen.npartitions is None and chosen.partition_size is None:
            chosen.npartitions = _DASK_PARTITIONS
        return create_runner(_DASK)
    try:
        return create_runner(name)
    except (ValueError, ImportError, AttributeError) as error:
        raise UsageError(f"--runner={name} cannot be used: {error}") from error


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
    runner = _runner_of(options)
    names = tuple({"name": os.path.basename(path), "bytes": size} for path, size in inputs)
    # Workers may run in other folders.
    inputs = [(_whole(path), size) for path, size in inputs]
    config = replace(config, output_files=tuple(map(_whole, config.output_files)))
    if config.eval_output_file is not None:
        config = replace(config, eval_output_file=_whole(config.eval_output_file))
    temporary = f"{config.output_files[0]}.beam-{uuid.uuid4().hex[:12]}"
    config = replace(config, input_files=tuple(path for path, _ in inputs))
    job = BeamJob(config, vocabulary, names, temporary, BLOCK_TOKENS)
    # In an object store nothing is removed; readers of the records detect leftovers there.
    local = [name for name in config.all_outputs if not is_remote(name)]
    check_replaceable(local)
    folders = {os.path.dirname(name) for name in (*config.output_files, config.eval_output_file or "")}
    for folder in (*sorted(folders), temporary):
        _make_folder(folder)
    try:
        say(f"Apache Beam {beam.__version__}, {type(runner).__name__}")
        _run_stages(job, ranges_of(inputs, encoding=config.encoding), runner, options)
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


def _is_dask(runner: Any) -> bool:
    return f"{type(runner).__module__}.{type(runner).__name__}" == _DASK


def _whole(path: str) -> str:
    return path if is_remote(path) else os.path.abspath(path)


def _run_stages(job: BeamJob, ranges: list[Range], runner: Any, options: PipelineOptions) -> None:
    """Runs all stages, with Dask as two pipelines.

    Dask's runner computes a side input again in every task that reads it, here the tokens of the whole text.
    """

    def run(construct: Callable[..., None], *parts: Any) -> None:
        try:
            pipeline = beam.Pipeline(runner=runner, options=options)
        except ValueError as error:
            raise UsageError(f"Apache Beam's options cannot be used: {error}") from error
        construct(pipeline, job, *parts)
        _run(pipeline)

    if not _is_dask(runner):
        run(construct, ranges)
        return
    run(construct_survey, ranges)
    run(construct_from_survey, read_survey(job))


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
    with contextlib.ExitStack() as stack:
        try:
            result = pipeline.run()
            if _is_dask(pipeline.runner):  # its client tries to reach the scheduler for as long as it is open
                stack.callback(result.client.close)
            state = result.wait_until_finish()
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
