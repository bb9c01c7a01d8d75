# Norma: build, tests and checks. `make help` lists the targets and variables.
.DEFAULT_GOAL := all
SHELL := /bin/sh
.DELETE_ON_ERROR:
.SUFFIXES:

# -------------------------------------------------------------------------------------------- packages
# Library and programs, tests, benchmarks. The list for sanitizers by clang is separate.
PACKAGES := g++ make libopenblas-openmp-dev zlib1g-dev libcli11-dev nlohmann-json3-dev doctest-dev libbenchmark-dev
TSAN_PACKAGES := clang libclang-rt-dev libomp-dev libopenblas-serial-dev

define install_packages
@missing=""; \
if ! command -v apt-get > /dev/null; then \
  echo "deps: no apt-get here. Install: a C++20 compiler (g++ 12 or clang++ 14), GNU make, OpenBLAS built with"; \
  echo "deps: OpenMP, zlib, CLI11, nlohmann-json, doctest and Google Benchmark; name the BLAS with BLAS_LIBS=... if"; \
  echo "deps: -lopenblas is not the OpenMP build. (Debian names: $(1))"; exit 0; \
fi; \
for package in $(1); do \
  dpkg-query -W -f '$${Status}' $$package 2> /dev/null | grep -q ' installed$$' || missing="$$missing $$package"; \
done; \
if [ -z "$$missing" ]; then echo "deps: all packages are installed"; exit 0; fi; \
echo "deps: installing$$missing"; \
as_root=""; [ "$$(id -u)" = 0 ] || as_root="sudo"; \
[ -z "$$as_root" ] || command -v sudo > /dev/null || \
{ echo "deps: run as root: apt-get install$$missing"; exit 1; }; \
export DEBIAN_FRONTEND=noninteractive; \
$$as_root apt-get install -y --no-install-recommends $$missing < /dev/null || \
{ $$as_root apt-get update < /dev/null && \
  $$as_root apt-get install -y --no-install-recommends $$missing < /dev/null; }
endef

.PHONY: deps deps-tsan
deps:  ## install the packages that the build and the tests need (apt)
	$(call install_packages,$(PACKAGES))
deps-tsan:  ## install what `make SANITIZE=thread test`, `make fuzz` and other sanitizers by clang need besides (apt)
	$(call install_packages,$(TSAN_PACKAGES))

deps_goals := $(filter deps deps-tsan,$(MAKECMDGOALS))
other_goals := $(filter-out deps deps-tsan,$(MAKECMDGOALS))
ifneq (,$(and $(deps_goals),$(other_goals)))
# `make deps test`: the other goals run in a second make, which looks for libraries after they are installed.
# Without -j it uses the cores there are, at most 8 (a compiler takes up to 1 GB).
.PHONY: $(other_goals)
$(firstword $(other_goals)): $(deps_goals)
	+@$(MAKE) --no-print-directory $(if $(findstring -j,$(MAKEFLAGS)),,-j$$(nproc | awk '{print ($$1 > 8) ? 8 : $$1}')) $(other_goals)
$(wordlist 2,$(words $(other_goals)),$(other_goals)): $(firstword $(other_goals))
	@:
else

# --------------------------------------------------------------------------------------- configuration
VERSION := 0.1.0
PREFIX ?= /usr/local
ARCH ?= native
WERROR ?= -Werror
DEBUG ?=
SANITIZE ?=
CUDA ?=
TEST_ARGS ?=
BENCH_ARGS ?=
PYTHON ?= python3
OUTSIDE_CASES ?= 30
OUTSIDE_SEED ?=
TRAIN_ARGS ?=
USER_COMPILE_BUDGET ?= 2.0
# Files whose tests `make test` runs in a process of their own, beside the others: most tests need one core.
TEST_APART ?=
V ?=

# Empty, `cuda` (CUDA=1, built by nvcc) or `emulate` (the same sources built by $(CXX), run on the host).
cuda := $(patsubst 1,cuda,$(filter-out 0,$(CUDA)))
ifneq (,$(filter-out cuda emulate,$(cuda)))
  $(error CUDA must be 0, 1 or emulate; got $(CUDA))
endif

comma := ,
empty :=
space := $(empty) $(empty)
sanitizers := $(subst $(comma),$(space),$(SANITIZE))
ifneq (,$(filter-out address undefined thread leak,$(sanitizers)))
  $(error SANITIZE must be address, undefined, thread, leak, or a list such as address,undefined; got $(SANITIZE))
endif

# GCC's OpenMP runtime is not instrumented, so races are searched with clang and its runtime. With that a sanitizer's
# build takes a serial BLAS: two OpenMP runtimes must not meet in one process.
ifeq ($(origin CXX),default)
  CXX := $(if $(filter thread,$(sanitizers)),clang++,g++)
endif
clang := $(if $(filter thread,$(sanitizers)),,$(findstring clang,$(notdir $(CXX))))
debug := $(filter-out 0,$(DEBUG))

