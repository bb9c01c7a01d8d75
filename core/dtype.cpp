#include "core/dtype.h"

#include "core/device.h"

namespace norma {

const char* name(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return "f32";
    case DType::f64:
      return "f64";
    case DType::i64:
      return "i64";
    case DType::boolean:
      return "bool";
  }
  return "unknown dtype";
}

const char* name(Device device) {
  switch (device) {
    case Device::cpu:
      return "cpu";
    case Device::cuda:
      return "cuda";
    case Device::reference:
      return "reference";
  }
  return "unknown device";
}

}  // namespace norma
