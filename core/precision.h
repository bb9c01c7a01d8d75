// How exact f32 matrix products are.
#pragma once

namespace norma {

/// On cuda, f32 matrix products may run in TF32 on tensor cores: several times faster, but the operands keep
/// only 10 bits after the point. Not allowed unless set here, or by the environment's NORMA_CUDA_TF32=1 at
/// start.
void set_cuda_tf32(bool allowed);
bool cuda_tf32();

}  // namespace norma
