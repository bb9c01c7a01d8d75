#include "backends/cuda/emulator/symbols.h"

#include <cxxabi.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string_view>

// Two symbols whose addresses are known in memory and in the file give the distance between the two.
extern "C" {
[[gnu::used, gnu::noinline]] void norma_emulator_code_anchor() { asm volatile(""); }
constinit thread_local char norma_emulator_data_anchor = 1;
}

namespace norma::emulator {
namespace {

struct Symbol {
  std::uint64_t value;
  std::uint64_t bytes;
  const char* name;
};

// Keeps the file mapped, since names point into it.
class SymbolTable {
 public:
  SymbolTable() {
    const int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    if (file < 0) return;
    struct stat status = {};
    if (fstat(file, &status) == 0 && status.st_size > static_cast<off_t>(sizeof(ElfW(Ehdr)))) {
      void* const image =
          mmap(nullptr, static_cast<std::size_t>(status.st_size), PROT_READ, MAP_PRIVATE, file, 0);
      if (image != MAP_FAILED) read(static_cast<const char*>(image));
    }
    close(file);
  }

  const Symbol* function_at(std::uint64_t value) const {
    const auto after =
        std::upper_bound(functions_.begin(), functions_.end(), value,
                         [](std::uint64_t v, const Symbol& symbol) { return v < symbol.value; });
    if (after == functions_.begin()) return nullptr;
    const Symbol& symbol = *std::prev(after);
    return symbol.value == value ? &symbol : nullptr;
  }
  const std::vector<Symbol>& thread_locals() const { return thread_locals_; }
  std::uint64_t code_anchor() const { return code_anchor_; }
  std::uint64_t data_anchor() const { return data_anchor_; }

 private:
  void read(const char* image) {
    const auto& header = *reinterpret_cast<const ElfW(Ehdr)*>(image);
    const auto* const sections = reinterpret_cast<const ElfW(Shdr)*>(image + header.e_shoff);
    for (int i = 0; i < header.e_shnum; ++i)
      if (sections[i].sh_type == SHT_SYMTAB) read(image, sections[i], sections[sections[i].sh_link]);
    std::sort(functions_.begin(), functions_.end(),
              [](const Symbol& a, const Symbol& b) { return a.value < b.value; });
  }

  void read(const char* image, const ElfW(Shdr) & section, const ElfW(Shdr) & strings) {
    const auto* const entries = reinterpret_cast<const ElfW(Sym)*>(image + section.sh_offset);
    for (std::size_t i = 0; i < section.sh_size / sizeof(ElfW(Sym)); ++i) {
      const ElfW(Sym)& entry = entries[i];
      if (entry.st_shndx == SHN_UNDEF) continue;
      const Symbol symbol = {entry.st_value, entry.st_size, image + strings.sh_offset + entry.st_name};
      const std::string_view name = symbol.name;
      switch (ELF64_ST_TYPE(entry.st_info)) {
        case STT_FUNC:
          functions_.push_back(symbol);
          if (name == "norma_emulator_code_anchor") code_anchor_ = symbol.value;
          break;
        case STT_TLS:
          thread_locals_.push_back(symbol);
          if (name == "norma_emulator_data_anchor") data_anchor_ = symbol.value;
          break;
        default:
          break;
      }
    }
  }

  std::vector<Symbol> functions_, thread_locals_;
  std::uint64_t code_anchor_ = 0, data_anchor_ = 0;
};

const SymbolTable& table() {
  static const SymbolTable* const made = new SymbolTable;
  return *made;
}

template <class T>
std::uint64_t number(T* address) {
  return reinterpret_cast<std::uintptr_t>(address);
}

constexpr std::string_view marker_name = "norma_shared_";

// "_ZZ" function "E" length name: what stands before the length of a marker's name.
std::string_view function_part(std::string_view symbol) {
  std::size_t end = symbol.find(marker_name);
  if (end == std::string_view::npos) return {};
  while (end > 0 && std::isdigit(static_cast<unsigned char>(symbol[end - 1])) != 0) --end;
  return symbol.substr(0, end);
}

}  // namespace

const char* symbol_name(const void* function) {
  const std::uint64_t bias = number(&norma_emulator_code_anchor) - table().code_anchor();
  const Symbol* const symbol = table().function_at(number(function) - bias);
  return symbol == nullptr ? nullptr : symbol->name;
}

std::string readable_name(const void* function) {
  const char* const mangled = symbol_name(function);
  if (mangled == nullptr) {
    char text[32];
    std::snprintf(text, sizeof text, "at %p", function);
    return text;
  }
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> demangled(
      abi::__cxa_demangle(mangled, nullptr, nullptr, &status), std::free);
  std::string name = demangled ? demangled.get() : mangled;
  constexpr std::string_view hidden = "(anonymous namespace)::";
  for (std::size_t at; (at = name.find(hidden)) != std::string::npos;) name.erase(at, hidden.size());
  if (name.ends_with(')')) {
    std::size_t open = name.size() - 1;
    for (int depth = 1; depth > 0 && open > 0;) depth += name[--open] == ')' ? 1 : name[open] == '(' ? -1 : 0;
    name.resize(open);
  }
  if (name.starts_with("void ")) name.erase(0, 5);
  return name;
}

std::vector<SharedVariable> shared_variables_of(const void* marker) {
  const std::uint64_t value = number(marker) - number(&norma_emulator_data_anchor) + table().data_anchor();
  std::vector<SharedVariable> found;
  for (const Symbol& symbol : table().thread_locals()) {
    const std::string_view function = function_part(symbol.name);
    if (symbol.value != value || function.empty()) continue;
    for (const Symbol& other : table().thread_locals()) {
      const std::string_view name = other.name;
      if (name.starts_with(function) && name.find(marker_name) == std::string_view::npos)
        found.push_back({static_cast<std::ptrdiff_t>(other.value - value), other.bytes});
    }
  }
  return found;
}

}  // namespace norma::emulator
