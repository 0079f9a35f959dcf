#include "lattice.h"

#include <atomic>
#include <cmath>
#include <limits>

#include "parallel.h"
#include "passes.h"
#include "vertices.h"

namespace hybridseg {
namespace {

// Keys that are looked up before a thread looks whether it should end; a multiple of a batch.
constexpr size_t kKeysToAsk = 4096;

// The vertices of one thread, and the levels that they span: most look-ups in another thread's table are spared.
struct ThreadVertices {
  explicit ThreadVertices(VertexTable table) : table(std::move(table)) {}
  void measure_levels(const KeyLayout& layout) {
    for (const uint64_t key : table.keys()) {
      const int level = layout.level(key);
      lowest = std::min(lowest, level);
      highest = std::max(highest, level);
    }
  }
  bool may_have(int level) const { return level >= lowest && level <= highest; }

  VertexTable table;
  int lowest = std::numeric_limits<int>::max(), highest = std::numeric_limits<int>::min();
  std::vector<uint8_t> is_ghost;
};

using Threads = std::vector<ThreadVertices>;

// Looks keys up in the tables of threads 0 .. n_tables - 1: the number of the vertex among all, or -1.
class VertexFinder {
 public:
  VertexFinder(const KeyLayout& layout, const Threads& threads, const std::vector<size_t>& first_vertex, int n_tables)
      : layout_(layout), threads_(threads), first_vertex_(first_vertex), n_tables_(n_tables) {}

  static constexpr size_t batch_size = 64;

  void find(const uint64_t* keys, size_t n_keys, int32_t* found) {
    for (size_t i = 0; i < n_keys; i++) found[i] = -1;
    for (int t = 0; t < n_tables_; t++) {
      for (size_t i = 0; i < n_keys; i++) {
        pages_[i] = nullptr;
        if (found[i] >= 0 || !threads_[t].may_have(layout_.level(keys[i]))) continue;
        pages_[i] = &threads_[t].table.find_page(keys[i]);
        slots_[i] = pages_[i]->start_finding(keys[i]);
      }
      for (size_t i = 0; i < n_keys; i++) {
        const int32_t number = pages_[i] ? pages_[i]->finish_finding(keys[i], slots_[i]) : -1;
        if (number >= 0) found[i] = int32_t(first_vertex_[t] + number);
      }
    }
  }

 private:
  const KeyLayout& layout_;
  const Threads& threads_;
  const std::vector<size_t>& first_vertex_;
  const int n_tables_;
  const Page* pages_[batch_size];
  const Page::Slot* slots_[batch_size];
};

// Counts the vertices and pixels of all threads while they are numbered, and says when there are too many.
struct Count {
  void add(size_t n_more_vertices, size_t n_more_pixels) {
    n_vertices += n_more_vertices;
    n_pixels += n_more_pixels;
  }
  bool is_full() const { return n_vertices > most_vertices; }