folder_of = build$(if $(strip $(1)),/$(subst $(space),-,$(strip $(1))))
BUILD := $(call folder_of,$(if $(clang),clang) $(cuda) $(if $(debug),debug) $(sanitizers))
# Objects that see nothing of CUDA are the same with and without it: builds share them.
PLAIN := $(if $(cuda),$(call folder_of,$(if $(clang),clang) $(if $(debug),debug) $(sanitizers)),$(BUILD))
BIN := $(BUILD)/bin
LIBRARY := $(BUILD)/lib/libnorma.a

# OpenBLAS: Debian keeps the OpenMP, pthread and serial builds side by side, and -lopenblas may mean any of
# them. The pthread build would fight our OpenMP threads for the cores.
blas_kind := $(if $(and $(sanitizers),$(findstring clang,$(notdir $(CXX)))),serial,openmp)
multiarch := $(shell uname -m)-linux-gnu
blas_file := $(wildcard /usr/lib/$(multiarch)/openblas-$(blas_kind)/libopenblas.so)
BLAS_LIBS ?= $(if $(blas_file),$(blas_file) -Wl$(comma)-rpath$(comma)$(patsubst %/,%,$(dir $(blas_file))),-lopenblas)
blas_headers := $(wildcard /usr/include/$(multiarch)/openblas-$(blas_kind) /usr/include/openblas)
BLAS_INCLUDE ?= $(addprefix -isystem ,$(firstword $(blas_headers)))
# What a program links besides the library. zlib: packed data sets (models/data/gzip.cpp alone).
LIBRARY_LIBS = $(BLAS_LIBS) $(CUDA_LIBS) -lz -fopenmp

# ------------------------------------------------------------------------------------------------ flags
# The one place where compiler flags are set. Arithmetic is IEEE's throughout: masks need infinities.
WARNINGS := -Wall -Wextra -Wpedantic -Wconversion
# clang says where it did not vectorize a simd loop: a matter of speed with another compiler, not of the code.
WARNINGS += $(if $(findstring clang,$(notdir $(CXX))),-Wno-pass-failed)
COMMON := -std=c++20 -fopenmp $(if $(ARCH),-march=$(ARCH)) -fno-math-errno -fno-trapping-math
DEFINES := $(if $(debug),-DNORMA_DEBUG -D_GLIBCXX_ASSERTIONS)
TEST_DEFINES = -DNORMA_SOURCE_DIR='"$(CURDIR)"'
KERNEL_OPT := -O3
LIBRARY_OPT := -O2
TEST_OPT := -O1
DOCS_OPT := -O0
ifneq (,$(sanitizers))
  # Instrumented code draws false warnings from GCC; the plain build is the one that must be free of them.
  WERROR := $(if $(findstring clang,$(notdir $(CXX))),$(WERROR))
  COMMON += -g1 -fno-omit-frame-pointer -fsanitize=$(subst $(space),$(comma),$(sanitizers))
  COMMON += $(if $(filter undefined,$(sanitizers)),-fno-sanitize-recover=all)
  # Accesses through a null pointer or outside of an object ASan reports itself; UBSan's checks of them took up to half
  # of the time that a file of kernels compiles.
  COMMON += $(if $(and $(filter address,$(sanitizers)),$(filter undefined,$(sanitizers))),-fno-sanitize=null$(comma)object-size$(comma)pointer-overflow)
  KERNEL_OPT := -O1
  LIBRARY_OPT := -O1
endif
ifneq (,$(debug))
  COMMON += $(if $(sanitizers),,-g)
  KERNEL_OPT := $(if $(sanitizers),-O1,-O0)
  LIBRARY_OPT := $(if $(sanitizers),-O1,-O0)
  TEST_OPT := -O0
endif
# The .cu files: by nvcc for the architectures below, with PTX of the newest for those to come, or by $(CXX) with the
# emulator's headers. Kernels assign unsigned indices to int ones, as is usual there.
CUDA_HOME ?= /usr/local/cuda
NVCC ?= $(CUDA_HOME)/bin/nvcc
CUDA_ARCHS ?= 75 80 86 89 90
# Kernels call constexpr functions of the standard library.
NVCC_LANGUAGE := -std=c++20 --expt-relaxed-constexpr
ifeq ($(cuda),cuda)
  CUDA_FLAGS := -isystem $(CUDA_HOME)/include
  CUDA_LIBS := -L$(CUDA_HOME)/lib64 -Wl,-rpath,$(CUDA_HOME)/lib64 -lcudart -lcublasLt -lcublas
  newest_arch := $(lastword $(CUDA_ARCHS))
  GENCODE := $(foreach arch,$(CUDA_ARCHS),-gencode arch=compute_$(arch)$(comma)code=sm_$(arch)) \
    -gencode arch=compute_$(newest_arch),code=compute_$(newest_arch)
  NVCC_HOST_FLAGS = -fopenmp -Wall -Wextra $(WERROR) $(filter -g -f%,$(COMMON))
  NVCCFLAGS = $(NVCC_LANGUAGE) -ccbin $(lastword $(CXX)) $(GENCODE) $(DEFINES) $(if $(WERROR),-Werror all-warnings) \
    -Xcompiler=$(subst $(space),$(comma),$(strip $(NVCC_HOST_FLAGS))) -I.
