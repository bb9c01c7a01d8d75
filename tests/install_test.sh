#!/bin/sh
# Installs into a temporary folder and builds a user's program against it: by hand, with pkg-config and with
# CMake (the last two where they are installed). The program must compile from outside the tree and run.
set -eu
make=${MAKE:-make}
cxx=${CXX:-g++}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
prefix=$work/prefix
$make --no-print-directory -s install PREFIX="$prefix"

mkdir "$work/program"
cat > "$work/program/main.cpp" << 'PROGRAM'
#include <norma/norma.h>

#include <cstdio>

#include "autograd/ops.h"

int main() {
  norma::Tensor x = norma::tensor({1, 2, 3});
  x.set_requires_grad();
  (x * x).sum().backward();
  std::printf("%g\n", x.grad().at({2}));  // d(x^2)/dx at 3
  return x.grad().at({2}) == 6 ? 0 : 1;
}
PROGRAM
cd "$work/program"

$cxx -std=c++20 -I"$prefix/include" -I"$prefix/include/norma" -fsyntax-only -Wall -Wextra -Wpedantic -Werror main.cpp
echo "install: headers compile alone"

if command -v pkg-config > /dev/null; then
  PKG_CONFIG_PATH=$prefix/lib/pkgconfig
  export PKG_CONFIG_PATH
  # shellcheck disable=SC2046
  $cxx -std=c++20 main.cpp $(pkg-config --cflags --libs norma) -o with_pkg_config
  [ "$(./with_pkg_config)" = 6 ]
  echo "install: pkg-config works"
else
  echo "install: pkg-config is not installed, skipped"
fi

if command -v cmake > /dev/null; then
  cat > CMakeLists.txt << 'PROJECT'
cmake_minimum_required(VERSION 3.16)
project(user CXX)
find_package(norma 0.1 REQUIRED)
add_executable(with_cmake main.cpp)
target_link_libraries(with_cmake PRIVATE norma::norma)
PROJECT
  # A moved installation must work as well: the files name no absolute prefix.
  mv "$prefix" "$work/moved"
  cmake -S . -B build -DCMAKE_PREFIX_PATH="$work/moved" -DCMAKE_CXX_COMPILER="$cxx" > cmake.log 2>&1 &&
    cmake --build build >> cmake.log 2>&1 || { cat cmake.log; exit 1; }
  [ "$(build/with_cmake)" = 6 ]
  echo "install: CMake works"
else
  echo "install: cmake is not installed, skipped"
fi
