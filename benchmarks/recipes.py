"""Measures the parts of a recipe: every change to the modern recipe alone, trained for the same time.

    python benchmarks/recipes.py --input_file='petitions.txt,movie_reviews.txt.gz' --vocab_file=vocab/ko-mecab-8k \
        --model=tiny --minutes=1.2 --output=out/recipes

All runs are those of create_pretraining_data.py and run_pretraining.py, on one core each; `--workers` run at once.

1. Records are made for each kind of data: the same documents, 2% of them held out.
2. The time of a step of each recipe is measured in runs of 60 steps: the fastest ten steps in a row.
3. Every recipe gets as many steps as fit into `--minutes` at that speed: one with slow steps gets fewer of them.
   What else the machine does in the meantime changes nothing. Start-up, tracing and evaluation are not counted.
4. The learning rate is tuned with seed 0: of the modern recipe, of Muon and of BERT's block; the others take the modern
   recipe's. Then each recipe is trained with each of `--seeds`.
5. All are evaluated on the same held-out records: single pieces, 15% of them masked, unpacked, one segment.

A run whose result is in OUTPUT is not run again. The results are OUTPUT/results.json and OUTPUT/table.md.
"""

from __future__ import annotations

import statistics

from equal_time import RATES, Bench, Recipe, Records, parser_of

# The first is what all are evaluated on. 39 places are for 30% of 128 pieces.
RECORDS = {
    "single": Records(["--objective=none"]),
    "packed": Records(["--objective=none", "--pack_sequences"]),
    "pairs": Records(["--objective=nsp"]),
    "eojeol": Records(["--objective=none", "--masking_unit=eojeol"]),
    "30": Records(["--objective=none", "--masked_lm_prob=0.3", "--eval_masked_lm_prob=0.15"], 39),
    "dynamic": Records(["--objective=none", "--masking=dynamic", "--eval_masked_lm_prob=0.15"], 39),
    "packed-30": Records(
        ["--objective=none", "--pack_sequences", "--masked_lm_prob=0.3", "--eval_masked_lm_prob=0.15"], 39
    ),
}
RECIPES = {
    "modern": Recipe("the modern recipe: RECIPE=modern, adamw, no dropout, single pieces masked, 15%"),
    "absolute": Recipe(
        "learned positions in place of rotary ones",
        {"position_embedding_type": "absolute", "max_position_embeddings": 512},
    ),
    "plain": Recipe("no gate, GELU, equal parameters", {"mlp_gate": False, "intermediate_size": 1.5}),
    "post": Recipe("norms after the layers", {"pre_layer_norm": False, "embedding_norm": False}),
    "biases": Recipe(
        "biases", dict.fromkeys(("attention_bias", "mlp_bias", "norm_bias", "classifier_bias"), True)
    ),
    "global": Recipe(
        "global attention in all layers", {"global_attn_every_n_layers": 1, "local_attention": None}
    ),
    "rms": Recipe("RMSNorm", {"norm_type": "rms_norm"}),
    "dropout": Recipe(
        "dropout 0.1", {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}, dropout=True
    ),
    "packed": Recipe("packed records", records="packed"),
    "pairs": Recipe(
        "with next sentences",
        {"next_sentence_head": True, "pooler": True, "type_vocab_size": 2},
        records="pairs",
    ),
    "eojeol": Recipe("whole eojeols masked", records="eojeol"),
    "30": Recipe("30% masked", records="30"),
    "falling": Recipe(
        "30% masked, falling to 15%", flags=("--masked_lm_schedule=0.30:0.15",), records="dynamic"
    ),
    "muon": Recipe("Muon", optimizer="muon", tuned="muon", rates=(*RATES, 8e-3, 1.6e-2)),
    "ema": Recipe("mean of weights (--ema_decay=0.99)", flags=("--ema_decay=0.99",)),
    "combined": Recipe(
        "global attention, packed records, 30% masked",
        {"global_attn_every_n_layers": 1, "local_attention": None},
        records="packed-30",
    ),
    "bert": Recipe("BERT's block, no dropout", block="", tuned="bert"),
    "bert-2018": Recipe(
        "RECIPE=bert: dropout, next sentences", block="", tuned="bert", records="pairs", dropout=True
    ),
}


def table(bench: Bench, names: list[str], seeds: list[int]) -> str:
    """One line a recipe: steps, loss of each seed, mean, difference from the modern recipe."""

    def losses(name: str) -> list[float]:
        rate = bench.best_rate(RECIPES[name].tuned)
        return [bench.results[f"{name} rate {rate:g} seed {seed}"] for seed in seeds]

    reference = statistics.mean(losses("modern"))
    lines = [
        "| change | rate | ms a step | steps | held-out loss, mean (seeds) | difference |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name in names:
        own, time = losses(name), bench.results[f"{name} time"]
        each = ", ".join(f"{loss:.3f}" for loss in own)
        lines.append(
            f"| {RECIPES[name].what} | {bench.best_rate(RECIPES[name].tuned):g} | {1e3 * time:.0f} | "
            f"{bench.steps(name)} | {statistics.mean(own):.3f} ({each}) | "
            f"{statistics.mean(own) - reference:+.3f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Makes the missing runs, and writes the table."""
    parser = parser_of(__doc__, minutes=2)
    parser.add_argument("--only", default=",".join(RECIPES), help="recipes")
    parser.add_argument("--eval_steps", type=int, default=100, help="held-out batches of 16")
    arguments = parser.parse_args()
    bench = Bench(arguments, RECIPES, RECORDS)
    names = list(dict.fromkeys(["modern", *arguments.only.split(",")]))  # all are compared with it
    bench.make_records()
    bench.in_parallel(bench.seconds_a_step, [(name,) for name in names])
    tuned = dict.fromkeys(RECIPES[name].tuned for name in names)
    bench.in_parallel(bench.loss, [(name, rate, 0) for name in tuned for rate in RECIPES[name].rates])
    # One seed of all, then the next: a run that is stopped early has fewer seeds, not fewer recipes.
    runs = [(name, bench.best_rate(RECIPES[name].tuned), seed) for seed in arguments.seeds for name in names]
    bench.in_parallel(bench.loss, runs)
    words = table(bench, names, arguments.seeds)
    (bench.folder / "table.md").write_text(words, encoding="utf-8")
    print(words)


if __name__ == "__main__":
    main()