endif
ifeq ($(cuda),emulate)
  CUDA_FLAGS := -DNORMA_CUDA_EMULATED=1 -Ibackends/cuda/emulator/include
  EMULATED := -x c++ -Wno-unknown-pragmas -Wno-sign-conversion
endif
ALL_CXXFLAGS = $(COMMON) $(DEFINES) $(WARNINGS) $(WERROR) -I. $(BLAS_INCLUDE) $(CPPFLAGS) $(CXXFLAGS)
ALL_LIBS = $(LIBRARY) $(LIBRARY_LIBS) $(LDFLAGS)
# What a user's own compile line needs.
PUBLIC_DEFINES := $(strip $(if $(debug),-DNORMA_DEBUG) $(if $(filter emulate,$(cuda)),-DNORMA_CUDA_EMULATED=1))

# A thread that waits spins only briefly: on idle cores that is as fast, on busy ones several times faster
# (docs/threads.md).
run_environment := GOMP_SPINCOUNT=$${GOMP_SPINCOUNT:-1000} $(if $(sanitizers),KMP_BLOCKTIME=$${KMP_BLOCKTIME:-0} LSAN_OPTIONS=suppressions=$(CURDIR)/tests/leaks.supp:print_suppressions=0 ASAN_OPTIONS=detect_stack_use_after_return=1:allocator_may_return_null=1 \
  UBSAN_OPTIONS=print_stacktrace=1 TSAN_OPTIONS=ignore_noninstrumented_modules=1:allocator_may_return_null=1)

