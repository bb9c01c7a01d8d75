// NumPy's .npy files, versions 1.0 to 3.0 (numpy.lib.format): one array to a file.
#pragma once

#include <string>
#include <string_view>

#include "core/array.h"

namespace norma {

/// Reads float32, float64, int64, int32 (as i64) and bool, little-endian, in C or Fortran order; the result
/// is contiguous and on the cpu. Throws Error naming the path and the reason for every other dtype and for a
/// file whose header or size is wrong.
Array load_npy(const std::string& path);
/// The same from bytes in memory; `name` stands for the file in messages.
Array parse_npy(std::string_view bytes, const std::string& name);

/// Writes version 1.0, C order; atomically (see AtomicFile).
void save_npy(const std::string& path, const Array& x);

}  // namespace norma
