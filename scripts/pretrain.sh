#!/usr/bin/env bash
# Raw text → vocabulary → records → pretrained BERT → filled masks. See --help.
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)

usage() {
  cat <<'HELP'
pretrain.sh - Pretrains a BERT on raw text, from the vocabulary to the evaluated checkpoint.

  scripts/pretrain.sh INPUT_GLOB OUTPUT_DIR    on your own corpus
  scripts/pretrain.sh OUTPUT_DIR               on the Korean laws and bills that KoNLPy carries

INPUT_GLOB (in quotes): text with one sentence per line and an empty line between documents, also .gz; or
.jsonl, .tsv, .csv, .parquet, WikiExtractor's wiki_00 (also .gz, .bz2, .xz, .zst), which prepare_corpus.py
divides into sentences first. It also does so with text if PREPARE_FLAGS are given.

Ctrl-C, SIGTERM and SIGUSR1 stop it; training saves first. The same command continues an interrupted run and skips
finished stages. A stage whose settings changed is done again, with all stages after it. A trained model
is never overwritten.

Settings are environment variables (default with INPUT_GLOB; without it, where it differs):

  Corpus      TEXT_FIELD=text             of JSON Lines, or the column of tables
              PREPARE_FLAGS               more flags for prepare_corpus.py, e.g. --near_duplicates=0.8
  Vocabulary  VOCAB_SIZE=32000 (4000)     pieces
              ANALYZER=mecab              mecab or none: the analyser of morphemes
              CONTINUATION=eojeol         the unit that ## continues: eojeol or morpheme
  Records     MAX_SEQ_LENGTH=128 (64)     pieces in a sequence
              MAX_PREDICTIONS_PER_SEQ     default: MASKED_LM_PROB of the length, rounded up (20 at 128)
              DUPE_FACTOR=10 (20)         times the text is gone through, with other masks
              MASKED_LM_PROB=0.15         share of pieces to predict; held-out text always has 15%
              SHORT_SEQ_PROB=0.1          share of sequences that are shorter on purpose
              DO_WHOLE_WORD_MASK=true (false)  mask all pieces of a word together
              EVAL_FRACTION=0.05          share of documents that are held out
  Training    RECIPE=bert                 bert: BERT's block, next sentences; modern: ModernBERT's block, without them,
                                          AdamW, learns most in a short time (docs/recipes.md);
                                          electra: BERT's block, which learns to tell replaced pieces
              MODEL=mini (tiny)           tiny, mini, small, medium, base, large; with RECIPE=modern there is no
                                          medium, with RECIPE=electra no medium and no large
              BERT_CONFIG_FILE            a configuration of your own instead of MODEL
              TRAIN_BATCH_SIZE=32 (8)     sequences in a step
              LEARNING_RATE=1e-4 (5e-4)   the highest; with RECIPE=modern 2e-3 for tiny, 1e-3 for mini and small,
                                          5e-4 for base, 3e-4 for large, not with BERT_CONFIG_FILE
              NUM_TRAIN_STEPS=10000 (3500)
              NUM_WARMUP_STEPS            default: a tenth of the steps
              SAVE_CHECKPOINTS_STEPS=500
              TRAIN_FLAGS                 more flags for run_pretraining.py, e.g. --dtype=bfloat16
  All         SEED=12345
              SENTENCES                   with [MASK], one a line; the model fills them at the end
              PYTHON                      default: .venv/bin/python of the checkout, else python3
HELP
}

fail() {
  echo "pretrain.sh: $*" >&2
  exit "${status:-1}"
}

usage_error() {
  status=2 fail "$* (see scripts/pretrain.sh --help)"
}

parse_arguments() {
  case "${1:-}" in
    -h | --help) usage && exit 0 ;;
    -*) usage_error "unknown option $1" ;;
  esac
  case $# in
    1)
      input="" output=$1
      if [[ -f $output || $output == *[*?]* ]]; then
        usage_error "one argument is the OUTPUT_DIR, but $output looks like input: give INPUT_GLOB and OUTPUT_DIR"
      fi
      ;;
    2) input=$1 output=$2 ;;
    *) usage_error "one or two arguments, received $#; is INPUT_GLOB in quotes?" ;;
  esac
  [[ -n $output ]] || usage_error "OUTPUT_DIR is empty"
  [[ $output != *[,*?[]* ]] || usage_error "OUTPUT_DIR may not contain , * ? or [: received $output"
  output=${output%/}
}