# ---------------------------------------------------------------------------------------------- sources
floors := $(wildcard core backends autograd nn models)
find_cpp = $(if $(1),$(shell find $(1) -name '*.cpp' | LC_ALL=C sort))
# Without CUDA nothing of backends/cuda; with it no stub, once there are kernels.
find_cu = $(if $(cuda),$(if $(1),$(shell find $(1) -name '*.cu' | LC_ALL=C sort)))
# What sees the headers of CUDA or of its emulator.
cuda_sources := backends/cuda/% tests/cuda/%
not_built := models/programs/% $(if $(cuda),$(if $(wildcard backends/cuda/*.cu),backends/no_cuda.cpp),backends/cuda/%) \
  $(if $(filter emulate,$(cuda)),,backends/cuda/emulator/%)
LIBRARY_SOURCES := $(filter-out $(not_built),$(call find_cpp,$(floors)) $(call find_cu,$(floors)))
PROGRAM_SOURCES := $(wildcard models/programs/*.cpp)
TEST_SOURCES := $(filter-out $(addprefix tests/,bench/% fuzz/% race/% user/% docs/% $(if $(cuda),,cuda/%)),\
  $(call find_cpp,$(wildcard tests)) $(call find_cu,$(wildcard tests)))
BENCH_SOURCES := $(wildcard tests/bench/*.cpp)
PEER_SOURCES := $(wildcard tests/bench/peers/*.cpp)
DOC_PAGES := $(wildcard README.md docs/*.md docs/*/*.md)
PUBLIC_HEADERS := $(if $(floors),$(shell find $(filter-out backends,$(floors)) -name '*.h' ! -path 'models/programs/*'))

object = $(patsubst %,$(PLAIN)/obj/%.o,$(patsubst %.cpp,%,$(filter-out $(cuda_sources),$(1)))) $(patsubst %,$(BUILD)/obj/%.o,$(patsubst %.cpp,%,$(filter $(cuda_sources),$(1))))
PROGRAMS := $(patsubst models/programs/%.cpp,$(BIN)/%,$(PROGRAM_SOURCES))
OBJECTS := $(call object,$(LIBRARY_SOURCES) $(PROGRAM_SOURCES) $(TEST_SOURCES) $(BENCH_SOURCES) $(PEER_SOURCES))

.PHONY: all lib programs
all: lib programs $(if $(TEST_SOURCES),$(BIN)/norma_tests) $(if $(BENCH_SOURCES),$(BIN)/norma_bench)  ## library, programs, tests, benchmarks
lib: $(LIBRARY)  ## the library alone
programs: $(PROGRAMS)  ## the programs in models/programs

# ------------------------------------------------------------------------------------------------ rules
ifeq ($(V),)
  Q := @
endif
say = @printf '  %-5s %s\n' $(1) $(2)

# Stamps: everything is compiled anew when compiler, processor or flags change (with CUDA, what sees it has a stamp of
# its own), and linked anew when libraries change or a source file appears or goes.
.PHONY: FORCE
FORCE:
update = if printf '%s\n' "$$text" | cmp -s - $@; then :; else printf '%s\n' "$$text" > $@; fi
define flags_stamp
@mkdir -p $(@D); text='$(subst ','\'',$(ALL_CXXFLAGS) $(KERNEL_OPT) $(LIBRARY_OPT) $(TEST_OPT) $(1))'; \
text="$$text $$($(CXX) --version | head -n 1) $(if $(findstring nvcc,$(1)),$$($(NVCC) --version | tail -n 1)) $$(grep -m 1 'model name' /proc/cpuinfo 2> /dev/null)"; $(update)
endef
$(PLAIN)/flags.txt: FORCE
	$(call flags_stamp)
ifneq (,$(cuda))
$(BUILD)/flags.txt: FORCE
	$(call flags_stamp,$(CUDA_FLAGS) $(EMULATED) $(if $(NVCCFLAGS),nvcc $(NVCCFLAGS)))
endif
$(BUILD)/sources.txt: FORCE
	@mkdir -p $(@D); text='$(sort $(LIBRARY_SOURCES) $(TEST_SOURCES) $(BENCH_SOURCES) $(PEER_SOURCES) $(DOC_PAGES)) $(ALL_LIBS)'; $(update)

OPT := $(LIBRARY_OPT)
$(PLAIN)/obj/backends/%.o $(BUILD)/obj/backends/%.o: OPT := $(KERNEL_OPT)
# With checks in its unrolled loops, allocating their registers would take minutes.
$(if $(sanitizers),$(PLAIN)/obj/backends/cpu/depthwise.o: OPT := -O0)
ifeq ($(cuda),emulate)
# Kernels that are run to be tested, each thread a fiber. UBSan would make them several times slower than ASan does.
$(BUILD)/obj/backends/cuda/%.o: OPT := -O1
$(BUILD)/obj/backends/cuda/%.o: EXTRA_FLAGS := $(if $(filter undefined,$(sanitizers)),-fno-sanitize=undefined)
endif
$(PLAIN)/obj/tests/%.o $(BUILD)/obj/tests/%.o: OPT := $(TEST_OPT)
# The tests are not what is tested: UBSan in them would double the time that they take to compile.
$(PLAIN)/obj/tests/%.o $(BUILD)/obj/tests/%.o: EXTRA_FLAGS := $(TEST_DEFINES) $(if $(filter undefined,$(sanitizers)),-fno-sanitize=undefined)
$(PLAIN)/obj/tests/bench/%.o: OPT := $(LIBRARY_OPT)
$(PLAIN)/obj/models/programs/%.o: OPT := $(TEST_OPT)

define compile
@mkdir -p $(@D)
$(call say,CXX,$<)
$(Q)$(CXX) $(ALL_CXXFLAGS) $(EXTRA_FLAGS) $(1) $(OPT) -MMD -MP -c $< -o $@
endef
$(PLAIN)/obj/%.o: %.cpp $(PLAIN)/flags.txt
	$(call compile)
ifneq (,$(cuda))
$(BUILD)/obj/%.o: %.cpp $(BUILD)/flags.txt
	$(call compile,$(CUDA_FLAGS))
endif

$(BUILD)/obj/%.cu.o: %.cu $(BUILD)/flags.txt
ifeq ($(cuda),emulate)
	$(call compile,$(CUDA_FLAGS) $(EMULATED))
else
	@mkdir -p $(@D)
	$(call say,NVCC,$<)
	$(Q)$(NVCC) $(NVCCFLAGS) $(EXTRA_FLAGS) $(OPT) -MMD -MP -MF $(@:.o=.d) -c $< -o $@
endif

$(LIBRARY): $(call object,$(LIBRARY_SOURCES)) $(BUILD)/sources.txt
	@mkdir -p $(@D)
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $(filter %.o,$^)

define link
@mkdir -p $(@D)
$(call say,LINK,$@)
$(Q)$(CXX) $(COMMON) $(filter %.o,$^) $(1) $(ALL_LIBS) -o $@
endef
$(PROGRAMS): $(BIN)/%: $(PLAIN)/obj/models/programs/%.o $(LIBRARY)
	$(call link)
$(BIN)/norma_tests: $(call object,$(TEST_SOURCES)) $(LIBRARY) $(BUILD)/sources.txt
	$(call link)
$(BIN)/norma_bench: $(call object,$(BENCH_SOURCES)) $(LIBRARY) $(BUILD)/sources.txt
	$(call link,-lbenchmark)
$(BIN)/peer_worker: $(call object,$(PEER_SOURCES)) $(LIBRARY) $(BUILD)/sources.txt
	$(call link)

-include $(OBJECTS:.o=.d)

# ------------------------------------------------------------------------------------- running, testing
.PHONY: train test bench docs-test
train: $(BIN)/train_gpt  ## train the GPT of models/ with its default settings (TRAIN_ARGS=...)
	$(run_environment) $< $(TRAIN_ARGS)

test: floors $(if $(sanitizers)$(debug),,headers-test) docs-test $(PROGRAMS) $(BIN)/norma_tests $(if $(filter thread,$(sanitizers)),race-test)  ## floors, headers, docs and the whole test suite (TEST_ARGS=...)
ifeq ($(TEST_APART),)
	$(run_environment) $(BIN)/norma_tests $(TEST_ARGS)
else
	@echo "the tests of $(TEST_APART), and beside them the others:"; \
	$(run_environment) $(BIN)/norma_tests $(TEST_ARGS) -sf='$(TEST_APART)' > $(BUILD)/apart.log 2>&1 & apart=$$!; \
	failed=0; $(run_environment) $(BIN)/norma_tests $(TEST_ARGS) -sfe='$(TEST_APART)' || failed=1; \
	wait $$apart || failed=1; cat $(BUILD)/apart.log; exit $$failed
endif
ifeq ($(cuda),emulate)
	@for seed in $(FIBER_SEEDS); do \
	  echo "fiber seed $$seed"; NORMA_FIBER_SEED=$$seed $(run_environment) $(BIN)/norma_tests $(CUDA_TESTS) || exit 1; \
	done
endif
# The suite runs with fiber seed 1; what runs kernels also with these (0: in the order of indices).
FIBER_SEEDS ?= 0 2
CUDA_TESTS := -sf='*tests/cuda/*'

# The tests of the CPU's kernels alone, on what is built for another processor: by `make ARCH=x86-64-v3 kernels-test`
# those for AVX2, which where there is AVX-512 no other test runs.
.PHONY: kernels-test kernels-test-run
kernels-test:  ## the tests of the CPU's kernels, built apart for ARCH=x86-64-v3 or another processor
	+@$(MAKE) --no-print-directory BUILD=build/kernels-$(ARCH) PLAIN=build/kernels-$(ARCH) kernels-test-run floors='core backends' \
	  TEST_SOURCES='$(filter tests/main.cpp tests/backends/%,$(TEST_SOURCES))'
kernels-test-run: $(BIN)/norma_tests
	$(run_environment) $< $(TEST_ARGS)

# R142: every public header compiles alone, and twice, in a file with all warnings. Most are the first that the .cpp
# file of their name includes, so the library's build has shown it; the others are compiled here.
.PHONY: headers-test
ifneq (,$(filter test headers-test,$(MAKECMDGOALS)))
other_headers := $(shell for header in $(PUBLIC_HEADERS); do \
    grep -m 1 '^#include' $${header%.h}.cpp 2> /dev/null | grep -qxF "#include \"$$header\"" || echo $$header; done)
endif
headers-test: $(LIBRARY) $(patsubst %,$(PLAIN)/headers/%.checked,$(other_headers))
	@without=$$(grep -L '^#pragma once' $(PUBLIC_HEADERS)); [ -z "$$without" ] || { echo "headers: no #pragma once in" $$without; exit 1; }
	@echo "headers: $(words $(PUBLIC_HEADERS)) compile alone"
$(PLAIN)/headers/%.checked: % $(PLAIN)/flags.txt
	@mkdir -p $(@D)
	@$(CXX) $(ALL_CXXFLAGS) -O0 -fsyntax-only -MMD -MP -MF $(@:.checked=.d) -MT $@ -include $< -include $< -x c++ - < /dev/null
	@touch $@
-include $(patsubst %,$(PLAIN)/headers/%.d,$(PUBLIC_HEADERS))

.PHONY: race-test
race-test: tests/race/race.cpp  # R100: the sanitizer sees a race that is there
	@mkdir -p $(BIN); $(CXX) $(COMMON) $< -o $(BIN)/race && \
	if $(run_environment) $(BIN)/race 2>&1 | grep -q 'WARNING: ThreadSanitizer: data race'; \
	then echo "race: the planted race was reported"; else echo "race: the planted race was not reported"; exit 1; fi

bench: $(BIN)/norma_bench  ## run the benchmarks, each with its floor (BENCH_ARGS=--benchmark_filter=norm)
	$(run_environment) $< $(BENCH_ARGS)

# The same work in Norma and in PyTorch, in turn. Rows against libtorch C++ where its headers are.
.PHONY: bench-peers bench-libtorch bench-products bench-placements
BENCH_PEERS_ROWS ?=
BENCH_PEERS_ARGS ?=
BENCH_PRODUCTS_ARGS ?=
BENCH_PLACEMENTS_ARGS ?=
WRITE ?=
onednn_headers := $(wildcard /usr/include/oneapi/dnnl/dnnl.h)
peers := tests/bench/peers
torch_headers := $(wildcard /usr/include/torch/csrc/api/include)
LIBTORCH_FLAGS ?= -O2 -std=c++17 $(addprefix -I,$(torch_headers)) -ltorch -ltorch_cpu -lc10
libtorch_programs := $(if $(torch_headers),$(BUILD)/peers/libtorch_worker $(BUILD)/peers/libtorch_char_program)
compile_char = $(CXX) -O2 $(peers)/user/char_program.cpp $(user_flags) -o $(BUILD)/peers/char_program
compile_libtorch_char = $(CXX) $(peers)/libtorch/char_program.cpp $(LIBTORCH_FLAGS) -o $(BUILD)/peers/libtorch_char_program
run_peers = $$found $(peers)/bench_peers.py --worker $(BIN)/peer_worker $(if $(filter cuda,$(cuda)),--device cuda) --folder $(BUILD)/peers \
  --blas-folder='$(dir $(blas_file))' --rows '$(value BENCH_PEERS_ROWS)' \
  $(if $(libtorch_programs),--libtorch-worker $(BUILD)/peers/libtorch_worker --char $(BUILD)/peers/char_program \
    --libtorch-char $(BUILD)/peers/libtorch_char_program --compile-char '$(compile_char)' \
    --compile-libtorch-char '$(compile_libtorch_char)')
bench-peers: $(BIN)/peer_worker $(libtorch_programs) $(if $(libtorch_programs),$(BUILD)/peers/char_program)  ## times in turn with PyTorch's (PYTHON=..., BENCH_PEERS_ROWS=regex; WRITE=1: into docs/performance.md)
	@$(find_torch); mkdir -p $(BUILD)/peers; \
	$(run_peers) --python $$found $(if $(filter-out 0,$(WRITE)),--write docs/performance.md) $(BENCH_PEERS_ARGS)
bench-libtorch: $(BIN)/peer_worker $(libtorch_programs) $(BUILD)/peers/char_program  ## the rows against libtorch C++ alone (Debian: libtorch-dev)
	@$(if $(libtorch_programs),found=python3; $(run_peers) $(BENCH_PEERS_ARGS),echo "bench-libtorch: skipped, no libtorch headers (Debian: libtorch-dev)")
bench-products: $(if $(onednn_headers),$(BUILD)/peers/products)  ## matrix products in turn with oneDNN's and OpenBLAS's (Debian: libdnnl-dev; BENCH_PRODUCTS_ARGS='PAIRS [SHAPE]')
	@$(if $(onednn_headers),$(BUILD)/peers/products $(BENCH_PRODUCTS_ARGS),echo "bench-products: skipped, no oneDNN headers (Debian: libdnnl-dev)")
bench-placements: $(BUILD)/peers/placements  ## steps in every placement in turn with Pre-Norm's, RMSNorm with LayerNorm (BENCH_PLACEMENTS_ARGS='ROUNDS [NAME]')
	$< $(BENCH_PLACEMENTS_ARGS)
$(BUILD)/peers/products: private onednn := -ldnnl
$(BUILD)/peers/products: $(peers)/products/products.cpp $(LIBRARY)
	$(link_bench)
$(BUILD)/peers/placements: tests/bench/placements/placements.cpp $(LIBRARY)
	$(link_bench)
define link_bench
@mkdir -p $(@D)
$(call say,LINK,$@)
$(Q)$(CXX) $(COMMON) -O2 -I. $(BLAS_INCLUDE) $< $(LIBRARY) $(onednn) $(LIBRARY_LIBS) -o $@
endef
$(BUILD)/peers/libtorch_%: $(peers)/libtorch/%.cpp
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CXX) $< $(LIBTORCH_FLAGS) -o $@
$(BUILD)/peers/char_program: $(peers)/user/char_program.cpp $(LIBRARY)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(compile_char)

