// IDX files, the format of MNIST (yann.lecun.com/exdb/mnist): two zero bytes, one for the type, one for the
// rank, the extents as big-endian 32-bit numbers, then the values. Plain or gzip.
#pragma once

#include <string>
#include <string_view>

#include "core/array.h"

namespace norma::models {

/// Bytes 0 .. 255 as f32 in [0, 1]: [count, rows, columns]. `name` stands for the file in messages. Throws
/// Error naming it for anything that is not an IDX file of unsigned bytes with rank 3, and when its values
/// are fewer or more than its extents say.
Array parse_idx_images(std::string_view bytes, const std::string& name);
/// i64 in [0, 255]: [count]. Rank 1; throws as above.
Array parse_idx_labels(std::string_view bytes, const std::string& name);

/// The same from files.
Array read_idx_images(const std::string& path);
Array read_idx_labels(const std::string& path);

}  // namespace norma::models
