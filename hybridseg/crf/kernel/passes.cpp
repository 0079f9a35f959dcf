// Compiles the passes for each instruction set into one library, so that it runs on an old processor and uses a new one.
#include "passes.h"

#include <cstring>
#include <iterator>
#include <stdexcept>

#include "interrupt.h"
#include "lattice.h"

#ifdef __SSE__
#include <xmmintrin.h>
#endif

namespace hybridseg {

namespace plain {
constexpr int kRegisterWidth = 4;
#include "lanes.inc.h"
#include "passes.inc.h"
}  // namespace plain

#if defined(__x86_64__) && defined(__clang__)
#define HYBRIDSEG_MANY_SETS
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#elif defined(__x86_64__)
#define HYBRIDSEG_MANY_SETS
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif
#ifdef HYBRIDSEG_MANY_SETS
namespace avx2 {
constexpr int kRegisterWidth = 8;
#include "lanes.inc.h"
#include "passes.inc.h"
}  // namespace avx2
#endif

#if defined(__x86_64__) && defined(__clang__)
#pragma clang attribute pop
#pragma clang attribute push(__attribute__((target("avx2,fma,avx512f,avx512vl,avx512dq,avx512bw"))), apply_to = function)
#elif defined(__x86_64__)
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx2,fma,avx512f,avx512vl,avx512dq,avx512bw,prefer-vector-width=512")
#endif
#ifdef HYBRIDSEG_MANY_SETS
namespace avx512 {
constexpr int kRegisterWidth = 16;
#include "lanes.inc.h"
#include "passes.inc.h"
}  // namespace avx512
#endif
#if defined(__x86_64__) && defined(__clang__)
#pragma clang attribute pop
#elif defined(__x86_64__)
#pragma GCC pop_options
#endif

bool has_instruction_set(InstructionSet set) {
  if (set == InstructionSet::plain) return true;
#ifdef HYBRIDSEG_MANY_SETS
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (set == InstructionSet::avx2) return avx2;
  return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw");
#else
  return false;
#endif
}

InstructionSet best_instruction_set() {
  for (const InstructionSet set : {InstructionSet::avx512, InstructionSet::avx2}) {
    if (has_instruction_set(set)) return set;
  }
  return InstructionSet::plain;
}

namespace {

template <size_t count>
const Passes& choose(const Passes (&all)[count], int n_lanes) {
  for (const Passes& passes : all) {
    if (passes.n_lanes >= n_lanes) return passes;
  }
  throw std::invalid_argument("too many classes");
}

}  // namespace

const Passes& find_passes(InstructionSet set, int n_lanes) {
#ifdef HYBRIDSEG_MANY_SETS
  if (set == InstructionSet::avx512) return choose(avx512::all_passes, n_lanes);
  if (set == InstructionSet::avx2) return choose(avx2::all_passes, n_lanes);
#endif
  return choose(plain::all_passes, n_lanes);
}

void blur_values(const Passes& passes, const Lattice& lattice, float* values, Interrupt& interrupt) {
  // Owners gather their ghosts one thread after the other: within a thread each owner comes up once.
  for (const std::vector<Ghost>& ghosts : lattice.ghosts) {
#pragma omp for schedule(static)
    for (int64_t i = 0; i < int64_t(ghosts.size()); i++) passes.add_ghosts(&ghosts[i], &ghosts[i] + 1, values);
  }
  for (int axis = 0; axis < lattice.first_level_axis; axis++) {
    const Chains& chains = lattice.chains[axis];
    constexpr int64_t share = 1024;
    const int64_t n_shares = int64_t(chains.size() + share - 1) / share;
#pragma omp for schedule(static)
    for (int64_t i = 0; i < n_shares; i++) {
      if (interrupt.is_over()) continue;
      passes.blur_chains(chains, i * share, std::min<size_t>((i + 1) * share, chains.size()), values);
    }
  }
  if (lattice.first_level_axis < lattice.n_corners) {
#pragma omp for schedule(dynamic, 1)
    for (int level = 0; level < lattice.n_levels; level++) {
      if (interrupt.is_over()) continue;
      for (int axis = lattice.first_level_axis; axis < lattice.n_corners; axis++) {
        const Chains& chains = lattice.chains[axis];
        passes.blur_chains(chains, chains.level_begin[level], chains.level_begin[level + 1], values);
      }
    }
  }
  for (const std::vector<Ghost>& ghosts : lattice.ghosts) {
#pragma omp for schedule(static)
    for (int64_t i = 0; i < int64_t(ghosts.size()); i++) passes.copy_owners(&ghosts[i], &ghosts[i] + 1, values);
  }
}

}  // namespace hybridseg
