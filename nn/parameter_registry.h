// Where live parameters are, known in debug builds: how Module notices a part missing from NORMA_PARTS.
#pragma once

#include <cstddef>
#include <vector>

namespace norma::nn {

class Parameter;

namespace detail {

#ifdef NORMA_DEBUG
inline constexpr bool tracks_parameters = true;
#else
inline constexpr bool tracks_parameters = false;
#endif

/// Live parameters whose address lies in [begin, begin + bytes); none where parameters are not tracked.
std::vector<const Parameter*> live_parameters(const void* begin, std::size_t bytes);

}  // namespace detail
}  // namespace norma::nn
