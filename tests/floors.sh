#!/bin/sh
# The rules of the house, checked by `make floors`; prints the offending lines and exits with 1.
# With --umbrella: prints the text of nn/norma.h instead.
#
#   core < autograd < nn < models; backends stand beside autograd and see only core.
set -u
failed=0
include='#[[:space:]]*include[[:space:]]*'
headers_of() { find "$@" -name '*.h' ! -path 'models/programs/*' ! -path 'backends/*' 2> /dev/null | LC_ALL=C sort; }

# The umbrella header, as it must be: every header that users may need.
umbrella() {
  printf '%s\n' '// The whole public interface of the library in one include. Written by `make umbrella`.' '#pragma once'
  for floor in core autograd nn; do
    echo
    headers_of $floor | grep -vE '^(nn/norma|core/file|core/number|nn/parameter_registry|nn/norm/trailing|.*/internal|.*_doctest)\.h$' | sed 's/.*/#include "&"/'
  done
}
if [ "${1-}" = --umbrella ]; then umbrella; exit; fi

report() { echo "floors: $1"; failed=1; }
matches() { grep -rnE --include='*.h' --include='*.cpp' --include='*.cu' --include='*.cuh' "$2" "$1" 2> /dev/null; }

upward() { ! matches "$1" "$include[\"<]([./]+/)?($2)/" || report "$1 must not include any of $2"; }
upward core 'autograd|backends|nn|models|tests'
upward backends 'autograd|nn|models|tests'
upward autograd 'backends|nn|models|tests'
upward nn 'backends|models|tests'
upward models 'backends|tests'

# The same include line works in the tree and after installation.
for floor in core backends autograd nn models; do
  ! matches $floor "$include\"" | grep -vE '"(core|backends|autograd|nn|models)/[^"]*"' ||
    report "includes in quotes start at the root of the tree"
done

# Public headers are read by every user file: they stay light, and the umbrella header includes them all.
heavy='<(iostream|regex|omp\.h|cblas\.h|nlohmann/.*|CLI/.*|doctest/.*|cuda.*|cublas.*)>'
# *_doctest.h is for a user's own test suite and stays outside.
for header in $(headers_of core autograd nn models | grep -v '_doctest\.h$'); do
  ! grep -nHE "$include$heavy" "$header" || report "public headers must stay light"
done
[ ! -f nn/norma.h ] || umbrella | diff nn/norma.h - || report "nn/norma.h is out of date: run make umbrella"

for entry in $(git ls-files 2> /dev/null | cut -d/ -f1 | sort -u); do
  case $entry in
    core | autograd | nn | backends | models | tests | docs | Makefile | README.md | LICENSE | .*) ;;
    *) report "top-level entry $entry is not part of the layout" ;;
  esac
done

[ $failed = 0 ] && echo "floors: in order"
