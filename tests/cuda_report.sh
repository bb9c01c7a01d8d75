#!/bin/sh
# Prints the table of `make cuda-report` from what nvcc -Xptxas -v said of each source: "<source>.txt" files.
# A line for all forms of a kernel template, then those that spill registers one by one. Exits with 1 when a
# kernel of a norm spills.
set -eu
[ $# -gt 0 ] || { echo "cuda-report: no kernels"; exit 1; }
for said in "$@"; do
  # A line a kernel: source, mangled name, registers, bytes of spill stores, spill loads, stack, shared memory.
  awk -v source="$(basename "$said" .txt)" '
    function number_before(word) { return match($0, "[0-9]+ " word) ? substr($0, RSTART, RLENGTH) + 0 : 0 }
    /Compiling entry function/ { split($0, quoted, "\047"); name = quoted[2] }
    /bytes stack frame/ { stack = number_before("bytes stack frame"); stores = number_before("bytes spill stores")
                          loads = number_before("bytes spill loads") }
    /Used [0-9]+ registers/ { match($0, "Used [0-9]+"); registers = substr($0, RSTART + 5, RLENGTH - 5)
      print source, name, registers, stores, loads, stack, number_before("bytes smem") }' "$said"
done | c++filt -p | sed -e 's/norma:://g' -e 's/detail:://g' -e 's/_GLOBAL__N__[0-9A-Za-z_]*:://g' \
  -e 's/(anonymous namespace):://g' -e 's/, /,/g' -e 's/> >/>>/g' -e 's/> >/>>/g' | LC_ALL=C sort | awk '
  function largest(a, b) { return a > b ? a : b }
  { kernel = $2; sub(/<.*/, "", kernel); key = $1 " " kernel
    if (!(key in forms)) { order[++keys] = key; least[key] = $3 }
    forms[key]++; total++
    if ($3 < least[key]) least[key] = $3
    most[key] = largest(most[key], $3); stores[key] = largest(stores[key], $4); loads[key] = largest(loads[key], $5)
    stack[key] = largest(stack[key], $6); shared[key] = largest(shared[key], $7)
    if ($4 + $5 > 0) { spilling[++spills] = $1 " " $2 ": " $4 " bytes stored, " $5 " loaded"
                       if (key ~ /norm|statistics/) norms = norms " " $2 } }
  END {
    format = "%-22s %-28s %5s %10s %13s %12s %7s %8s\n"
    printf format, "source", "kernel", "forms", "registers", "spill stores", "spill loads", "stack", "shared"
    for (i = 1; i <= keys; ++i) {
      key = order[i]; split(key, part, " ")
      printf format, part[1], part[2], forms[key], least[key] == most[key] ? most[key] : least[key] "-" most[key],
        stores[key], loads[key], stack[key], shared[key]
    }
    printf "%d kernels, %d of them spill (bytes a thread; shared: static, a block)\n", total, spills
    for (i = 1; i <= spills; ++i) print "  " spilling[i]
    if (norms != "") { print "cuda-report: a norm must not spill:" norms; exit 1 } }'
