#include "meanfield.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace hybridseg {
namespace {

// Values of a lattice that are read in a pass and those that are written in it.
class ValuePair {
 public:
  ValuePair(const Lattice* lattice, int n_lanes) {
    if (!lattice) return;
    read_ = Array<float>(lattice->n_vertices * n_lanes);
    write_ = Array<float>(lattice->n_vertices * n_lanes);
  }
  PairwiseTerm term(const Lattice* lattice, float compat) { return {lattice, compat, read_.data(), write_.data()}; }
  float* written() { return write_.data(); }
  void swap() { std::swap(read_, write_); }

 private:
  Array<float> read_, write_;
};

// Negative energies, widened to the lanes of the passes.
Array<float> make_unaries(const Priors& priors, int n_padded, int n_threads) {
  constexpr float impossible = -1e30f;
  Array<float> unaries(priors.n_rows * n_padded);
#pragma omp parallel for num_threads(n_threads) schedule(static)
  for (int64_t i = 0; i < int64_t(priors.n_rows); i++) {
    float* row = &unaries[i * n_padded];
    for (int lane = 0; lane < n_padded; lane++) {
      row[lane] = lane < priors.n_lanes ? std::log(std::max(priors.table[i * priors.n_lanes + lane], priors.floor))
                                        : impossible;
    }
  }
  return unaries;
}

const Passes& choose_passes(InstructionSet instructions, int n_lanes) {
  return find_passes(instructions, std::max(n_lanes, 4));
}

}  // namespace

size_t count_bytes(const BlockOrder& order, const Lattice* color, const Lattice* space, const Priors& priors) {
  const size_t row = choose_passes(InstructionSet::plain, priors.n_lanes).n_lanes * sizeof(float);
  const size_t n_vertices = (color ? color->n_vertices : 0) + (space ? space->n_vertices : 0);
  return (2 * n_vertices + priors.n_rows) * row + order.n_pixels();
}

MeanFieldResult infer(const BlockOrder& order, const Lattice* color, const Lattice* space, const Priors& priors,
                      const MeanFieldOptions& options, Interrupt& interrupt, uint8_t* labels, float* probs) {
  const Passes& passes = choose_passes(options.instructions, priors.n_lanes);
  const int n_threads = order.n_threads();
  const Array<float> unaries = make_unaries(priors, passes.n_lanes, n_threads);
  Array<float> multiplicity(passes.n_lanes);
  for (int i = 0; i < passes.n_lanes; i++) multiplicity[i] = i < priors.n_lanes ? priors.multiplicity[i] : 0;
  ValuePair color_values(color, passes.n_lanes), space_values(space, passes.n_lanes);
  std::vector<uint8_t> winners(options.tolerance > 0 ? order.n_pixels() : 0);

  PixelPass pass;
  pass.order = &order;
  pass.interrupt = &interrupt;
  pass.unaries = unaries.data();
  pass.unary_of_pixel = priors.row_of_pixel;
  pass.multiplicity = multiplicity.data();
  pass.winners = winners.empty() ? nullptr : winners.data();
  pass.labels = labels;
  pass.probs = probs;
  pass.n_probs = priors.n_lanes;
  MeanFieldResult result;
  for (int iteration = 0;; iteration++) {
    interrupt.check();
    pass.color = color_values.term(color, options.color_compat);
    pass.space = space_values.term(space, options.space_compat);
    pass.first = iteration == 0;
    pass.last = iteration == options.n_iterations || (result.n_iterations && iteration == result.n_iterations);
    size_t n_changed = 0;
#pragma omp parallel for num_threads(n_threads) schedule(static, 1) reduction(+ : n_changed)
    for (int t = 0; t < n_threads; t++) n_changed += passes.visit_pixels(pass, t);
    interrupt.check();
    if (iteration > 0 && pass.winners) result.changed = double(n_changed) / order.n_pixels();
    if (pass.last) {
      result.n_iterations = iteration;
      return result;
    }
    // The pass that finds the field settled has not written a result: the next one is the last.
    const bool settled = iteration > 0 && pass.winners && result.changed < options.tolerance;
    if (settled && !result.n_iterations) result.n_iterations = iteration + 1;
#pragma omp parallel num_threads(n_threads)
    {
      if (color) blur_values(passes, *color, color_values.written(), interrupt);
      if (space) blur_values(passes, *space, space_values.written(), interrupt);
    }
    color_values.swap();
    space_values.swap();
  }
}

}  // namespace hybridseg