find_python() {
  if [[ -z ${PYTHON:-} ]]; then
    PYTHON=$root/.venv/bin/python
    [[ -x $PYTHON ]] || PYTHON=python3
  fi
  export PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH}
  "$PYTHON" -c 'import absl, importlib.util as i, sentencepiece; assert i.find_spec("tensorflow")' 2>/dev/null ||
    fail "$PYTHON lacks packages for training: make pretrain installs them, or: pip install '$root[cpu]'." \
      "PYTHON=/path/to/python names another interpreter."
}

# The configurations whose names begin with $1, without that beginning; without $1, those of BERT's block.
model_names() {
  local path name
  for path in "$root/morphbert/model/configs/$1"*.json; do
    name=$(basename "$path" .json)
    [[ -z $1 && $name =~ ^(modern|electra)- ]] || echo -n "${name#"$1"} "
  done
}

set_defaults() {
  : "${RECIPE:=bert}"
  if [[ -z $input ]]; then
    : "${VOCAB_SIZE:=4000}" "${MODEL:=tiny}" "${NUM_TRAIN_STEPS:=3500}"
    : "${MAX_SEQ_LENGTH:=64}" "${TRAIN_BATCH_SIZE:=8}" "${DUPE_FACTOR:=20}" "${DO_WHOLE_WORD_MASK:=false}"
    default_sentences='대한민국의 주권은 [MASK]에게 있고, 모든 권력은 국민으로부터 나온다.
모든 국민은 [MASK] 앞에 평등하다.
이 법은 공포한 날부터 [MASK]한다.'
  else
    : "${VOCAB_SIZE:=32000}" "${MODEL:=mini}" "${NUM_TRAIN_STEPS:=10000}"
    : "${DUPE_FACTOR:=10}" "${DO_WHOLE_WORD_MASK:=true}"
    default_sentences='정말 재미있는 [MASK]였다.
대한민국의 [MASK]을 위하여 노력해 주시기 바랍니다.
우리는 내일 학교에 [MASK] 것이다.'
  fi
  : "${ANALYZER:=mecab}" "${CONTINUATION:=eojeol}" "${MAX_SEQ_LENGTH:=128}" "${MASKED_LM_PROB:=0.15}"
  : "${SHORT_SEQ_PROB:=0.1}" "${EVAL_FRACTION:=0.05}" "${TRAIN_BATCH_SIZE:=32}"
  : "${SAVE_CHECKPOINTS_STEPS:=500}" "${TRAIN_FLAGS:=}" "${SEED:=12345}" "${BERT_CONFIG_FILE:=}"
  : "${TEXT_FIELD:=text}" "${PREPARE_FLAGS:=}" "${SENTENCES:=$default_sentences}"
  : "${LEARNING_RATE:=$(default_rate)}"
  local name prefix=""
  training=()
  case $RECIPE in
    bert) objective=nsp ;;
    modern) objective=none prefix=modern- training=(--optimizer=adamw) ;;
    electra) objective=none prefix=electra- training=(--objective=electra) ;;
    *) usage_error "RECIPE=$RECIPE is none of bert, modern and electra" ;;
  esac
  for name in VOCAB_SIZE MAX_SEQ_LENGTH DUPE_FACTOR NUM_TRAIN_STEPS TRAIN_BATCH_SIZE SEED; do
    [[ ${!name} =~ ^[0-9]+$ ]] || usage_error "$name=${!name} is not a whole number"
  done
  [[ $MASKED_LM_PROB =~ ^0?\.[0-9]{1,4}$ ]] || usage_error "MASKED_LM_PROB=$MASKED_LM_PROB is not a share such as 0.15"
  # Rounded up, in ten-thousandths: the shell has whole numbers only.
  local share=${MASKED_LM_PROB#*.}000
  : "${MAX_PREDICTIONS_PER_SEQ:=$(((MAX_SEQ_LENGTH * 10#${share:0:4} + 9999) / 10000))}"
  : "${NUM_WARMUP_STEPS:=$((NUM_TRAIN_STEPS / 10))}"
  config_source=${BERT_CONFIG_FILE:-$root/morphbert/model/configs/$prefix${MODEL#"$prefix"}.json}
  [[ -f $config_source ]] || usage_error "there is no configuration $config_source:" \
    "with RECIPE=$RECIPE, MODEL is one of $(model_names "$prefix")"
  "$PYTHON" -c 'import json, sys; dict(json.load(open(sys.argv[1], encoding="utf-8")))' \
    "$config_source" 2>/dev/null || fail "$config_source is not a model configuration in JSON"
}

# Of the modern recipe: docs/recipes.md has the measurements for tiny; larger models take less. For a configuration
# of the user's own no size is known.
default_rate() {
  case $RECIPE-${BERT_CONFIG_FILE:-${MODEL#modern-}} in
    modern-tiny) echo 2e-3 ;;
    modern-mini | modern-small) echo 1e-3 ;;
    modern-base) echo 5e-4 ;;
    modern-large) echo 3e-4 ;;
    *) if [[ -z $input ]]; then echo 5e-4; else echo 1e-4; fi ;;
  esac
}

