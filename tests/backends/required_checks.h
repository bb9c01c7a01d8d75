// The required kernels of a device against the reference backend, on random shapes and strides; fewer of them
// on devices that the host cannot reach.
#pragma once

#include "core/device.h"

namespace norma::tests {

void check_copy(Device device);
void check_transposing_copy(Device device);
void check_fill_and_where(Device device);
void check_unary(Device device);
void check_powers(Device device);
void check_binary(Device device);
void check_nan_wins(Device device);
void check_division_by_zero(Device device);
void check_reductions(Device device);
void check_long_reductions(Device device);
void check_empty_reductions(Device device);
void check_scans(Device device);
void check_gather(Device device);
void check_products(Device device);
void check_random(Device device);
void check_windows(Device device);

}  // namespace norma::tests
