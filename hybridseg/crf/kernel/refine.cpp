#include "refine.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "parallel.h"

namespace hybridseg {
namespace {

constexpr int64_t kMaxSide = int64_t(1) << 30;
constexpr int kMaxLanes = 256;

void require(bool holds, const char* what) {
  if (!holds) throw std::invalid_argument(what);
}

// Sums of flags, not an early end, so that the compiler can make vectors of it.
template <class Value>
bool all_within(const Value* values, size_t n, Value lowest, Value highest) {
  size_t n_within = 0;
  for (size_t i = 0; i < n; i++) n_within += values[i] >= lowest && values[i] <= highest;  // A NaN is not.
  return n_within == n;
}

// What the loops rely on.
void check(const Image& image, const Priors& priors, const Limits& limits, const MeanFieldOptions& options) {
  require(image.n_bands >= 1 && image.n_bands <= kMaxDims - 2, "an image has 1 to 4 bands");
  require(image.n_rows >= 1 && image.n_cols >= 1 && image.n_rows <= kMaxSide && image.n_cols <= kMaxSide,
          "an image has 1 to 2^30 rows and columns");
  require(image.first_row >= 0 && image.first_col >= 0 && image.first_row <= kMaxSide && image.first_col <= kMaxSide,
          "a part of an image begins in it");
  require(priors.n_lanes >= 1 && priors.n_lanes <= kMaxLanes, "there are 1 to 256 lanes");
  require(limits.theta >= 0 && limits.space_theta >= 0 && limits.color_scale >= 0, "widths must not be negative");
  require(options.n_iterations >= 0, "the number of iterations must not be negative");
  const size_t n_pixels = size_t(image.n_rows) * size_t(image.n_cols);
  require(priors.row_of_pixel || priors.n_rows == n_pixels, "priors are not of as many pixels");
  require(!priors.row_of_pixel || (priors.n_rows >= 1 && priors.n_rows <= size_t(INT32_MAX) &&
                                   all_within(priors.row_of_pixel, n_pixels, 0, int32_t(priors.n_rows - 1))),
          "a pixel has priors that there are not");
  const size_t n_values = n_pixels * size_t(image.n_bands);
  require(image.bytes ? image.largest_value >= 255 || all_within(image.bytes, n_values, uint8_t(0),
                                                                 uint8_t(std::max(image.largest_value, 0.0f)))
                      : all_within(image.floats, n_values, 0.0f, image.largest_value),
          "values of the image are not from 0 to the largest");
}

// Row and column, then every band, each divided by its standard deviation.
template <class Value>
Features color_features(const Value* values_of_image, const Image& image, float theta, float color_scale) {
  const int64_t end_row = image.first_row + image.n_rows, end_col = image.first_col + image.n_cols;
  Features features{int(2 + image.n_bands), {end_row / theta, end_col / theta}, {}};
  for (int band = 0; band < image.n_bands; band++) features.limits[2 + band] = image.largest_value / color_scale;
  features.write = [=](int row, int col_begin, int col_end, float* to) {
    const Value* values = values_of_image + (size_t(row) * image.n_cols + col_begin) * image.n_bands;
    for (int col = col_begin; col < col_end; col++) {
      *to++ = (image.first_row + row) / theta;
      *to++ = (image.first_col + col) / theta;
      for (int band = 0; band < image.n_bands; band++) *to++ = float(*values++) / color_scale;
    }
  };
  return features;
}

// Column and row. With the sides exchanged, as the classic program gives them, the pixels are numbered through rows of
// another length.
Features space_features(const Image& image, float theta, bool exchanged_sides) {
  const int64_t end_row = image.first_row + image.n_rows, end_col = image.first_col + image.n_cols;
  Features features{2, {end_col / theta, end_row / theta}, {}};
  if (exchanged_sides) std::swap(features.limits[0], features.limits[1]);
  features.write = [=](int row, int col_begin, int col_end, float* to) {
    for (int col = col_begin; col < col_end; col++) {
      const size_t number = size_t(row) * image.n_cols + col;
      *to++ = (exchanged_sides ? int(number % image.n_rows) : image.first_col + col) / theta;
      *to++ = (exchanged_sides ? int(number / image.n_rows) : image.first_row + row) / theta;
    }
  };
  return features;
}

// Refuses a lattice as soon as the number of its vertices is known, before most of its memory is taken. While it is
// built, tables and links take kBytesToBuild for each vertex; later its chains take up to 56, beside the values.
void refuse_above(size_t max_bytes, const Lattice& lattice, size_t value_bytes) {
  constexpr size_t bytes_of_chains = 56, most_vertices = size_t(INT32_MAX) - kPrefetchMargin;
  const size_t later = value_bytes + (lattice.chains.empty() ? bytes_of_chains * lattice.n_vertices : 0);
  const size_t n_bytes = lattice.count_bytes() + std::max(later, kBytesToBuild * lattice.n_vertices);
  if (n_bytes > max_bytes || lattice.n_vertices > most_vertices) throw TooMuchMemory(std::to_string(n_bytes));
}

constexpr const char* kSetNames[] = {"plain", "avx2", "avx512"};

}  // namespace

const char* name_set(InstructionSet set) { return kSetNames[int(set)]; }

InstructionSet parse_set(const std::string& name) {
  if (name.empty()) return best_instruction_set();
  for (const InstructionSet set : kAllSets) {
    if (name == name_set(set) && has_instruction_set(set)) return set;
  }
  throw std::invalid_argument("this processor has no instruction set '" + name + "'");
}

MeanFieldResult refine(const Image& image, const Priors& priors, const Limits& limits, const MeanFieldOptions& options,
                       uint8_t* labels, float* probs) {
  check(image, priors, limits, options);
  const Features color_source = image.bytes ? color_features(image.bytes, image, limits.theta, limits.color_scale)
                                            : color_features(image.floats, image, limits.theta, limits.color_scale);
  const Features space_source = space_features(image, limits.space_theta, limits.exchanged_sides);
  const bool has_color = options.color_compat > 0, has_space = options.space_compat > 0;
  if ((has_color && !color_source.fit_keys()) || (has_space && !space_source.fit_keys())) {
    throw std::overflow_error("lattice keys would overflow");
  }
  const ThreadRelease at_end;
  const BlockOrder order(int(image.n_rows), int(image.n_cols), limits.n_threads);
  Interrupt interrupt(options.ask, options.seconds_to_ask);
  std::unique_ptr<Lattice> color, space;
  const auto checkpoint = [&](const Lattice& lattice) {
    interrupt.check();
    refuse_above(limits.max_bytes, lattice, count_bytes(order, &lattice, nullptr, priors));
  };
  if (has_color) color = std::make_unique<Lattice>(order, color_source, limits.max_bytes, interrupt, checkpoint);
  if (has_space) space = std::make_unique<Lattice>(order, space_source, limits.max_bytes, interrupt, checkpoint);
  const size_t n_bytes = count_bytes(order, color.get(), space.get(), priors) + (color ? color->count_bytes() : 0) +
                         (space ? space->count_bytes() : 0);
  if (n_bytes > limits.max_bytes) throw TooMuchMemory(std::to_string(n_bytes));
  return infer(order, color.get(), space.get(), priors, options, interrupt, labels, probs);
}

}  // namespace hybridseg