# Prints the settings of a stage, one a line: when a line changes, the stage is done again.
settings() {
  case $1 in
    corpus)
      if [[ -z $input ]]; then
        "$PYTHON" -c 'import importlib.metadata as m
print("text: konlpy", *(d.version for d in m.distributions(name="konlpy")))'
      else
        echo "$input_files"
        [[ -z $makes_corpus ]] || set_lines TEXT_FIELD
        [[ -z $PREPARE_FLAGS ]] || set_lines PREPARE_FLAGS
      fi
      ;;
    vocab) set_lines VOCAB_SIZE ANALYZER CONTINUATION ;;
    records)
      set_lines MAX_SEQ_LENGTH MAX_PREDICTIONS_PER_SEQ DUPE_FACTOR MASKED_LM_PROB SHORT_SEQ_PROB \
        DO_WHOLE_WORD_MASK EVAL_FRACTION SEED
      # The default is not named, so that files from before there was a choice are still known.
      [[ $objective == nsp ]] || echo "OBJECTIVE=$objective"
      ;;
    model)
      set_lines TRAIN_BATCH_SIZE LEARNING_RATE NUM_TRAIN_STEPS NUM_WARMUP_STEPS TRAIN_FLAGS SEED
      [[ $RECIPE != electra ]] || echo "OBJECTIVE=${training[*]}"
      [[ $RECIPE != modern ]] || echo "OPTIMIZER=${training[*]}"
      "$PYTHON" -c 'import json, sys
for name, value in sorted(json.load(open(sys.argv[1], encoding="utf-8")).items()):
    if name != "vocab_size": print(f"{name}={value}")' "$config_source"
      ;;
    filled) printf '%s\n' "$SENTENCES" ;;
  esac
}

set_lines() {
  local name
  for name in "$@"; do echo "$name=${!name}"; done
}

