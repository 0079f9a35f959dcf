// One call from an image to its labels: what it is given is checked, however it came here, before anything relies on it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "meanfield.h"
#include "passes.h"

namespace hybridseg {

// An image, of bytes or of floats, and where it lies in the whole one of which it is a part.
struct Image {
  const uint8_t* bytes;
  const float* floats;  // Used where `bytes` is null.
  int64_t n_rows, n_cols, n_bands;
  int first_row, first_col;
  float largest_value;  // No value is above it, and none below 0.
};

// How far neighbours reach, and what the work may take.
struct Limits {
  float theta, space_theta, color_scale;
  bool exchanged_sides;
  int n_threads;
  size_t max_bytes;
};

struct TooMuchMemory : std::runtime_error {
  using std::runtime_error::runtime_error;
};

InstructionSet parse_set(const std::string& name);
const char* name_set(InstructionSet set);

// labels: (n_pixels,) winning lanes. probs: (n_pixels, n_lanes), or null. Throws std::invalid_argument for what no
// image can have, std::overflow_error when the lattice cannot hold it, and TooMuchMemory with the bytes that it needs.
MeanFieldResult refine(const Image& image, const Priors& priors, const Limits& limits, const MeanFieldOptions& options,
                       uint8_t* labels, float* probs);

}  // namespace hybridseg
