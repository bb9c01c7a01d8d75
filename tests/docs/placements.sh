#!/bin/sh
# Trains a small GPT for 300 steps in every named placement and prints a table for docs/norms/README.md:
#   sh tests/docs/placements.sh TEXT [FLAGS OF train_gpt...]
set -eu
text=$1
shift
folder=build/placements
mkdir -p "$folder"
echo "| placement | training loss | validation loss |"
echo "| --- | --- | --- |"
build/bin/train_gpt --list-placements | sed -n '2,${/^[a-z]/p;}' | while read -r name; do
  file=$folder/$(echo "$name" | tr '*' s)
  build/bin/train_gpt --data "$text" --placement "$name" --layers 4 --heads 4 --width 128 --context 64 --batch 12 \
    --steps 300 --eval-every 0 --log "$file.csv" --checkpoint "$file.safetensors" "$@" > "$file.txt" 2>&1 < /dev/null ||
    { echo "| \`$name\` | failed: $(tail -n 1 "$file.txt") | |"; continue; }
  tail -n 1 "$file.csv" | awk -F , -v name="$name" '{ printf "| `%s` | %.3f | %.3f |\n", name, $2, $3 }'
done
