// Checkpoint: a training run in one safetensors file. The model's tensors stand under their own names, so the
// file is also a file of weights (Python's safetensors.torch.load_file gives a state dict, besides the
// "optimizer." tensors). Training that resumes continues bit by bit as if it had not stopped: a schedule is a
// function of the step, and the places in data and dropout streams are the states of generators.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "core/random.h"
#include "nn/module.h"
#include "nn/optim/optimizer.h"
#include "nn/safetensors.h"

namespace norma::nn {

/// Points at what is saved and restored; the pointers that are null are left out.
struct Checkpoint {
  Module* model = nullptr;
  Optimizer* optimizer = nullptr;
  std::vector<std::pair<std::string, Generator*>> generators = {};  // names differ from each other
  std::int64_t step = 0;                                            // updates made
  Metadata metadata = {};  // texts of your own, such as the options that the model is built from
};

/// Writes a file that is complete or not there. In the file: the model's state dict; optimizer tensors as
/// "optimizer." + OptimizerState's names; numbers, generators ("generator.<name>": "<seed> <position>"), the
/// step and metadata ("user.<name>") as texts in __metadata__. Numbers are written so that they read back
/// exactly. Throws Error when a model key begins with "optimizer.", and when the file cannot be written.
void save_checkpoint(const std::string& path, const Checkpoint& checkpoint);

/// Restores what the checkpoint points at and sets step and metadata. Throws Error when the file lacks any of
/// it or something does not fit; nothing has changed then. More in the file is no error.
void load_checkpoint(const std::string& path, Checkpoint& checkpoint);

/// The step and the texts alone, read from the head of the file, to build the model that load_checkpoint then
/// fills.
Checkpoint peek_checkpoint(const std::string& path);

/// The model's tensors alone: load_state_dict's argument.
StateDict load_model_state(const std::string& path);

}  // namespace norma::nn