  const size_t most_vertices;
  std::atomic<size_t> n_vertices{0}, n_pixels{0};
};

void number_corners(const BlockOrder& order, const SimplexFinder& finder, const Features& source, int thread,
                    ThreadVertices& vertices, Lattice& lattice, Count& count, Interrupt& interrupt) {
  const int n_dims = lattice.n_dims, n_corners = lattice.n_corners;
  std::vector<float> features;
  std::vector<uint64_t> keys;
  for (size_t b = order.first_block[thread]; b < order.first_block[thread + 1] && !count.is_full() && !interrupt.is_over();
       b++) {
    const Block& block = order.blocks[b];
    const int width = block.col_end - block.col_begin;
    const size_t n_before = vertices.table.keys().size();
    features.resize(size_t(width) * n_dims);
    keys.resize(size_t(width) * n_corners);
    size_t corner = block.first_pixel * n_corners;
    for (int row = block.row_begin; row < block.row_end; row++, corner += keys.size()) {
      source.write(row, block.col_begin, block.col_end, features.data());
      for (int i = 0; i < width; i++) {
        finder.find(&features[i * n_dims], &keys[i * n_corners], &lattice.weights[corner + i * n_corners]);
      }
      for (size_t i = 0; i < keys.size(); i++) lattice.corners[corner + i] = vertices.table.insert(keys[i]);
    }
    lattice.vertices_seen[b] = vertices.table.keys().size();
    count.add(lattice.vertices_seen[b] - n_before, size_t(width) * (block.row_end - block.row_begin));
  }
}

void find_ghosts(const KeyLayout& layout, Threads& threads, int thread, Lattice& lattice, Interrupt& interrupt) {
  const std::vector<uint64_t>& keys = threads[thread].table.keys();
  threads[thread].is_ghost.assign(keys.size(), 0);
  if (!thread) return;
  VertexFinder finder(layout, threads, lattice.first_vertex, thread);
  int32_t owners[VertexFinder::batch_size];
  for (size_t begin = 0; begin < keys.size(); begin += VertexFinder::batch_size) {
    if (begin % kKeysToAsk == 0 && interrupt.is_over()) return;
    const size_t n_keys = std::min(VertexFinder::batch_size, keys.size() - begin);
    finder.find(&keys[begin], n_keys, owners);
    for (size_t i = 0; i < n_keys; i++) {
      if (owners[i] < 0) continue;
      lattice.ghosts[thread].push_back({int32_t(lattice.first_vertex[thread] + begin + i), owners[i]});
      threads[thread].is_ghost[begin + i] = 1;
    }
  }
}

// For each vertex of a thread the next one along an axis, or -1. A ghost has none: its owner has them.
void find_next(const KeyLayout& layout, const Threads& threads, int thread, int axis, const Lattice& lattice,
               int32_t* next, Interrupt& interrupt) {
  const std::vector<uint64_t>& keys = threads[thread].table.keys();
  const std::vector<uint8_t>& is_ghost = threads[thread].is_ghost;
  next += lattice.first_vertex[thread];
  VertexFinder finder(layout, threads, lattice.first_vertex, int(threads.size()));
  uint64_t next_keys[VertexFinder::batch_size];
  for (size_t begin = 0; begin < keys.size(); begin += VertexFinder::batch_size) {
    if (begin % kKeysToAsk == 0 && interrupt.is_over()) return;
    const size_t n_keys = std::min(VertexFinder::batch_size, keys.size() - begin);
    for (size_t i = 0; i < n_keys; i++) next_keys[i] = layout.next(keys[begin + i], axis);
    finder.find(next_keys, n_keys, next + begin);
    for (size_t i = 0; i < n_keys; i++) {
      if (is_ghost[begin + i]) next[begin + i] = -1;
    }
  }
}

Chains link_chains(const Array<int32_t>& next) {
  std::vector<uint8_t> has_previous(next.size(), 0);
  for (size_t i = 0; i < next.size(); i++) {
    if (next[i] >= 0) has_previous[next[i]] = 1;
  }
  Chains chains;
  chains.begin.push_back(0);
  for (size_t i = 0; i < next.size(); i++) {
    if (has_previous[i] || next[i] < 0) continue;
    for (int32_t vertex = int32_t(i); vertex >= 0; vertex = next[vertex]) chains.vertices.push_back(vertex);
    chains.begin.push_back(int32_t(chains.vertices.size()));
  }
  return chains;
}

// Puts the chains of each level together.
void sort_by_level(Chains& chains, const std::vector<int32_t>& levels, int n_levels) {
  const size_t n_chains = chains.size();
  std::vector<int32_t> n_of_level(n_levels + 1, 0), n_vertices_of_level(n_levels + 1, 0);
  for (size_t k = 0; k < n_chains; k++) {
    const int level = levels[chains.vertices[chains.begin[k]]];
    n_of_level[level + 1]++;
    n_vertices_of_level[level + 1] += chains.begin[k + 1] - chains.begin[k];
  }
  for (int level = 0; level < n_levels; level++) {
    n_of_level[level + 1] += n_of_level[level];
    n_vertices_of_level[level + 1] += n_vertices_of_level[level];
  }
  Chains sorted;
  sorted.level_begin = n_of_level;
  sorted.vertices.resize(chains.vertices.size());
  sorted.begin.resize(n_chains + 1);
  sorted.begin[n_chains] = int32_t(chains.vertices.size());
  for (size_t k = 0; k < n_chains; k++) {
    const int level = levels[chains.vertices[chains.begin[k]]];
    int32_t& to = n_vertices_of_level[level];
    sorted.begin[n_of_level[level]++] = to;
    for (int32_t i = chains.begin[k]; i < chains.begin[k + 1]; i++) sorted.vertices[to++] = chains.vertices[i];
  }
  chains = std::move(sorted);
}

}  // namespace

bool Features::fit_keys() const {
  const KeyLayout layout(n_dims);
  // Some room on either side for the rounding and for the neighbours.
  return SimplexFinder(layout).bound_quotient(limits) + 3 < double(layout.bias());
}

Lattice::Lattice(const BlockOrder& order, const Features& features, size_t max_bytes, Interrupt& interrupt,
                 const std::function<void(const Lattice&)>& checkpoint)
    : n_dims(features.n_dims), n_corners(n_dims + 1), alpha(1.0f / (1.0f + std::pow(2.0f, -float(n_dims)))) {
  const KeyLayout layout(n_dims);
  const SimplexFinder finder(layout);
  const int n_threads = order.n_threads();
  const size_t n_pixels = order.n_pixels();
  // The margin lets the prefetch of the next pixels run over the end.
  corners = Array<int32_t>(n_pixels * n_corners + kPrefetchMargin);
  for (size_t i = 0; i < kPrefetchMargin; i++) corners[n_pixels * n_corners + i] = 0;
  weights = Array<float>(n_pixels * n_corners);
  vertices_seen.resize(order.blocks.size());
  ghosts.resize(n_threads);
  Threads threads;
  for (int t = 0; t < n_threads; t++) {
    const size_t n_own = order.first_pixel(order.first_block[t + 1]) - order.first_pixel(order.first_block[t]);
    threads.emplace_back(VertexTable(layout, finder.count_levels(features.limits) * n_own / n_pixels + 2,
                                     finder.count_second_levels(features.limits) + 2, n_own));
  }
  Count count{max_bytes > count_bytes() ? (max_bytes - count_bytes()) / kBytesToBuild : 0};
  for_each_in_parallel(n_threads, n_threads, [&](int t) {
    number_corners(order, finder, features, t, threads[t], *this, count, interrupt);
    threads[t].measure_levels(layout);
  });
  first_vertex.push_back(0);
  for (const ThreadVertices& thread : threads) first_vertex.push_back(first_vertex.back() + thread.table.keys().size());
  n_vertices = first_vertex.back();
  if (count.is_full()) n_vertices = size_t(double(n_vertices) * n_pixels / count.n_pixels) + 1;
  checkpoint(*this);
  for_each_in_parallel(n_threads, n_threads, [&](int t) {
    find_ghosts(layout, threads, t, *this, interrupt);
    const size_t begin = order.first_pixel(order.first_block[t]), end = order.first_pixel(order.first_block[t + 1]);
    for (size_t i = begin * n_corners; i < end * n_corners; i++) corners[i] += int32_t(first_vertex[t]);
  });
  checkpoint(*this);
  std::vector<Array<int32_t>> next;
  for (int axis = 0; axis < n_corners; axis++) next.emplace_back(n_vertices);
  for_each_in_parallel(n_threads, n_threads, [&](int t) {
    for (int axis = 0; axis < n_corners; axis++) find_next(layout, threads, t, axis, *this, next[axis].data(), interrupt);
  });
  checkpoint(*this);
  int lowest = threads[0].lowest, highest = threads[0].highest;
  for (const ThreadVertices& thread : threads) {
    lowest = std::min(lowest, thread.lowest);
    highest = std::max(highest, thread.highest);
  }
  n_levels = highest - lowest + 1;
  first_level_axis = n_dims > 2 ? 2 : n_corners;
  std::vector<int32_t> levels;
  levels.reserve(n_vertices);
  for (const ThreadVertices& thread : threads) {
    for (const uint64_t key : thread.table.keys()) levels.push_back(layout.level(key) - lowest);
  }
  threads.clear();
  chains.resize(n_corners);
  for_each_in_parallel(n_corners, n_threads, [&](int axis) {
    if (interrupt.is_over()) return;
    chains[axis] = link_chains(next[axis]);
    next[axis] = Array<int32_t>();
    if (axis >= first_level_axis) sort_by_level(chains[axis], levels, n_levels);
    chains[axis].vertices.resize(chains[axis].vertices.size() + kPrefetchMargin, 0);
  });
  checkpoint(*this);
  measure_norms(order, interrupt);
}

size_t Lattice::count_bytes() const {
  size_t n_bytes = corners.size() * sizeof(int32_t) + (weights.size() + norms.size()) * sizeof(float);
  for (const Chains& axis : chains) {
    n_bytes += (axis.vertices.capacity() + axis.begin.capacity() + axis.level_begin.capacity()) * sizeof(int32_t);
  }
  for (const std::vector<Ghost>& own : ghosts) n_bytes += own.capacity() * sizeof(Ghost);
  return n_bytes;
}

// A filter of ones gives the weight that each pixel's surroundings have; its root is divided out before and after.
void Lattice::measure_norms(const BlockOrder& order, Interrupt& interrupt) {
  const int n_threads = order.n_threads();
  const Passes& passes = find_passes(InstructionSet::plain, 1);
  Array<float> values(n_vertices);
  norms = Array<float>(order.n_pixels());
#pragma omp parallel num_threads(n_threads)
  {
#pragma omp for schedule(static, 1)
    for (int t = 0; t < n_threads; t++) {
      for (size_t i = first_vertex[t]; i < first_vertex[t + 1]; i++) values[i] = 0;
      const size_t begin = order.first_pixel(order.first_block[t]), end = order.first_pixel(order.first_block[t + 1]);
      for (size_t i = begin * n_corners; i < end * n_corners; i++) values[corners[i]] += weights[i];
    }
    blur_values(passes, *this, values.data(), interrupt);
#pragma omp for schedule(static)
    for (int64_t p = 0; p < int64_t(order.n_pixels()); p++) {
      float sum = 0;
      for (int j = 0; j < n_corners; j++) sum += weights[p * n_corners + j] * alpha * values[corners[p * n_corners + j]];
      norms[p] = 1.0f / std::sqrt(sum + 1e-20f);
    }
  }
}

}  // namespace hybridseg
