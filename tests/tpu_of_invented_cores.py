"""Traces a step and an evaluation under a real `TPUStrategy` whose two cores are invented; a program of its own.

Nothing is run. Variables lie on two logical devices of the CPU, and the loop's graph is built as on a TPU: replicated
handles of the variables, input for each host, sums across replicas. Refusals of the Python of TPUStrategy are refusals
here too. TensorFlow splits the CPU once in a process, before anything else.
"""

import collections
import json
import sys

import numpy as np
import tensorflow as tf
from runs import evaluation_of
from tensorflow.python.distribute import tpu_strategy
from tensorflow.python.tpu import tpu_system_metadata

CORES = 2


class Resolver:
    """Finds a TPU that is not there."""

    def get_tpu_system_metadata(self):
        device = collections.namedtuple("Device", "name")
        kinds = [*(f"TPU:{core}" for core in range(CORES)), "CPU:0", "TPU_SYSTEM:0"]
        names = [device(f"/job:localhost/replica:0/task:0/device:{kind}") for kind in kinds]
        return tpu_system_metadata.TPUSystemMetadata(
            num_cores=CORES, num_hosts=1, num_of_cores_per_host=CORES, topology=None, devices=names
        )

    def cluster_spec(self):
        return None


def invented_tpu():
    """The strategy; its variables are put on the CPU."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * CORES)
    strategy = tpu_strategy.TPUStrategyV2(Resolver())
    cores = [[f"/job:localhost/replica:0/task:0/device:CPU:{core}"] for core in range(CORES)]
    strategy.extended._tpu_devices = np.array(cores, dtype=object)
    return strategy


def all_nodes(function):
    graph = function.graph.as_graph_def()
    return [*graph.node, *(node for one in graph.library.function for node in one.node_def)]


def main():
    from morphbert.model.kernels import lowered_for

    strategy = invented_tpu()
    # The strategy now names its cores as TPU cores, by which layouts are chosen.
    with lowered_for("TPU"):
        print(json.dumps(traced(strategy)))


def traced(strategy):
    """The operations of a training loop and of an evaluation, counted."""
    from morphbert.data.records import RecordShape
    from morphbert.model.config import BertConfig
    from morphbert.model.parameters import TrainableModel
    from morphbert.train.accelerator_check.of_run import batch_of
    from morphbert.train.cluster.strategy import Devices
    from morphbert.train.evaluation import Evaluator
    from morphbert.train.input.records import RecordFormat
    from morphbert.train.objective import pretraining_objective
    from morphbert.train.optimizers.config import ScheduledConfig
    from morphbert.train.optimizers.optimizer import Optimizer
    from morphbert.train.step import StepConfig, TrainingStep
    from morphbert.train.train_state import TrainState

    devices = Devices(strategy, "invented")
    config = BertConfig.from_json_file(sys.argv[1])
    objective = pretraining_objective(config)
    with strategy.scope():
        model = TrainableModel(config, objective.parameters)
        train_state = TrainState(model, Optimizer(ScheduledConfig(), objective.parameters))
    rows = batch_of(RecordFormat(RecordShape(32, 5), config.vocab_size, config.type_vocab_size), 4)
    batch = {one.name: tf.zeros(one.shape, one.dtype) for one in rows}
    dataset = strategy.distribute_datasets_from_function(
        lambda _: tf.data.Dataset.from_tensors(batch).repeat()
    )
    iterator = iter(dataset)
    found = {"input_per_host": devices.input_per_host, "sharers": devices.sharers_of_batch, "steps": []}
    for step in (
        StepConfig(dtype="bfloat16", xla=True),
        StepConfig(xla=True, gradient_accumulation_steps=2, recompute=True),
    ):
        training = TrainingStep(objective, train_state, strategy, step, devices.sharers_of_batch)
        nodes = all_nodes(training.run.get_concrete_function(iterator, tf.constant(2)))
        inside = collections.Counter(node.op for node in nodes if "_tpu_replicate" in node.attr)
        kinds = collections.Counter(node.op for node in nodes)
        found["steps"].append({"inside": inside, "kinds": kinds})
    run = evaluation_of(config, step=StepConfig(xla=True))
    evaluated = {
        **{name: tf.concat([one, one], 0) for name, one in batch.items()},
        "example_weights": tf.ones([8]),
    }
    evaluator = Evaluator(run, objective, model, devices)  # a method's graph does not keep its object
    nodes = all_nodes(evaluator._batch.get_concrete_function(evaluated))
    found["evaluation"] = collections.Counter(node.op for node in nodes)
    # The number of different tensors that go to the cores besides the weights, which are resources.
    found["batches_of_evaluation"] = [
        len(set(node.input))
        for node in nodes
        if node.op == "TPUReplicatedInput" and node.attr["T"].type != tf.resource.as_datatype_enum
    ]
    return found


if __name__ == "__main__":
    main()
