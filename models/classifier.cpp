#include "models/classifier.h"

namespace norma::models {

void unknown_norm(const char* model, const ClassifierNorm& norm) {
  throw Error(std::string(model) + ": unknown norm \"" + norm.name +
              "\"; known are none, batch, renorm, instance, group, weight, layer, rms");
}

bool makes_bias_useless(const ClassifierNorm& norm) {
  return norm.name == "batch" || norm.name == "renorm" || norm.name == "instance";
}

}  // namespace norma::models
