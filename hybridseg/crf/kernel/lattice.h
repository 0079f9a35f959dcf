// The permutohedral lattice (Adams, Baek and Davis 2010): a Gaussian filter in many dimensions.
//
// Each pixel lies in a simplex of n_dims + 1 vertices. A filter adds the pixel's value to its vertices (splat), blurs
// along each of the n_dims + 1 axes of the lattice, and reads the vertices back (slice).
//
// Vertices are numbered by first appearance, each thread numbering those of its own blocks in a range of its own. A
// vertex that an earlier thread has too is a ghost: after the splat its value is added to its owner, and after the blur
// it is given the owner's. So no two threads ever write to the same vertex, and sums are always made in one order.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "blocks.h"
#include "interrupt.h"
#include "memory.h"

namespace hybridseg {

constexpr int kMaxDims = 6;
// What tables and links take for each vertex while a lattice is built, about.
constexpr size_t kBytesToBuild = 75;

// What the filter takes for the position of a pixel: in the image, or in image and colour together.
struct Features {
  // False when a lattice coordinate could leave the range of a packed key.
  bool fit_keys() const;

  int n_dims;
  float limits[kMaxDims];  // The largest absolute value of each.
  // Writes the features of pixels (row, col_begin) .. (row, col_end - 1), one pixel after the other.
  std::function<void(int row, int col_begin, int col_end, float* features)> write;
};

struct Ghost {
  int32_t ghost, owner;
};

// Runs of vertices that are neighbours along one axis. A vertex without neighbours is in none: a blur leaves it alone.
struct Chains {
  std::vector<int32_t> vertices;     // Followed by a margin for the prefetch.
  std::vector<int32_t> begin;        // Chain k is vertices[begin[k]] .. vertices[begin[k + 1] - 1].
  std::vector<int32_t> level_begin;  // Chains level_begin[l] .. level_begin[l + 1] - 1 are in level l.
  size_t size() const { return begin.size() - 1; }
};

class Lattice {
 public:
  Lattice() = default;
  // `checkpoint` is called now and then while the lattice is built, first when the number of its vertices is known; it
  // may throw. It must where they would take more than `max_bytes`: then they were not all counted, and their number is
  // what it would be if the rest of the image had as many. It must too after an interrupt, which leaves loops undone.
  Lattice(const BlockOrder& order, const Features& features, size_t max_bytes, Interrupt& interrupt,
          const std::function<void(const Lattice&)>& checkpoint);

  size_t count_bytes() const;

  int n_dims = 0;
  int n_corners = 0;                        // n_dims + 1: vertices of a simplex, and axes.
  size_t n_vertices = 0;
  float alpha = 0;                          // What the blur must be scaled by.
  Array<int32_t> corners;                   // (n_pixels, n_corners): the vertices of each pixel in visiting order ...
  Array<float> weights;                     // ... and its barycentric weight for each.
  Array<float> norms;                       // (n_pixels,): symmetric normalisation.
  std::vector<size_t> first_vertex;         // Thread t has vertices first_vertex[t] .. first_vertex[t + 1] - 1.
  std::vector<size_t> vertices_seen;        // For each block: vertices of its thread, up to its end.
  std::vector<std::vector<Ghost>> ghosts;   // For each thread.
  std::vector<Chains> chains;               // For each axis.
  // Axes from this one on leave the level of a vertex as it is, so that level after level can be blurred along all of
  // them while it is in the cache.
  int first_level_axis = 0;
  int n_levels = 0;

 private:
  void measure_norms(const BlockOrder& order, Interrupt& interrupt);
};

}  // namespace hybridseg
