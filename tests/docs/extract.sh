#!/bin/sh
# Turns the C++ blocks of pages into programs that `make test` builds.
#
#   extract.sh FOLDER PAGE...      writes FOLDER/*.cpp and *.cu; prints for make DOC_PROGRAMS, DOC_DECLARATIONS and
#                                  DOC_CUDA_PROGRAMS
#
# Fences:
#   ```cpp        a complete program: built and run. Without `int main` it counts as `cpp decl`.
#   ```cpp decl   declarations: compiled only.
#   ```cpp body   statements of a main(): built and run, one function per block, so each block stands alone and
#                 starts from the same random state; #include lines move to the top.
#   ```cuda       a complete program with kernels: built and run by make CUDA=emulate, compiled by make CUDA=1.
# Each program takes seconds to compile, so body blocks share them: those of one page, and in a folder inside
# docs/ (docs/norms/) those of all its pages, form one program.
# `decl` blocks without any #include, and all `body` blocks, see "nn/norma.h" and `using namespace norma`.
# Compiler messages and failed runs name the page and line.
set -eu
folder=$1
shift
fresh=$folder/fresh
rm -rf "$fresh"
mkdir -p "$fresh"

# The program that a page's body blocks belong to.
group_of() {
  case $1 in
    docs/*/*) printf '%s_blocks' "$(dirname "$1")" ;;
    *) printf '%s_blocks' "${1%.md}" ;;
  esac | sed 's/[^A-Za-z0-9]/_/g'
}

groups=""
for page in "$@"; do
  group=$(group_of "$page")
  case " $groups " in
    *" $group "*) ;;
    *) groups="$groups $group" ;;
  esac
  awk -v page="$page" -v folder="$fresh" -v group="$fresh/$group" '
    function fail(message) { print page ":" NR ": " message > "/dev/stderr"; failed = 1; exit 1 }
    function finish(   path) {
      if (kind == "body") {
        printf "static void %s_%d() {\n#line %d \"%s\"\n%s}\n", name, start, start + 1, page, text >> (group ".bodies")
        printf "  failed += run(\"%s:%d\", %s_%d);\n", page, start, name, start >> (group ".calls")
        printf "%s", hoisted >> (group ".includes")
        return
      }
      if (kind == "program" && text !~ /int main[ (]/) kind = "decl"
      path = folder "/" name "_" start "." kind
      if (kind == "decl" && text !~ /#include/) printf "%s", prelude > path
      printf "#line %d \"%s\"\n%s", start + 1, page, text > path
      close(path)
    }
    BEGIN {
      name = page; sub(/\.md$/, "", name); gsub(/[^A-Za-z0-9]/, "_", name)
      prelude = "#include \"nn/norma.h\"\nusing namespace norma;\n"
    }
    !inside && /^ *```/ {
      inside = 1; start = NR; text = ""; hoisted = ""; kind = "other"
      fence = $0; sub(/^ *```+ */, "", fence); sub(/ *$/, "", fence)
      if (fence == "cpp") kind = "program"
      else if (fence == "cpp decl") kind = "decl"
      else if (fence == "cpp body") kind = "body"
      else if (fence == "cuda") kind = "cuda"
      else if (fence ~ /^([cC]\+\+|cpp|CPP|cc|cxx)/) fail("unknown fence \"" fence "\": use cpp, cpp decl or cpp body")
      next
    }
    inside && /^ *``` *$/ { if (kind != "other") finish(); inside = 0; next }
    inside && kind == "body" && /^ *#include/ { hoisted = hoisted $0 "\n"; text = text "\n"; next }
    inside { text = text $0 "\n" }
    END {
      if (failed) exit 1
      if (inside) fail("the block that starts at line " start " is not closed")
    }' "$page"
done

for group in $groups; do
  parts=$fresh/$group
  [ -f "$parts.calls" ] || continue
  {
    printf '#include <cstdio>\n#include <exception>\n\n#include "nn/norma.h"\n'
    sort -u "$parts.includes"
    printf 'using namespace norma;\n'
    cat "$parts.bodies"
    printf '#line 1 "%s"\n' "$group"
    cat <<'END'
static int run(const char* place, void (*block)()) {
  std::fprintf(stderr, "%s: ", place);  // stays the last line when the block ends the program
  try {
    manual_seed(0);
    block();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "FAILED: %s\n", error.what());
    return 1;
  }
  std::fprintf(stderr, "ran\n");
  return 0;
}

int main() {
  int failed = 0;
END
    cat "$parts.calls"
    printf '  return failed == 0 ? 0 : 1;\n}\n'
  } > "$parts.program"
done

# Unchanged programs keep their time stamps; programs of blocks that are gone go too.
programs=""
declarations=""
cuda_programs=""
for path in "$fresh"/*.program "$fresh"/*.decl "$fresh"/*.cuda; do
  [ -f "$path" ] || continue
  name=$(basename "${path%.*}")
  suffix=cpp
  case $path in
    *.program) programs="$programs $name" ;;
    *.cuda) cuda_programs="$cuda_programs $name" suffix=cu ;;
    *) declarations="$declarations $name" ;;
  esac
  cmp -s "$path" "$folder/$name.$suffix" || mv "$path" "$folder/$name.$suffix"
done
for path in "$folder"/*.cpp "$folder"/*.cu; do
  name=$(basename "${path%.*}")
  case "$programs $declarations $cuda_programs " in
    *" $name "*) ;;
    *) rm -f "$path" ;;
  esac
done
rm -rf "$fresh"
echo "DOC_PROGRAMS :=$programs"
echo "DOC_DECLARATIONS :=$declarations"
echo "DOC_CUDA_PROGRAMS :=$cuda_programs"