# Names, sizes and times of the input files: as with make, a file that was written since counts as changed.
read_input_files() {
  input_files=$("$PYTHON" - "$input" "$PREPARE_FLAGS" <<'PY'
import os, sys
from morphbert.errors import MorphbertError
from morphbert.files import expand, is_remote
from morphbert.formats.raw_documents import is_plain_text
try:
    names = expand(sys.argv[1])
    for name in names:
        about = (0, 0) if is_remote(name) else (os.stat(name).st_size, int(os.stat(name).st_mtime))
        print(os.path.abspath(name) if not is_remote(name) else name, *about, sep="\t")
    # With flags for prepare_corpus.py the corpus is made anyway; it reads the encoding that they may name.
    print("text" if not sys.argv[2] and all(map(is_plain_text, names)) else "other")
except MorphbertError as error:
    sys.exit(f"pretrain.sh: {error}")
PY
  )
  local kind=${input_files##*$'\n'}
  input_files=${input_files%$'\n'*}
  [[ $kind == text ]] || makes_corpus=yes
}

stages=(corpus vocab records model filled)

remove_outputs() {
  case $1 in
    corpus) rm -rf "$output/corpus.txt" "$output/corpus.txt.report.md" ;;
    vocab) rm -rf "$output/vocab" ;;
    records) rm -f "$output"/records/*.tfrecord* ;; # the token store stays: it knows itself whether it fits
    model) rm -rf "$output/model" "$output/bert_config.json" ;;
    filled) rm -f "$output/fill_mask.txt" ;;
  esac
  rm -f "$output/stages/$1.done" "$output/stages/$1.settings"
}

has_output() {
  case $1 in
    corpus) [[ -f $output/corpus.txt ]] ;;
    vocab) [[ -f $output/vocab/vocab.txt ]] ;;
    records) [[ -f $output/records/train.tfrecord && -f $output/records/eval.tfrecord ]] ;;
    model) [[ -f $output/model/eval_results.txt && -f $output/model/checkpoint ]] ;;
    filled) [[ -f $output/fill_mask.txt ]] ;;
  esac
}

# Finds the first stage whose settings differ from those recorded, and clears it and the stages after it.
forget_changed_stages() {
  local stage recorded changed=""
  for stage in "${stages[@]}"; do
    recorded=$output/stages/$stage.settings
    if [[ -z $changed && -f $recorded ]] && ! diff -q "$recorded" <(settings "$stage") >/dev/null; then
      changed=$stage
      if [[ $stage != filled && -f $output/model/checkpoint ]]; then
        echo "pretrain.sh: $output/model was trained with other settings (<) than these (>):" >&2
        diff "$recorded" <(settings "$stage") | grep '^[<>]' | head -n 20 >&2 || true
        fail "going on would mix them. Take another OUTPUT_DIR, set them back, or remove $output/model to train again."
      fi
    fi
    if [[ -n $changed ]]; then
      [[ ! -f $recorded ]] || echo "$stage: done again, because the settings of $changed changed"
      remove_outputs "$stage"
    fi
  done
}

# run STAGE READS WRITES: does the stage with do_STAGE unless it is finished, and says so in one line.
run() {
  local stage=$1 record=$output/stages/$1 start=$SECONDS
  current=$stage
  if [[ -f $record.done ]] && has_output "$stage"; then
    echo "$stage: finished before: $(cat "$record.done")"
    return
  fi
  settings "$stage" >"$record.settings.partial"
  mv "$record.settings.partial" "$record.settings"
  "do_$stage"
  echo "$2 → $3, $((SECONDS - start)) s" >"$record.done.partial"
  mv "$record.done.partial" "$record.done"
  echo "$stage: $(cat "$record.done")"
}

# A signal to this script alone has to reach the command that runs: training saves a checkpoint first. bash would
# keep it until the command is over, so commands run beside it, and it waits for them.
child="" stopped=""
stop() {
  stopped=$1
  [[ -n $child ]] || exit $((128 + $(kill -l "$1")))
  # From the terminal Ctrl-C has reached the command already, and a second one would keep it from saving.
  [[ $1 != INT || $current == model ]] || return 0
  kill -s TERM "$child" 2>/dev/null || true
}

# What runs beside a script ignores Ctrl-C unless it asks for it.
with_ctrl_c='import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])'

run_python() {
  local status=0
  "$PYTHON" -c "$with_ctrl_c" "$@" <&0 &
  child=$!
  while :; do # a signal ends `wait` before the command ends
    wait "$child" && status=0 || status=$?
    kill -0 "$child" 2>/dev/null || break
  done
  child=""
  [[ -z $stopped ]] || exit $((128 + $(kill -l "$stopped")))
  return "$status"
}

do_corpus() {
  if [[ -z $input ]]; then
    run_python "$root/scripts/konlpy_corpus.py" "$output/corpus.txt"
  else
    # The default needs no flag, and plain text, which has no fields, takes none.
    local field=()
    [[ $TEXT_FIELD == text ]] || field=(--text_field="$TEXT_FIELD")
    # shellcheck disable=SC2086 (PREPARE_FLAGS holds several words)
    run_python "$root/prepare_corpus.py" --input_file="$input" "${field[@]}" \
      --output_file="$output/corpus.txt" $PREPARE_FLAGS
  fi
}

do_vocab() {
  run_python "$root/build_vocab.py" --input_file="$text" --vocab_dir="$output/vocab" \
    --vocab_size="$VOCAB_SIZE" --analyzer="$ANALYZER" --continuation="$CONTINUATION"
}

do_records() {
  local held_out=()
  # So that recipes can be compared.
  [[ $MASKED_LM_PROB == 0.15 ]] || held_out=(--eval_masked_lm_prob=0.15)
  run_python "$root/create_pretraining_data.py" --input_file="$text" --vocab_file="$output/vocab" \
    --output_file="$output/records/train.tfrecord" --eval_output_file="$output/records/eval.tfrecord" \
    --eval_fraction="$EVAL_FRACTION" --max_seq_length="$MAX_SEQ_LENGTH" \
    --max_predictions_per_seq="$MAX_PREDICTIONS_PER_SEQ" --dupe_factor="$DUPE_FACTOR" \
    --masked_lm_prob="$MASKED_LM_PROB" --short_seq_prob="$SHORT_SEQ_PROB" \
    --do_whole_word_mask="$DO_WHOLE_WORD_MASK" --objective="$objective" --random_seed="$SEED" "${held_out[@]}"
}

do_model() {
  run_python "$root/scripts/model_config.py" "$config_source" "$output/vocab/vocab.txt" \
    "$output/bert_config.json"
  # shellcheck disable=SC2086 (TRAIN_FLAGS holds several words)
  # Ten evaluations make a curve.
  run_python "$root/run_pretraining.py" --do_train --do_eval --eval_at_start \
    --eval_every=$(((NUM_TRAIN_STEPS + 9) / 10)) \
    --bert_config_file="$output/bert_config.json" --input_file="$output/records/train.tfrecord" \
    --eval_input_file="$output/records/eval.tfrecord" --vocab_file="$output/vocab" --output_dir="$output/model" \
    --max_seq_length="$MAX_SEQ_LENGTH" --max_predictions_per_seq="$MAX_PREDICTIONS_PER_SEQ" \
    --train_batch_size="$TRAIN_BATCH_SIZE" --learning_rate="$LEARNING_RATE" \
    --num_train_steps="$NUM_TRAIN_STEPS" --num_warmup_steps="$NUM_WARMUP_STEPS" \
    --save_checkpoints_steps="$SAVE_CHECKPOINTS_STEPS" --seed="$SEED" "${training[@]}" $TRAIN_FLAGS
}

do_filled() {
  printf '%s\n' "$SENTENCES" | "$PYTHON" "$root/fill_mask.py" --checkpoint="$output/model" \
    --bert_config_file="$output/bert_config.json" --vocab_file="$output/vocab" \
    --top_k=5 >"$output/fill_mask.txt.partial"
  mv "$output/fill_mask.txt.partial" "$output/fill_mask.txt"
}

summary() {
  cat "$output/fill_mask.txt"
  "$PYTHON" - "$output/model/metrics.jsonl" <<'PY'
import json, sys
held_out = []
for text in open(sys.argv[1], encoding="utf-8", errors="replace"):
    try:  # a line may be damaged, or cut off by a crash
        line = json.loads(text)
        if line["kind"] == "eval":
            held_out.append((line["step"], line["masked_lm_loss"], line["masked_lm_accuracy"]))
    except (ValueError, TypeError, KeyError):
        continue
held_out.sort()
if held_out:
    (first, before, _), (last, after, accuracy) = held_out[0], held_out[-1]
    print(
        f"held-out masked LM loss: {before:.3f} at step {first}, {after:.3f} at step {last} "
        f"({accuracy:.1%} of the masked pieces right)"
    )
PY
  echo "model: $output/model (tensorboard --logdir='$output/model' shows its curves), vocabulary: $output/vocab"
}

main() {
  parse_arguments "$@"
  find_python
  set_defaults
  makes_corpus=""
  if [[ -z $input ]]; then makes_corpus=yes; else read_input_files; fi
  mkdir -p "$output/stages" 2>/dev/null || fail "$output cannot be written: choose another OUTPUT_DIR"
  # A run that was killed may have left its command running: two must not write into one folder. The lock is
  # inherited by the commands and goes with the last of them, some moments after a kill.
  if command -v flock >/dev/null; then
    exec 9>"$output/stages/.lock"
    flock -w 5 9 || fail "$output is in use by another run: wait for it, stop it, or take another OUTPUT_DIR"
  fi
  text=${makes_corpus:+$output/corpus.txt}
  text=${text:-$input}

  forget_changed_stages
  trap '[[ $? -eq 0 ]] || echo "pretrain.sh: stopped at the stage \"$current\"; the same command continues." >&2' EXIT
  trap 'stop TERM' TERM
  trap 'stop HUP' HUP
  trap 'stop USR1' USR1
  trap 'stop INT' INT
  current=corpus
  if [[ -n $makes_corpus ]]; then
    run corpus "${input:-KoNLPy}" "$text"
  else
    settings corpus >"$output/stages/corpus.settings"
  fi
  run vocab "$text" "$output/vocab"
  run records "$text" "$output/records"
  run model "$output/records" "$output/model"
  run filled "$output/model" "$output/fill_mask.txt"
  trap - EXIT TERM HUP USR1 INT
  summary
}

main "$@"
