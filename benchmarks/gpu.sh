#!/usr/bin/env bash
# All figures of a GPU in one call of at most ten minutes: peaks, training, decoding, memory.
#
#   benchmarks/gpu.sh [FOLDER]       writes JSON lines to FOLDER (runs/gpu), and prints one table
#   TINY=1 benchmarks/gpu.sh         some of it on a CPU with a tiny model: whether the script works
#
# Each part has a limit of seconds, and all end before SECONDS_IN_ALL; what does not is left out of the
# table. What the parts log is in FOLDER/log.txt. PYTHON is the interpreter, that of .venv if not set.
# The figures that count most come first: a first run compiles, and may not come to the last ones.
set -u
cd "$(dirname "$0")/.."

out=${1:-runs/gpu}
python=${PYTHON:-.venv/bin/python}
end=${SECONDS_IN_ALL:-590}
device=cuda dtype=bfloat16 length=1024 compiled=yes
small=gpt2 large=gpt2-medium first=16 rows="32 64"
if [ -n "${TINY:-}" ]; then
    device=cpu dtype=float32 length=32 compiled=no
    small=demo large='' first=1 rows=2
fi
mkdir -p "$out"
out=$(cd "$out" && pwd)
export TORCHINDUCTOR_CACHE_DIR="$out/compiled"
rm -f "$out"/*.jsonl "$out/log.txt"

part() { # part LIMIT NAME COMMAND...: add what it prints to NAME.jsonl
    local limit=$1 name=$2 left=$((end - SECONDS - 15))
    shift 2
    [ "$left" -lt "$limit" ] && limit=$left
    if [ "$limit" -lt 5 ]; then
        echo "$name is left out: no time is left" | tee -a "$out/log.txt" >&2
        return
    fi
    echo "$name, $SECONDS s after the start" | tee -a "$out/log.txt" >&2
    if ! timeout --kill-after=5 "$limit" "$@" >"$out/$name.part" 2>>"$out/log.txt"; then
        echo "$name failed or took more than $limit s: see $out/log.txt" | tee -a "$out/log.txt" >&2
        rm -rf "$TORCHINDUCTOR_CACHE_DIR" # a compilation that was ended leaves half a file there
    fi
    # Of a part that was ended, what it has; if that is nothing, what was there before.
    grep '^{' "$out/$name.part" >"$out/$name.lines" && mv "$out/$name.lines" "$out/$name.jsonl"
    rm -f "$out/$name.part" "$out/$name.lines"
}

train() { # train LIMIT MODEL ROWS yes|no [AGAINST]: whether compiled, and other programs to measure
    [ -n "$2" ] || return 0
    local shape=(--model.preset "$2") flags=()
    [ "$2" = demo ] && shape=(--recipe demo)
    [ "$4" = yes ] && flags=(--compile)
    part "$1" "train_$2_$3_$4" "$python" -m gpt2 bench train "${shape[@]}" --rows "$3" \
        --length "$length" --device "$device" --dtype "$dtype" "${flags[@]}" --rounds 1 \
        --against "${5:-}" --json
}

decode() { # decode LIMIT MODEL
    [ -n "$2" ] || return 0
    part "$1" "decode_$2" "$python" benchmarks/gpu.py decode --model "$2" --device "$device" \
        --dtype "$dtype"
}

part 60 peaks "$python" benchmarks/gpu.py peaks --device "$device" --dtype "$dtype"
train 80 "$small" "$first" "$compiled"
decode 60 "$small"
train 80 "$large" "$first" "$compiled"
decode 60 "$large"
for count in $rows; do train 70 "$small" "$count" "$compiled"; done
train 60 "$small" "$first" no
train 180 "$small" "$first" "$compiled" nanogpt-like,transformers
train 60 "$large" "$first" no
for count in $rows; do train 80 "$large" "$count" "$compiled"; done
"$python" benchmarks/gpu.py table "$out"
