#!/bin/sh
# Trains for half a minute with the default settings; the loss in the CSV log must have fallen.
set -eu
make=${MAKE:-make}
$make --no-print-directory build/bin/train_gpt
folder=build/ci/train
rm -rf "$folder"
mkdir -p "$folder"
build/bin/train_gpt --seconds 30 --log "$folder/gpt.csv" --checkpoint "$folder/gpt.safetensors"

# Means of ten records: a single batch is noisy.
awk -F , '
  NR == 1 { for (i = 1; i <= NF; ++i) if ($i == "loss") column = i; next }
  column && $column != "" { loss[++n] = $column }
  END {
    if (n < 20) { print "training: the log has " n + 0 " losses, expected at least 20"; exit 1 }
    for (i = 1; i <= 10; ++i) { first += loss[i] / 10; last += loss[n + 1 - i] / 10 }
    printf "training: loss %.4f -> %.4f in %d records\n", first, last, n
    exit !(last < first)  # NaN counts as failed
  }' "$folder/gpt.csv"