# Norma against PyTorch on fresh random cases; the suite itself compares with the cases checked in.
.PHONY: outside outside-fixture
outside_fixture := $(BUILD)/outside.safetensors
make_fixtures := tests/outside/make_fixtures.py
find_torch = found=""; for python in $(PYTHON) /usr/bin/python3; do \
    ! $$python -c 'import numpy, torch' 2> /dev/null || { found=$$python; break; }; \
  done; \
  [ -n "$$found" ] || { echo "$@: skipped, no Python with torch and numpy (Debian: python3-torch; PYTHON=...)"; exit 0; }
outside: $(BIN)/norma_tests  ## compare with PyTorch on random cases (OUTSIDE_CASES=30 of each op, OUTSIDE_SEED=..., PYTHON=...)
	@$(find_torch); seed=$(OUTSIDE_SEED); \
	$$found $(make_fixtures) --cases $(OUTSIDE_CASES) --large 0.1 --seed $${seed:-$$(date +%s)} --out $(outside_fixture) && \
	NORMA_OUTSIDE_FIXTURE=$(outside_fixture) $(BIN)/norma_tests -tc='outside:*'
outside-fixture:  ## draw anew the cases that are checked in
	@$(find_torch); $$found $(make_fixtures)

# Coverage-guided fuzzing of the file readers (libFuzzer): the library is built for it in a folder of its own.
.PHONY: fuzz fuzz-run
FUZZ_SECONDS ?= 30
fuzzers := $(patsubst tests/fuzz/%.cpp,$(BIN)/%,$(wildcard tests/fuzz/*.cpp))
fuzz:  ## feed the file readers bytes of all kinds, FUZZ_SECONDS=30 each (clang; make deps-tsan)
	+@$(MAKE) --no-print-directory BUILD=build/fuzz CXX=clang++ SANITIZE=address,undefined CXXFLAGS=-fsanitize=fuzzer-no-link \
	  fuzz-run
fuzz-run: $(fuzzers)
	@for fuzzer in $(fuzzers); do \
	  corpus=$(BUILD)/corpus/$$(basename $$fuzzer); mkdir -p $$corpus && cp tests/fixtures/*.* $$corpus/ && \
	  $(run_environment) $$fuzzer -max_total_time=$(FUZZ_SECONDS) -max_len=65536 -rss_limit_mb=4096 -timeout=10 -verbosity=0 \
	    -print_final_stats=1 $$corpus || exit 1; \
	done; echo "fuzz: nothing found"
$(fuzzers): $(BIN)/%: tests/fuzz/%.cpp $(LIBRARY)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CXX) $(ALL_CXXFLAGS) -O1 -fsanitize=fuzzer $< $(ALL_LIBS) -o $@

# Code blocks of the pages: tests/docs/extract.sh writes the programs and the two lists included here.
ifneq (,$(filter test docs-test,$(MAKECMDGOALS)))
$(BUILD)/docs/blocks.mk: tests/docs/extract.sh $(DOC_PAGES) $(BUILD)/sources.txt
	@mkdir -p $(@D)
	@sh tests/docs/extract.sh $(@D) $(DOC_PAGES) > $@.new && mv $@.new $@
include $(BUILD)/docs/blocks.mk
endif

doc_flags = $(ALL_CXXFLAGS) $(DOCS_OPT) -Wno-unused-variable -Wno-unused-but-set-variable -Wno-unused-function
# With CUDA, the blocks that need it; the others are the same as without.
doc_programs := $(if $(cuda),$(if $(filter emulate,$(cuda)),$(DOC_CUDA_PROGRAMS)),$(DOC_PROGRAMS))
doc_declarations := $(if $(cuda),$(if $(filter cuda,$(cuda)),$(DOC_CUDA_PROGRAMS)),$(DOC_DECLARATIONS))
docs-test: $(patsubst %,$(BUILD)/docs/%.ran,$(doc_programs)) $(patsubst %,$(BUILD)/docs/%.checked,$(doc_declarations))
	@echo "docs: $(words $(doc_programs)) programs built and run, $(words $(doc_declarations)) declarations compiled"

run_doc = @mkdir -p $(BUILD)/docs/run/$*; \
	(cd $(BUILD)/docs/run/$* && $(run_environment) timeout 120 $(CURDIR)/$(BUILD)/docs/$* > output.txt 2>&1) || \
	  { grep -v ': ran$$' $(BUILD)/docs/run/$*/output.txt; echo "docs: $* failed (its page is named in $<)"; exit 1; }; \
	touch $@
$(BUILD)/docs/%.ran: $(BUILD)/docs/%.cpp $(LIBRARY)
	$(call say,DOCS,$*)
	$(Q)$(CXX) $(doc_flags) $< $(ALL_LIBS) -o $(BUILD)/docs/$*
	$(run_doc)
$(BUILD)/docs/%.ran: $(BUILD)/docs/%.cu $(LIBRARY)
	$(call say,DOCS,$*)
	$(Q)$(CXX) $(doc_flags) $(CUDA_FLAGS) $(EMULATED) $< -x none $(ALL_LIBS) -o $(BUILD)/docs/$*
	$(run_doc)
$(BUILD)/docs/%.checked: $(BUILD)/docs/%.cpp $(LIBRARY)
	$(call say,DOCS,$*)
	$(Q)$(CXX) $(doc_flags) -fsyntax-only $<
	@touch $@
$(BUILD)/docs/%.checked: $(BUILD)/docs/%.cu $(LIBRARY)
	$(call say,DOCS,$*)
	$(Q)$(NVCC) $(NVCCFLAGS) -c $< -o $(BUILD)/docs/$*.o
	@touch $@

# What the compiler made of each kernel. Needs nvcc, no GPU and no other build.
.PHONY: cuda-report
REPORT_ARCH ?= sm_80
report := $(patsubst backends/cuda/%.cu,build/cuda-report/$(REPORT_ARCH)/%.txt,$(wildcard backends/cuda/*.cu))
cuda-report: $(report)  ## registers, spills and shared memory of every kernel (nvcc; REPORT_ARCH=sm_80); fails if a norm spills
	@sh tests/cuda_report.sh $^
build/cuda-report/$(REPORT_ARCH)/%.txt: backends/cuda/%.cu
	@mkdir -p $(@D)
	$(call say,NVCC,$<)
	$(Q)$(NVCC) $(NVCC_LANGUAGE) -arch=$(REPORT_ARCH) -Xptxas -v -I. -MMD -MP -MT $@ -MF $(@:.txt=.d) -c $< -o $(@:.txt=.o) 2> $@ || \
	  { cat $@; exit 1; }
-include $(report:.txt=.d)

# --------------------------------------------------------------------------------------------- checks
.PHONY: floors umbrella format format-check size user-compile-time
floors:  ## check that no floor includes a floor above it
	@sh tests/floors.sh
umbrella:  ## write nn/norma.h, which includes every public header
	@mkdir -p $(BUILD); sh tests/floors.sh --umbrella > $(BUILD)/norma.h && mv $(BUILD)/norma.h nn/norma.h

FORMATTED = $$(git ls-files '*.h' '*.cpp' '*.cu' '*.cuh')
format:  ## clang-format every tracked source
	clang-format -i $(FORMATTED)
format-check:  ## fail when a tracked source is not formatted
	@clang-format --dry-run -Werror $(FORMATTED) && echo "format: in order"

size:  ## lines per floor, and files above 400 lines
	@for floor in core autograd nn backends models tests docs; do \
	  [ ! -d $$floor ] || find $$floor -type f \( -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh' -o -name '*.md' \) \
	    -exec cat {} + | awk -v floor=$$floor 'END { printf "%-9s %6d lines\n", floor, NR }'; \
	done; \
	find $(floors) $(wildcard tests) -name '*.[hc]*' -exec wc -l {} + | awk '$$1 > 400 && $$2 != "total" { print "above 400: " $$2 " (" $$1 ")" }'

user_program := tests/user/training_loop.cpp
# A compiler cache would be timed otherwise.
user_binary := $(BUILD)/user/training_loop
user-compile-time: $(LIBRARY)  ## time the compilation of a user's training loop; fails above USER_COMPILE_BUDGET seconds
	@mkdir -p $(dir $(user_binary)); best=999999; \
	for attempt in 1 2 3; do \
	  start=$$(date +%s%N); CCACHE_DISABLE=1 $(CXX) -std=c++20 -O1 $(PUBLIC_DEFINES) -I. -c $(user_program) -o $(user_binary).o || exit 1; \
	  elapsed=$$(( ($$(date +%s%N) - start) / 1000000 )); [ $$elapsed -ge $$best ] || best=$$elapsed; \
	done; \
	$(CXX) $(COMMON) $(user_binary).o $(ALL_LIBS) -o $(user_binary) && $(user_binary) || exit 1; \
	awk -v lines=$$(wc -l < $(user_program)) -v best=$$best -v bytes=$$(wc -c < $(user_binary)) -v budget=$(USER_COMPILE_BUDGET) \
	  'BEGIN { printf "user-compile-time: %d lines, %.2f s (budget %.1f s), binary %d bytes\n", lines, best / 1000, budget, bytes; \
	  exit best / 1000 > budget }'

# -------------------------------------------------------------------------------------------- installing
.PHONY: install flags clean help
destination := $(DESTDIR)$(abspath $(PREFIX))
install: $(LIBRARY)  ## headers, library, pkg-config and CMake files under PREFIX (default /usr/local)
	@mkdir -p $(destination)/lib/pkgconfig $(destination)/lib/cmake/norma
	@for header in $(sort $(PUBLIC_HEADERS)); do \
	  install -D -m 644 $$header $(destination)/include/norma/$$header || exit 1; \
	done
	@[ ! -f nn/norma.h ] || install -m 644 nn/norma.h $(destination)/include/norma/norma.h
	@install -m 644 $(LIBRARY) $(destination)/lib/libnorma.a
	@printf '%s\n' 'prefix=$(abspath $(PREFIX))' 'includedir=$${prefix}/include' 'libdir=$${prefix}/lib' '' \
	  'Name: norma' 'Description: Tensors, reverse-mode automatic differentiation and normalization layers' \
	  'Version: $(VERSION)' 'Cflags: -I$${includedir}/norma -I$${includedir} $(PUBLIC_DEFINES)' \
	  'Libs: -L$${libdir} -lnorma $(LIBRARY_LIBS)' > $(destination)/lib/pkgconfig/norma.pc
	@printf '%s\n' 'get_filename_component(norma_prefix "$${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)' \
	  'if(NOT TARGET norma::norma)' '  add_library(norma::norma STATIC IMPORTED)' \
	  '  set_target_properties(norma::norma PROPERTIES' '    IMPORTED_LOCATION "$${norma_prefix}/lib/libnorma.a"' \
	  '    INTERFACE_INCLUDE_DIRECTORIES "$${norma_prefix}/include/norma;$${norma_prefix}/include"' \
	  '    INTERFACE_COMPILE_DEFINITIONS "$(patsubst -D%,%,$(PUBLIC_DEFINES))"' \
	  '    INTERFACE_COMPILE_FEATURES cxx_std_20' '    INTERFACE_LINK_LIBRARIES "$(subst $(space),;,$(strip $(LIBRARY_LIBS)))")' \
	  'endif()' > $(destination)/lib/cmake/norma/normaConfig.cmake
	@printf '%s\n' 'set(PACKAGE_VERSION "$(VERSION)")' \
	  'if(PACKAGE_FIND_VERSION VERSION_LESS_EQUAL PACKAGE_VERSION)' '  set(PACKAGE_VERSION_COMPATIBLE TRUE)' 'endif()' \
	  'if(PACKAGE_FIND_VERSION VERSION_EQUAL PACKAGE_VERSION)' '  set(PACKAGE_VERSION_EXACT TRUE)' 'endif()' \
	  > $(destination)/lib/cmake/norma/normaConfigVersion.cmake
	@echo "installed under $(destination)"

user_flags = -std=c++20 $(PUBLIC_DEFINES) -I$(CURDIR)$(if $(filter emulate,$(cuda)), -I$(CURDIR)/backends/cuda/emulator/include) $(CURDIR)/$(LIBRARY) $(LIBRARY_LIBS)
flags:  ## print what a compile line needs: g++ program.cpp $(make -s flags)
	@echo '$(user_flags)'

clean:  ## remove every build
	rm -rf build

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' Makefile
	@echo "Variables: CUDA=1|emulate, DEBUG=1, SANITIZE=address|undefined|address,undefined|thread|leak, CXX=clang++, ARCH=native,"
	@echo "  BLAS_LIBS=..., PREFIX=..., TEST_ARGS=..., TRAIN_ARGS=..., BENCH_ARGS=..., WERROR=, V=1 (show commands)"

endif
