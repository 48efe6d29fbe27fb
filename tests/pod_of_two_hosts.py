"""Reads records as a pod of two hosts with two cores each; a program of its own, beside two processes as hosts.

    python pod_of_two_hosts.py host INDEX ADDRESSES       a host: serves its devices until its standard input ends
    python pod_of_two_hosts.py read ADDRESSES CONFIG [[SKIPPED, [FILE, …]], …]      the process that drives the pod

`TPUStrategy` gives each host a dataset of its own, which runs in that host's process and hands the rows to its cores.
The cores are invented: devices of the hosts' CPUs stand in their place. No step is run. The answer is JSON: for each
of the feeds (batches that were taken before, files), for each batch, for each core, the device that holds its rows,
and their pieces, masks' places and labels.
"""

import collections
import json
import sys

import tensorflow as tf
from tensorflow.python.distribute import tpu_strategy
from tensorflow.python.tpu import tpu_system_metadata

HOSTS, CORES = 2, 2
BATCH, BATCHES = 8, 5
NAMES = ("input_ids", "masked_lm_positions", "masked_lm_ids")


def serve(index, addresses):
    """A host."""
    tf.distribute.Server(
        tf.train.ClusterSpec({"worker": addresses}),
        job_name="worker",
        task_index=index,
        protocol="grpc",
        config=tf.compat.v1.ConfigProto(device_count={"CPU": CORES}),
    )
    print("ready", flush=True)
    sys.stdin.read()


class Resolver:
    """Finds a pod that is not there."""

    def get_tpu_system_metadata(self):
        device = collections.namedtuple("Device", "name")
        kinds = [*(f"TPU:{core}" for core in range(CORES)), "CPU:0"]
        hosts = [f"/job:worker/replica:0/task:{host}/device:" for host in range(HOSTS)]
        return tpu_system_metadata.TPUSystemMetadata(
            num_cores=HOSTS * CORES,
            num_hosts=HOSTS,
            num_of_cores_per_host=CORES,
            topology=None,
            devices=[device(host + kind) for host in hosts for kind in kinds],
        )

    def cluster_spec(self):
        return None


def pod(addresses):
    """The strategy, whose cores take their rows on devices of the hosts' CPUs."""
    tf.config.experimental_connect_to_cluster(tf.train.ClusterSpec({"worker": addresses}))
    strategy = tpu_strategy.TPUStrategyV2(Resolver())
    for cores in strategy.extended._device_input_worker_devices.values():
        cores[:] = [core.replace("TPU", "CPU") for core in cores]
    return strategy


def feed_of(devices, config, files, skipped):
    """The batches of a run."""
    from morphbert.data.records import RecordShape
    from morphbert.model.config import BertConfig
    from morphbert.train.input.record_sets import Feed, SetFinder

    finder = SetFinder.of(BertConfig.from_json_file(config), RecordShape(64, 10), None, files, seed=5)
    sets = finder.sets(files)
    return Feed(sets, BATCH, devices, seed=5, shuffle_buffer_size=20, skipped=[skipped])


def batches_of(feed, rows_of):
    """What `rows_of` says of the next batches."""
    return [rows_of(next(feed.take(1).iterator)) for _ in range(BATCHES)]


def read(addresses, config, feeds):
    """Prints where the rows of each core are, and the rows."""
    from morphbert.train.cluster.strategy import Devices

    strategy = pod(addresses)

    def rows(batch):
        by_core = [
            {"device": part.device} for part in strategy.experimental_local_results(batch["input_ids"])
        ]
        for name in NAMES:
            for core, part in zip(by_core, strategy.experimental_local_results(batch[name]), strict=True):
                core[name] = part.numpy().tolist()
        return by_core

    devices = Devices(strategy, "invented")
    found = [batches_of(feed_of(devices, config, files, skipped), rows) for skipped, files in feeds]
    print(json.dumps(found))


if __name__ == "__main__":
    if sys.argv[1] == "host":
        serve(int(sys.argv[2]), sys.argv[3].split(","))
    else:
        read(sys.argv[2].split(","), sys.argv[3], json.loads(sys.argv[4]))
