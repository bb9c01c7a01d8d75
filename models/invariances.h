// What a normalized layer does not notice: the invariance table of Ba, Kiros, Hinton 2016 (arXiv:1607.06450,
// Table 1), extended by Zhang & Sennrich 2019 (arXiv:1910.07467, Table 1), measured.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace norma::models {

/// Of a layer y = norm(W x), W [neurons, inputs]; delta > 0.
inline constexpr std::array<std::string_view, 6> invariance_operations{
    "weight matrix re-scaling",    // W' = delta W
    "weight matrix re-centering",  // W' = W + 1 gamma^T: one vector added to the weights of every neuron
    "weight vector re-scaling",    // the weights of one neuron times delta
    "dataset re-scaling",          // x' = delta x for all samples
    "dataset re-centering",        // x' = x + c for all samples
    "single training case re-scaling"};  // x' = delta x for one sample

/// A change that rounding explains, one that nobody overlooks, or neither.
enum class Verdict : std::uint8_t { unchanged, changed, unclear };

/// One measurement: the largest |y' - y| divided by the largest |y|, in f64 and with eps = 0.
struct Measured {
  double change = 0;
  bool expected = true;  // "unchanged", say the papers, or the derivation where they say nothing
  Verdict verdict() const;
  bool agrees() const { return verdict() == (expected ? Verdict::unchanged : Verdict::changed); }
};

struct InvarianceRow {
  std::string method;
  bool in_papers = true;  // a row of the papers' tables; else derived
  std::array<Measured, invariance_operations.size()> cells;
};

/// The five rows of the papers, then the other methods of the library. Weights and data are random; samples
/// have several positions, over which batch, instance and group norms take their statistics too.
std::vector<InvarianceRow> measure_invariances(std::uint64_t seed = 1);

/// What else is said about invariance, and where the wording matters: signs, and what is shifted.
struct InvarianceStatement {
  std::string text;
  Measured measured;
};
std::vector<InvarianceStatement> measure_invariance_statements(std::uint64_t seed = 1);

/// Both as text. One line a method and one below it with the changes.
std::string show(const std::vector<InvarianceRow>& rows, const std::vector<InvarianceStatement>& statements);
/// One line for each measurement that does not agree.
std::vector<std::string> disagreements(const std::vector<InvarianceRow>& rows,
                                       const std::vector<InvarianceStatement>& statements);

}  // namespace norma::models
