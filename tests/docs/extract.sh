#!/bin/sh
# Turns the C++ blocks of pages into programs that `make test` builds.
#
#   extract.sh FOLDER PAGE...      writes FOLDER/*.cpp; prints DOC_PROGRAMS and DOC_DECLARATIONS for make
#
# Fences:
#   ```cpp        a complete program: built and run. Without `int main` it counts as `cpp decl`.
#   ```cpp decl   declarations: compiled only.
#   ```cpp body   statements of a main(): built and run. All such blocks of a page form one program with one
#                 function per block, so each block stands alone; #include lines move to the top.
# `decl` blocks without any #include, and all `body` blocks, see "nn/norma.h" and `using namespace norma`.
# Compiler messages and failed runs name the page and line.
set -eu
folder=$1
shift
fresh=$folder/fresh
rm -rf "$fresh"
mkdir -p "$fresh"

for page in "$@"; do
  awk -v page="$page" -v folder="$fresh" '
    function fail(message) { print page ":" NR ": " message > "/dev/stderr"; failed = 1; exit 1 }
    function finish(   path) {
      if (kind == "body") {
        bodies = bodies "static void line_" start "() {\n#line " (start + 1) " \"" page "\"\n" text "}\n"
        calls = calls "  line_" start "();\n"
        includes = includes hoisted
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
      else if (fence ~ /^([cC]\+\+|cpp|CPP|cc|cxx)/) fail("unknown fence \"" fence "\": use cpp, cpp decl or cpp body")
      next
    }
    inside && /^ *``` *$/ { if (kind != "other") finish(); inside = 0; next }
    inside && kind == "body" && /^ *#include/ { hoisted = hoisted $0 "\n"; text = text "\n"; next }
    inside { text = text $0 "\n" }
    END {
      if (failed) exit 1
      if (inside) fail("the block that starts at line " start " is not closed")
      if (calls != "") {
        path = folder "/" name "_blocks.program"
        printf "#include \"nn/norma.h\"\n%susing namespace norma;\n%s", includes, bodies > path
        printf "int main() {\n%s}\n", calls > path
      }
    }' "$page"
done

# Unchanged programs keep their time stamps; programs of blocks that are gone go too.
programs=""
declarations=""
for path in "$fresh"/*.program "$fresh"/*.decl; do
  [ -f "$path" ] || continue
  name=$(basename "${path%.*}")
  case $path in
    *.program) programs="$programs $name" ;;
    *) declarations="$declarations $name" ;;
  esac
  cmp -s "$path" "$folder/$name.cpp" || mv "$path" "$folder/$name.cpp"
done
for path in "$folder"/*.cpp; do
  name=$(basename "$path" .cpp)
  case "$programs $declarations " in
    *" $name "*) ;;
    *) rm -f "$path" ;;
  esac
done
rm -rf "$fresh"
echo "DOC_PROGRAMS :=$programs"
echo "DOC_DECLARATIONS :=$declarations"
