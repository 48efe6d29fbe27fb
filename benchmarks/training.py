"""How fast a training step is, beside Hugging Face transformers on PyTorch: the same model, batch and machine.

    python benchmarks/training.py --model=mini --dtype=float32            # a step's time, as ratios
    python benchmarks/training.py --measure=input --model=tiny --steps=50  # the input pipeline alone
    python benchmarks/training.py --measure=start --model=base --rounds=3  # from the command to its first step
    python benchmarks/training.py --measure=cost                           # operations and bytes of a step, counted

Every contestant is a process of its own; they take their steps in turns, A B A B, and medians are compared, so that
what else the machine does meets all alike. First steps, in which things are compiled, are not counted. Dropout is on,
gradients are clipped, weights are float32 and updated in each step.

- morphbert: the step of run_pretraining.py.
- PyTorch: BertForPreTraining at its best: scores of the masked positions only, fused scaled-dot-product attention
  (SDPA), fused AdamW, autocast for bfloat16; the same with attention as written out, which is faster where dropout
  keeps SDPA from its fast path; and the first compiled by torch.compile.
- PyTorch as shipped: BertForPreTraining's own loss, for which it scores every position.
- product: a large square matrix product in the same dtype, the faster one of both libraries: the limit of the machine.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
LEARNING_RATE, WEIGHT_DECAY, CLIP_NORM = 1e-4, 0.01, 1.0


def sizes(arguments):
    """The model's sizes, by the names of bert_config.json."""
    path = REPOSITORY / "morphbert" / "model" / "configs" / f"{arguments.model}.json"
    return {**json.loads(path.read_text()), "vocab_size": arguments.vocab_size}


