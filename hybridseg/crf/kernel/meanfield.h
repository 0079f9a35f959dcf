// Mean-field inference in a fully connected CRF with Potts compatibility (Krähenbühl and Koltun 2011).
#pragma once

#include <functional>
#include <vector>

#include "interrupt.h"
#include "lattice.h"
#include "passes.h"

namespace hybridseg {

// The unary term of each pixel.
struct Priors {
  const float* table;             // (n_rows, n_lanes) probabilities.
  size_t n_rows;
  const int32_t* row_of_pixel;    // (n_pixels,); null: pixel i has row i.
  int n_lanes;
  const float* multiplicity;      // (n_lanes,): how many classes of the same probability a lane stands for.
  float floor;                    // Smaller probabilities are taken for this one.
};

struct MeanFieldOptions {
  float space_compat, color_compat;
  int n_iterations;
  double tolerance;  // Stop when fewer than this share of the pixels changed their winner; 0: never.
  InstructionSet instructions;
  std::function<void()> ask;   // Called now and then by the thread that called; what it throws ends the work.
  double seconds_to_ask = 0.1;  // Within a pass it is called no more often than this.
};

struct MeanFieldResult {
  int n_iterations = 0;
  double changed = 0;  // Share of the pixels that changed their winner in the last iteration that was looked at.
};

// Bytes that `infer` takes beside the lattices.
size_t count_bytes(const BlockOrder& order, const Lattice* color, const Lattice* space, const Priors& priors);

// labels: (n_pixels,) winning lanes. probs: (n_pixels, n_lanes), or null. A term without a lattice is left out.
MeanFieldResult infer(const BlockOrder& order, const Lattice* color, const Lattice* space, const Priors& priors,
                      const MeanFieldOptions& options, Interrupt& interrupt, uint8_t* labels, float* probs);

}  // namespace hybridseg
