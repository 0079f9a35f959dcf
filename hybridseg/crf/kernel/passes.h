// The inner loops, compiled once for each instruction set and number of lanes, and chosen when the program runs.
#pragma once

#include <cstddef>
#include <cstdint>

namespace hybridseg {

class BlockOrder;
class Interrupt;
class Lattice;
struct Chains;
struct Ghost;

enum class InstructionSet { plain, avx2, avx512 };
constexpr InstructionSet kAllSets[] = {InstructionSet::plain, InstructionSet::avx2, InstructionSet::avx512};

InstructionSet best_instruction_set();
bool has_instruction_set(InstructionSet set);

// How far index arrays may be read beyond their end by a prefetch.
constexpr size_t kPrefetchMargin = 512;

// One Potts term: a lattice, the values read from it and those written to it, (n_vertices, lanes).
struct PairwiseTerm {
  const Lattice* lattice = nullptr;
  float compat = 0;
  const float* read = nullptr;
  float* write = nullptr;
};

// What the pass over the pixels needs.
struct PixelPass {
  const BlockOrder* order = nullptr;
  Interrupt* interrupt = nullptr;
  PairwiseTerm color, space;
  const float* unaries = nullptr;          // (n_rows_of_table, lanes): negative energies.
  const int32_t* unary_of_pixel = nullptr;  // Row of the table for each pixel; null: pixel i has row i.
  const float* multiplicity = nullptr;     // (lanes,): how many classes a lane stands for; 0 for padding.
  uint8_t* winners = nullptr;              // (n_pixels,): the lane that is ahead, in visiting order; null: not kept.
  uint8_t* labels = nullptr;               // (n_pixels,): the lane that has won, in raster order; last pass only.
  float* probs = nullptr;                  // (n_pixels, n_probs), in raster order; null: not wanted.
  int n_probs = 0;
  bool first = false, last = false;
};

struct Passes {
  int n_lanes;
  // Slice both lattices, soften to probabilities, splat them again, for the pixels of one thread. Q is never stored.
  // Returns how many pixels have another winner than before; after an interrupt, of some.
  size_t (*visit_pixels)(const PixelPass& pass, int thread);
  // Blur chains first .. last - 1 in place.
  void (*blur_chains)(const Chains& chains, size_t first, size_t last, float* values);
  void (*add_ghosts)(const Ghost* first, const Ghost* last, float* values);
  void (*copy_owners)(const Ghost* first, const Ghost* last, float* values);
};

// The passes for at least n_lanes lanes. Throws std::invalid_argument beyond 256.
const Passes& find_passes(InstructionSet set, int n_lanes);

// Blurs a lattice along all axes; to be called by all threads of a parallel region.
void blur_values(const Passes& passes, const Lattice& lattice, float* values, Interrupt& interrupt);

}  // namespace hybridseg
