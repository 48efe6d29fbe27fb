#!/usr/bin/env bash
# Pretrains as BERT was: most steps on short sequences, the last ones on long ones, in one run.
#   scripts/pretrain_two_phase.sh 'corpus/*.txt' OUTPUT_DIR
# The text has one sentence per line and an empty line between documents. The same command continues an interrupted run
# and passes over what is finished; for other settings take another OUTPUT_DIR. Settings are environment variables:
#   MODEL=mini  OBJECTIVE=nsp (sop for albert_base, none for roberta_base)
#   VOCAB_SIZE=32000  DUPE_FACTOR=10  MASKED_LM_PROB=0.15  EVAL_FRACTION=0.05  SEED=12345
#   FIRST_LENGTH=128  SECOND_LENGTH=512  FIRST_SHARE=0.9     pieces in a sequence, share of the steps on short ones
#   TRAIN_BATCH_SIZE=32  SECOND_BATCH_SIZE=TRAIN_BATCH_SIZE  sequences in a step
#   LEARNING_RATE=1e-4  NUM_TRAIN_STEPS=10000  NUM_WARMUP_STEPS=a tenth  SAVE_CHECKPOINTS_STEPS=500
#   TRAIN_FLAGS: more flags for run_pretraining.py, e.g. --dtype=bfloat16  PYTHON=.venv/bin/python
set -euo pipefail

usage() { sed -n '2,12s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }

if [[ ${1:-} == -h || ${1:-} == --help ]]; then usage && exit 0; fi
if [[ $# -ne 2 || -z $2 || $2 == *[,*?[]* ]]; then
  echo "pretrain_two_phase.sh: give INPUT_GLOB, in quotes, and OUTPUT_DIR, without , * ? or [" >&2
  usage >&2
  exit 2
fi
root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
input=$1 output=${2%/}
: "${PYTHON:=$root/.venv/bin/python}"
[[ -x $PYTHON || $PYTHON != */* ]] || PYTHON=python3
export PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH}
: "${MODEL:=mini}" "${OBJECTIVE:=nsp}" "${VOCAB_SIZE:=32000}" "${DUPE_FACTOR:=10}" "${MASKED_LM_PROB:=0.15}"
: "${EVAL_FRACTION:=0.05}" "${SEED:=12345}" "${FIRST_LENGTH:=128}" "${SECOND_LENGTH:=512}" "${FIRST_SHARE:=0.9}"
: "${TRAIN_BATCH_SIZE:=32}" "${SECOND_BATCH_SIZE:=$TRAIN_BATCH_SIZE}" "${LEARNING_RATE:=1e-4}"
: "${NUM_TRAIN_STEPS:=10000}" "${NUM_WARMUP_STEPS:=$((NUM_TRAIN_STEPS / 10))}"
: "${SAVE_CHECKPOINTS_STEPS:=500}" "${TRAIN_FLAGS:=}"

config=$root/morphbert/model/configs/$MODEL.json
if [[ ! -f $config ]]; then
  echo "pretrain_two_phase.sh: there is no MODEL $MODEL: take one of" \
    "$(cd "${config%/*}" && echo *.json | sed 's/\.json//g')" >&2
  exit 2
fi

if [[ ! -f $output/vocab/vocab.txt ]]; then
  "$PYTHON" "$root/build_vocab.py" --input_file="$input" --vocab_dir="$output/vocab" --vocab_size="$VOCAB_SIZE"
fi

for length in "$FIRST_LENGTH" "$SECOND_LENGTH"; do
  records=$output/records/$length
  if [[ -f $records.done ]]; then
    echo "records of $length pieces: finished before"
    continue
  fi
  # The same seed holds the same documents out for both lengths: neither is trained on the other's test documents.
  "$PYTHON" "$root/create_pretraining_data.py" --input_file="$input" --vocab_file="$output/vocab" \
    --output_file="$records/train.tfrecord" --eval_output_file="$records/eval.tfrecord" \
    --eval_fraction="$EVAL_FRACTION" --max_seq_length="$length" \
    --max_predictions_per_seq="$("$PYTHON" -c 'import math, sys
print(math.ceil(int(sys.argv[1]) * float(sys.argv[2])))' "$length" "$MASKED_LM_PROB")" \
    --masked_lm_prob="$MASKED_LM_PROB" --dupe_factor="$DUPE_FACTOR" --do_whole_word_mask \
    --objective="$OBJECTIVE" --random_seed="$SEED"
  touch "$records.done"
done

"$PYTHON" "$root/scripts/model_config.py" "$config" "$output/vocab/vocab.txt" \
  "$output/bert_config.json"

second_share=$("$PYTHON" -c 'import sys; print(round(1 - float(sys.argv[1]), 9))' "$FIRST_SHARE")
# shellcheck disable=SC2086 (TRAIN_FLAGS holds several words)
exec "$PYTHON" "$root/run_pretraining.py" --do_train --do_eval --bert_config_file="$output/bert_config.json" \
  --input_file="$output/records/*/train.tfrecord" --eval_input_file="$output/records/*/eval.tfrecord" \
  --phases="$FIRST_LENGTH:$FIRST_SHARE,$SECOND_LENGTH:$second_share:$SECOND_BATCH_SIZE" \
  --vocab_file="$output/vocab" --output_dir="$output/model" --train_batch_size="$TRAIN_BATCH_SIZE" \
  --learning_rate="$LEARNING_RATE" --num_train_steps="$NUM_TRAIN_STEPS" --num_warmup_steps="$NUM_WARMUP_STEPS" \
  --save_checkpoints_steps="$SAVE_CHECKPOINTS_STEPS" --seed="$SEED" $TRAIN_FLAGS
