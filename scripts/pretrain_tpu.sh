#!/usr/bin/env bash
# Pretrains on a Cloud TPU from records that lie in a bucket. Not run on a TPU by its authors: see README.md.
#   scripts/pretrain_tpu.sh 'gs://BUCKET/data/train.tfrecord*' 'gs://BUCKET/data/eval.tfrecord*' gs://BUCKET/model
# Settings are environment variables; TPU_NAME=local on a TPU VM.
set -euo pipefail

if [[ $# -ne 3 ]]; then
  sed -n '2,4s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
  exit 2
fi
root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)

# A batch is shared by all cores of the TPU: a multiple of their number. Everything is compiled once for these
# shapes, and the loop runs on the TPU until the next line of progress or checkpoint.
exec "${PYTHON:-python3}" "$root/run_pretraining.py" --do_train --do_eval --use_tpu \
  --tpu_name="${TPU_NAME:-local}" \
  --input_file="$1" --eval_input_file="$2" --output_dir="$3" \
  --bert_config_file="${BERT_CONFIG_FILE:-$root/bert_config.json}" \
  --max_seq_length="${MAX_SEQ_LENGTH:-128}" --max_predictions_per_seq="${MAX_PREDICTIONS_PER_SEQ:-20}" \
  --train_batch_size="${TRAIN_BATCH_SIZE:-256}" --eval_batch_size="${EVAL_BATCH_SIZE:-256}" \
  --learning_rate="${LEARNING_RATE:-1e-4}" --num_train_steps="${NUM_TRAIN_STEPS:-1000000}" \
  --num_warmup_steps="${NUM_WARMUP_STEPS:-10000}" --save_checkpoints_steps="${SAVE_CHECKPOINTS_STEPS:-5000}" \
  --dtype="${DTYPE:-bfloat16}" --seed="${SEED:-12345}"
