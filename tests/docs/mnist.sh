#!/bin/sh
# The measurements of docs/mnist.md: trains on MNIST, draws docs/images/mnist_*.svg and prints the tables.
#
#   make programs && sh tests/docs/mnist.sh FOLDER-WITH-MNIST
#
# Needs gnuplot. Takes minutes; the numbers are the same in every run on the same machine.
set -eu
data=${1:?"usage: sh tests/docs/mnist.sh FOLDER-WITH-MNIST"}
runs=build/mnist
images=docs/images
seeds="1 2 3"
mkdir -p $runs $images

# train NAME FLAGS...: one run, its log in $runs/NAME.csv. A run that diverges is a result too.
train() {
  name=$1; shift
  build/bin/train_mnist --data "$data" --threads 1 --log "$runs/$name.csv" --checkpoint "$runs/model.safetensors" \
    "$@" > "$runs/$name.txt" 2>&1 || :
}
# The last test accuracy of a run in per cent, or "diverged".
accuracy() {
  awk -F , 'NR > 1 && $4 != "" { last = $4 } END { if (last == "") print "diverged"; else printf "%.1f", 100 * last }' \
    "$runs/$1.csv"
}

# 1. The sigmoid net of the paper, 500 steps: none and batch norm at several rates, and the curves at 0.5.
printf '| rate | none, seeds 1, 2, 3 | batch norm, seeds 1, 2, 3 |\n| --- | --- | --- |\n'
for lr in 0.1 0.5 1 2 5 20; do
  row="| $lr |"
  for norm in none batch; do
    cells=""
    for seed in $seeds; do
      train "$norm-$lr-$seed" --norm $norm --lr $lr --seed "$seed" --binary --steps 500 --eval-every 10
      cells="$cells $(accuracy "$norm-$lr-$seed")"
    done
    row="$row$cells |"
  done
  echo "$row"
done
for norm in none batch; do
  for seed in $seeds; do cat "$runs/$norm-0.5-$seed.csv"; done |
    awk -F , '$4 != "" && $1 != "step" {
        n[$1]++; sum[$1] += $4; if (n[$1] == 1 || $4 < low[$1]) low[$1] = $4; if ($4 > high[$1]) high[$1] = $4 }
      END { for (step in n) print step, 100 * sum[step] / n[step], 100 * low[step], 100 * high[step] }' |
    sort -n > "$runs/$norm-accuracy.dat"
done

# 2. What enters one unit of the last hidden layer, over a longer run.
for norm in none batch; do
  train "$norm-long" --norm $norm --lr 0.5 --seed 1 --binary --steps 5000 --eval-every 50
  awk -F , 'NR > 1 && $5 != "" { print $1, $5, $6, $7 }' "$runs/$norm-long.csv" > "$runs/$norm-quantiles.dat"
done

# 3. Small batches, two epochs with ReLU.
printf '\n| batch | none | batch | renorm | group | layer |\n| --- | --- | --- | --- | --- | --- |\n'
for batch in 2 4 8 32; do
  row="| $batch |"
  for norm in none batch renorm group layer; do
    cells=""
    for seed in $seeds; do
      train "small-$norm-$batch-$seed" --norm $norm --activation relu --lr 0.1 --batch $batch \
        --steps $((18000 / batch)) --seed "$seed" --binary --eval-every 0
      cells="$cells $(accuracy "small-$norm-$batch-$seed")"
    done
    row="$row$cells |"
  done
  echo "$row"
done

gnuplot << PLOT
set terminal svg size 640,360 font "sans-serif,13" background rgb "white"
set grid lc rgb "#dddddd"
set border lc rgb "#666666"
set output "$images/mnist_accuracy.svg"
set xlabel "steps"
set ylabel "test accuracy, %"
set key bottom right
set style fill transparent solid 0.2 noborder
plot "$runs/batch-accuracy.dat" using 1:3:4 with filledcurves lc rgb "#1f6fb4" notitle, \
     "" using 1:2 with lines lw 2 lc rgb "#1f6fb4" title "batch norm", \
     "$runs/none-accuracy.dat" using 1:3:4 with filledcurves lc rgb "#c4541a" notitle, \
     "" using 1:2 with lines lw 2 lc rgb "#c4541a" title "none"
set output "$images/mnist_quantiles.svg"
set multiplot layout 1,2
set ylabel "input of the unit"
set yrange [-4:4]
set xtics 2000
set key top left
do for [norm in "none batch"] {
  set title (norm eq "none" ? "none" : "batch norm")
  color = norm eq "none" ? "#c4541a" : "#1f6fb4"
  plot "$runs/".norm."-quantiles.dat" using 1:2 with lines lc rgb color title "15%", \
       "" using 1:3 with lines lw 2 lc rgb color title "50%", "" using 1:4 with lines lc rgb color dt 2 title "85%"
}
unset multiplot
PLOT
sed -i 's/[[:space:]]*$//' $images/mnist_*.svg