def batch_of(arguments, seed=1):
    """A batch like one of real records: a tenth of the sequences is short, every place for a mask is taken."""
    import numpy as np

    random = np.random.default_rng(seed)
    rows, length, masks = arguments.batch, arguments.length, arguments.predictions
    real = np.where(np.arange(rows) % 10 == 0, length // 2, length)
    mask = (np.arange(length)[None] < real[:, None]).astype(np.int32)
    places = random.random([rows, length]) + 2.0 * (1 - mask)  # the smallest are masked, padding never
    return {
        "input_ids": random.integers(5, arguments.vocab_size, [rows, length]).astype(np.int32) * mask,
        "input_mask": mask,
        "segment_ids": (np.arange(length)[None] >= real[:, None] // 2).astype(np.int32) * mask,
        "masked_lm_positions": np.sort(np.argsort(places)[:, :masks]).astype(np.int32),
        "masked_lm_ids": random.integers(5, arguments.vocab_size, [rows, masks]).astype(np.int32),
        "masked_lm_weights": np.ones([rows, masks], np.float32),
        "next_sentence_labels": random.integers(0, 2, [rows, 1]).astype(np.int32),
    }


# ── Contestants: each gives a function that takes n steps ─────────────────────────────────────────────────


def training_step(config, settings):
    """The step of run_pretraining.py, and the objective, model and optimizer that it is made of."""
    from morphbert.model.parameters import TrainableModel
    from morphbert.train.cluster.strategy import DeviceConfig, build_strategy, share_processors
    from morphbert.train.objective import pretraining_objective
    from morphbert.train.optimizers.config import ScheduledConfig
    from morphbert.train.optimizers.optimizer import Optimizer
    from morphbert.train.step import TrainingStep
    from morphbert.train.train_state import TrainState

    share_processors()
    strategy = build_strategy(DeviceConfig()).strategy
    objective = pretraining_objective(config)
    with strategy.scope():
        model = TrainableModel(config, objective.parameters)
        optimizer = Optimizer(
            ScheduledConfig(learning_rate=LEARNING_RATE, num_warmup_steps=0), model.declared
        )
    return (
        TrainingStep(objective, TrainState(model, optimizer), strategy, settings),
        objective,
        model,
        optimizer,
    )


def our_training(arguments):
    """The same for the flags of this program."""
    from morphbert.model.config import BertConfig
    from morphbert.train.step_config import StepConfig

    return training_step(BertConfig(**sizes(arguments)), StepConfig(dtype=arguments.dtype, xla=arguments.xla))


def ours(arguments):
    import tensorflow as tf

    training = our_training(arguments)[0]
    iterator = iter(tf.data.Dataset.from_tensors(batch_of(arguments)).repeat())
    return lambda count: training.run(iterator, tf.constant(count))[0].numpy()


def pytorch(arguments, shipped=False, compiled=False, attention="sdpa"):
    import torch
    from torch.nn.functional import cross_entropy
    from transformers import BertConfig, BertForPreTraining

    config = BertConfig(**{**sizes(arguments), "hidden_act": "gelu_new"}, attn_implementation=attention)
    model = BertForPreTraining(config).train()
    decayed = [p for name, p in model.named_parameters() if "LayerNorm" not in name and "bias" not in name]
    others = [p for name, p in model.named_parameters() if "LayerNorm" in name or "bias" in name]
    groups = [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=LEARNING_RATE, fused=True)
    batch = {name: torch.tensor(values) for name, values in batch_of(arguments).items()}
    integers = {name: values.long() for name, values in batch.items() if values.dtype == torch.int32}
    inputs = {
        "input_ids": integers["input_ids"],
        "attention_mask": integers["input_mask"],
        "token_type_ids": integers["segment_ids"],
    }
    rows = torch.arange(arguments.batch)[:, None]
    positions, labels = integers["masked_lm_positions"], integers["masked_lm_ids"]
    next_labels = integers["next_sentence_labels"][:, 0]
    everywhere = torch.full_like(inputs["input_ids"], -100)
    everywhere[rows, positions] = labels

    def loss_as_shipped():
        return model(**inputs, labels=everywhere, next_sentence_label=next_labels).loss

    def loss_of_masked():
        hidden, pooled = model.bert(**inputs, return_dict=False)[:2]
        scores, pairs = model.cls(hidden[rows, positions], pooled)
        return cross_entropy(scores.flatten(0, 1).float(), labels.flatten()) + cross_entropy(
            pairs.float(), next_labels
        )

    loss_of = loss_as_shipped if shipped else loss_of_masked
    if compiled:
        loss_of = torch.compile(loss_of)
    parameters = list(model.parameters())

    def steps(count):
        for _ in range(count):
            with torch.autocast("cpu", torch.bfloat16, enabled=arguments.dtype == "bfloat16"):
                loss = loss_of()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, CLIP_NORM)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return loss.item()

    return steps


def product(arguments):
    """The large product of one library: a call is 2 × 4096³ operations."""
    size = 4096
    if arguments.contestant.endswith("TensorFlow"):
        import tensorflow as tf

        left = tf.cast(tf.random.normal([size, size]), arguments.dtype)
        multiply = tf.function(lambda: tf.reduce_max(tf.matmul(left, left)))
        return lambda count: [multiply().numpy() for _ in range(count)]
    import torch

    left = torch.randn(size, size).to(getattr(torch, arguments.dtype))
    return lambda count: [(left @ left).max().item() for _ in range(count)]


CONTESTANTS = {
    "morphbert": ours,
    "PyTorch": pytorch,
    "PyTorch eager attention": lambda arguments: pytorch(arguments, attention="eager"),
    "PyTorch compiled": lambda arguments: pytorch(arguments, compiled=True),
    "PyTorch as shipped": lambda arguments: pytorch(arguments, shipped=True),
    "product TensorFlow": product,
    "product PyTorch": product,
}
PRODUCT_FLOPS = 2 * 4096**3


def contestant(arguments):
    """A child process: takes as many steps as a line of its input says, and answers with the seconds."""
    answers = os.fdopen(os.dup(1), "w")  # a library's own words must not be taken for an answer
    os.dup2(2, 1)
    steps = CONTESTANTS[arguments.contestant](arguments)
    for line in sys.stdin:
        started = time.perf_counter()
        steps(int(line))
        print(time.perf_counter() - started, file=answers, flush=True)


class Child:
    """A contestant in its process."""

    def __init__(self, name, argv):
        self.name = name
        # What a library says, shown only if it fails.
        self._words = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed in `end`)
        self._process = subprocess.Popen(
            [sys.executable, __file__, *argv, f"--contestant={name}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._words,
            text=True,
        )

    def seconds(self, steps):
        """Takes steps; returns the seconds that they took."""
        try:
            self._process.stdin.write(f"{steps}\n")
            self._process.stdin.flush()
            return float(self._process.stdout.readline())
        except (BrokenPipeError, ValueError):
            self._process.wait()
            self._words.seek(0)
            sys.exit(f"{self.name} failed:\n{self._words.read()}")

    def end(self):
        self._process.stdin.close()
        self._process.wait()
        self._words.close()


# ── Measurements ─────────────────────────────────────────────────────────────────────────────────────────


def measure_steps(arguments, argv):
    """Prints each contestant's median time of a step and how many times ours it is."""
    names = arguments.only.split(",") if arguments.only else list(CONTESTANTS)
    children = [Child(name, argv) for name in names]
    seconds = {name: [] for name in names}
    for child in children:
        print(f"{child.name}: {child.seconds(2):.1f} s for the first two steps", file=sys.stderr, flush=True)
    began = time.monotonic()
    for _ in range(arguments.rounds):
        for child in children:
            seconds[child.name].append(child.seconds(arguments.steps) / arguments.steps)
        if time.monotonic() - began > arguments.limit:
            break
    for child in children:
        child.end()
    medians = {name: statistics.median(found) for name, found in seconds.items()}
    print(
        f"BERT-{arguments.model}, {arguments.dtype}, {arguments.batch} × {arguments.length}, {arguments.predictions} "
        f"predictions, {arguments.vocab_size} pieces, {os.cpu_count()} cores; {len(seconds[names[0]])} rounds"
    )
    for name, found in seconds.items():
        ratio = f"{medians[name] / medians['morphbert']:8.2f} ×" if "morphbert" in medians else ""
        print(
            f"{name:<22}{1e3 * medians[name]:10.1f} ms (from {1e3 * min(found):.1f} to {1e3 * max(found):.1f}){ratio}"
        )
    products = [medians[name] for name in names if name.startswith("product")]
    if products:
        best = PRODUCT_FLOPS / min(products)
        print(f"product: {best / 1e9:.0f} GFLOP/s; the step has {step_flops(arguments) / 1e9:.1f} GFLOP")
        for name in names:
            if not name.startswith("product"):
                reached = step_flops(arguments) / medians[name]
                print(f"{name}: {reached / 1e9:.0f} GFLOP/s, {reached / best:.0%} of the product's")


def write_records(arguments, folder, number=4096):
    """Record files of random pieces, as many to a file as a small run has; returns their glob."""
    import numpy as np

    from morphbert.data.records import RecordWriter, serialize_example

    batches = []
    for seed in range(number // arguments.batch):
        batches.append(batch_of(arguments, seed))
    for file in range(4):
        with open(os.path.join(folder, f"{file}.tfrecord"), "wb") as stream:
            writer = RecordWriter(stream)
            for batch in batches[file::4]:
                for row in range(arguments.batch):
                    example = {name: np.asarray(values[row]).tolist() for name, values in batch.items()}
                    writer.write(serialize_example(example))
    return os.path.join(folder, "*.tfrecord")


def measure_input(arguments, argv):
    """Prints how many sequences a second the input pipeline gives, and how many the step takes."""
    import glob

    import tensorflow as tf

    from morphbert.data.records import RecordShape
    from morphbert.train.input.records import Reading, RecordFormat, training_dataset

    child = Child("morphbert", argv)
    with tempfile.TemporaryDirectory() as folder:
        files = sorted(glob.glob(write_records(arguments, folder)))
        form = RecordFormat(RecordShape(arguments.length, arguments.predictions), arguments.vocab_size, 2)
        # A host's steps take the batches in a graph: so does this, without any step.
        batches = iter(
            training_dataset(files, form, Reading(arguments.batch, seed=1, shuffle_buffer_size=1000))
        )

        @tf.function
        def take(count):
            for _ in tf.range(count):
                next(batches)

        take(tf.constant(200))
        child.seconds(3)
        rates = {"input pipeline": [], f"step of BERT-{arguments.model}": []}
        for _ in range(arguments.rounds):
            started = time.perf_counter()
            take(tf.constant(200))
            given = 200 * arguments.batch / (time.perf_counter() - started)
            taken = arguments.steps * arguments.batch / child.seconds(arguments.steps)
            for found, rate in zip(rates.values(), (given, taken), strict=True):
                found.append(rate)
        child.end()
    medians = [statistics.median(found) for found in rates.values()]
    for name, median in zip(rates, medians, strict=True):
        print(f"{name:<24}{median:10.0f} sequences/s of {arguments.length}")
    print(f"ratio: {medians[0] / medians[1]:.1f}")


def measure_start(arguments):
    """Prints the seconds from the command to the end of its first step, compilation included."""
    with tempfile.TemporaryDirectory() as folder:
        config = os.path.join(folder, "bert_config.json")
        Path(config).write_text(json.dumps(sizes(arguments)))
        command = [
            *(sys.executable, str(REPOSITORY / "run_pretraining.py"), "--do_train", "--log_steps=1"),
            f"--bert_config_file={config}",
            f"--input_file={write_records(arguments, folder, 8 * arguments.batch)}",
            f"--output_dir={os.path.join(folder, 'out')}",
            f"--max_seq_length={arguments.length}",
            f"--max_predictions_per_seq={arguments.predictions}",
            f"--train_batch_size={arguments.batch}",
            f"--dtype={arguments.dtype}",
            "--num_train_steps=1000",
        ]
        for _ in range(arguments.rounds):
            started = time.monotonic()
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            first = next((line for line in process.stdout if line.startswith("step 1/")), None)
            seconds = time.monotonic() - started
            process.kill()
            process.communicate()
            if first is None:
                sys.exit("the run ended before its first step")
            print(
                f"BERT-{arguments.model}, {arguments.dtype}: first step done after {seconds:.1f} s",
                flush=True,
            )


# What moves no numbers, or none worth counting.
_FREE = frozenset(
    "Const Reshape Identity IdentityN ReadVariableOp Placeholder NoOp Shape ExpandDims VarHandleOp Squeeze Fill".split()
)


def measure_cost(arguments):
    """Prints the work of a step's operations, and their reads and writes, by kind, without running one."""
    import math

    import tensorflow as tf

    training, objective, model, optimizer = our_training(arguments)
    batch = {name: tf.constant(values) for name, values in batch_of(arguments).items()}

    def step():
        counts = {**objective.count(batch), "tokens": tf.constant(1.0)}
        gradients, sums = training._gradients(batch, counts, tf.constant(0, tf.int64), tf.constant(0))
        return sums, optimizer.apply(model.parameters, dict(zip(model.parameters, gradients, strict=True)))

    kinds = {}
    for operation in tf.function(step).get_concrete_function().graph.get_operations():
        kind = operation.type
        if kind in _FREE:
            continue
        tensors = [*operation.inputs, *operation.outputs]
        if kind.endswith("PartitionedCall"):
            kind = "compiled: " + operation.get_attr("f").name.removeprefix("__inference_").rstrip(
                "0123456789_"
            )
        moved = sum(
            math.prod(t.shape) * t.dtype.size for t in tensors if t.shape.is_fully_defined() and t.dtype.size
        )
        flops = 0
        if kind in ("MatMul", "BatchMatMulV2"):
            turned = operation.get_attr("transpose_a" if kind == "MatMul" else "adj_x")
            shared = operation.inputs[0].shape[-2 if turned else -1]
            flops = 2 * math.prod(operation.outputs[0].shape) * shared
        number, all_flops, all_moved = kinds.get(kind, (0, 0, 0))
        kinds[kind] = number + 1, all_flops + flops, all_moved + moved
    totals = [sum(column) for column in zip(*kinds.values(), strict=True)]
    print(f"{'BERT-' + arguments.model + ', ' + arguments.dtype:<52}{'number':>8}{'GFLOP':>10}{'MB':>10}")
    for kind, (number, flops, moved) in sorted(kinds.items(), key=lambda item: -item[1][2])[:24]:
        print(f"{kind:<52}{number:8}{flops / 1e9:10.1f}{moved / 1e6:10.0f}")
    print(f"{'all':<52}{totals[0]:8}{totals[1] / 1e9:10.1f}{totals[2] / 1e6:10.0f}")


def step_flops(arguments):
    from morphbert.model.config import BertConfig
    from morphbert.model.cost import step_flops

    return step_flops(
        BertConfig(**sizes(arguments)), arguments.batch, arguments.length, arguments.predictions
    )


def parser_of_step(description, model, dtype):
    """A parser of the flags that `our_training` and `batch_of` read, with a default model and dtype."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default=model, help="a name in morphbert/model/configs")
    parser.add_argument("--dtype", default=dtype, choices=("float32", "bfloat16"))
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--predictions", type=int, default=20)
    parser.add_argument("--vocab_size", type=int, default=32000)
    return parser


def main():
    parser = parser_of_step(__doc__, "mini", "float32")
    parser.add_argument("--measure", choices=("steps", "input", "start", "cost"), default="steps")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=1, help="steps of a contestant's turn")
    parser.add_argument("--limit", type=float, default=100, help="seconds after which no round is begun")
    parser.add_argument("--xla", action="store_true", help="compile our step with XLA")
    parser.add_argument("--only", help=f"contestants, with commas; known are {', '.join(CONTESTANTS)}")
    parser.add_argument("--contestant", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.contestant:
        contestant(arguments)
    elif arguments.measure == "steps":
        measure_steps(arguments, sys.argv[1:])
    elif arguments.measure == "input":
        measure_input(arguments, sys.argv[1:])
    elif arguments.measure == "start":
        measure_start(arguments)
    else:
        measure_cost(arguments)


if __name__ == "__main__":
    main()
