// The passes themselves. Included into the namespace of an instruction set, after lanes.inc.h.

// Very small probabilities become 0 here: arithmetic on denormal numbers is a hundred times slower.
class FlushDenormals {
 public:
#ifdef __SSE__
  FlushDenormals() : saved_(_mm_getcsr()) { _mm_setcsr(saved_ | 0x8040); }
  ~FlushDenormals() { _mm_setcsr(saved_); }

 private:
  unsigned saved_;
#endif
};

template <class L>
HYBRIDSEG_INLINE L slice(const PairwiseTerm& term, size_t pixel, int n_corners) {
  const int32_t* corners = &term.lattice->corners[pixel * n_corners];
  const float* weights = &term.lattice->weights[pixel * n_corners];
  L sum = L::fill(0).plus(weights[0], L::load(term.read + size_t(corners[0]) * L::size));
  for (int j = 1; j < n_corners; j++) sum = sum.plus(weights[j], L::load(term.read + size_t(corners[j]) * L::size));
  return sum;
}

template <class L>
HYBRIDSEG_INLINE void splat(const PairwiseTerm& term, size_t pixel, int n_corners, const L& probs) {
  const L normed = probs.scaled(term.lattice->norms[pixel]);
  const int32_t* corners = &term.lattice->corners[pixel * n_corners];
  const float* weights = &term.lattice->weights[pixel * n_corners];
  for (int j = 0; j < n_corners; j++) {
    float* value = term.write + size_t(corners[j]) * L::size;
    L::load(value).plus(weights[j], normed).store(value);
  }
}

template <class L>
HYBRIDSEG_INLINE void prefetch(const PairwiseTerm& term, size_t pixel, int n_corners, bool read, bool write) {
  const int32_t* corners = &term.lattice->corners[pixel * n_corners];
  for (int j = 0; j < n_corners; j++) {
    const size_t at = size_t(corners[j]) * L::size;
    for (int line = 0; line < L::size; line += 16) {
      if (read) __builtin_prefetch(term.read + at + line);
      if (write) __builtin_prefetch(term.write + at + line, 1);
    }
  }
}

template <class L>
HYBRIDSEG_INLINE int find_lane(const L& x, float value) {
  alignas(64) float lanes[L::size];
  x.store(lanes);
  int lane = 0;
  while (lanes[lane] != value && lane < L::size - 1) lane++;
  return lane;
}

// Zero the vertices that this block is the first to touch, just before it does.
template <class L>
HYBRIDSEG_INLINE void clear_new(const PairwiseTerm& term, size_t block, size_t first_block, size_t first_vertex) {
  const std::vector<size_t>& seen = term.lattice->vertices_seen;
  const size_t from = block > first_block ? seen[block - 1] : 0;
  std::memset(term.write + (first_vertex + from) * L::size, 0, (seen[block] - from) * L::size * sizeof(float));
}

constexpr size_t kPixelsAhead = 8;

template <class L, int n_color_corners, bool has_color, bool has_space>
size_t visit_pixels_of(const PixelPass& pass, int thread) {
  const FlushDenormals flush;
  const BlockOrder& order = *pass.order;
  const PairwiseTerm &color = pass.color, &space = pass.space;
  const int n_corners = n_color_corners ? n_color_corners : has_color ? color.lattice->n_corners : 0;
  const L multiplicity = L::load(pass.multiplicity);
  const size_t first_block = order.first_block[thread];
  const bool read = !pass.first, write = !pass.last;
  size_t n_changed = 0;
  for (size_t b = first_block; b < order.first_block[thread + 1] && !pass.interrupt->is_over(); b++) {
    const Block& block = order.blocks[b];
    if (write && has_color) clear_new<L>(color, b, first_block, color.lattice->first_vertex[thread]);
    if (write && has_space) clear_new<L>(space, b, first_block, space.lattice->first_vertex[thread]);
    size_t pixel = block.first_pixel;
    for (int row = block.row_begin; row < block.row_end; row++) {
      for (int col = block.col_begin; col < block.col_end; col++, pixel++) {
        const size_t raster = size_t(row) * order.n_cols + col;
        if (has_color) prefetch<L>(color, pixel + kPixelsAhead, n_corners, read, write);
        const size_t unary = pass.unary_of_pixel ? pass.unary_of_pixel[raster] : raster;
        L x = L::load(pass.unaries + unary * L::size);
        if (read && has_color) {
          x = x.plus(color.compat * color.lattice->alpha * color.lattice->norms[pixel],
                     slice<L>(color, pixel, n_corners));
        }
        if (read && has_space) {
          x = x.plus(space.compat * space.lattice->alpha * space.lattice->norms[pixel], slice<L>(space, pixel, 3));
        }
        const float top = x.largest();
        const L e = x.exp_below(top);
        const L probs = e.scaled(1.0f / (e * multiplicity).sum());
        if (pass.winners) {
          const int winner = find_lane(x, top);
          n_changed += pass.winners[pixel] != winner;
          pass.winners[pixel] = uint8_t(winner);
        }
        if (write) {
          if (has_color) splat<L>(color, pixel, n_corners, probs);
          if (has_space) splat<L>(space, pixel, 3, probs);
        } else {
          pass.labels[raster] = uint8_t(find_lane(x, top));
          if (pass.probs) {
            alignas(64) float values[L::size];
            probs.store(values);
            std::memcpy(pass.probs + raster * pass.n_probs, values, pass.n_probs * sizeof(float));
          }
        }
      }
    }
  }
  return n_changed;
}

template <class L>
size_t visit_pixels(const PixelPass& pass, int thread) {
  if (!pass.color.lattice && !pass.space.lattice) return visit_pixels_of<L, 0, false, false>(pass, thread);
  if (!pass.color.lattice) return visit_pixels_of<L, 0, false, true>(pass, thread);
  const bool is_rgb = pass.color.lattice->n_corners == 6;
  if (!pass.space.lattice) return visit_pixels_of<L, 0, true, false>(pass, thread);
  return is_rgb ? visit_pixels_of<L, 6, true, true>(pass, thread) : visit_pixels_of<L, 0, true, true>(pass, thread);
}

template <class L>
void blur_chains(const Chains& chains, size_t first, size_t last, float* values) {
  const FlushDenormals flush;
  constexpr int ahead = 32;
  const int32_t* vertices = chains.vertices.data();
  for (size_t k = first; k < last; k++) {
    const int32_t begin = chains.begin[k], end = chains.begin[k + 1];
    for (int32_t i = begin; i < end; i++) {
      const float* soon = values + size_t(vertices[i + ahead]) * L::size;
      for (int line = 0; line < L::size; line += 16) __builtin_prefetch(soon + line, 1);
    }
    L previous = L::fill(0), current = L::load(values + size_t(vertices[begin]) * L::size);
    for (int32_t i = begin; i < end; i++) {
      const L next = i + 1 < end ? L::load(values + size_t(vertices[i + 1]) * L::size) : L::fill(0);
      current.plus(0.5f, previous + next).store(values + size_t(vertices[i]) * L::size);
      previous = current;
      current = next;
    }
  }
}

template <class L>
void add_ghosts(const Ghost* first, const Ghost* last, float* values) {
  for (const Ghost* g = first; g < last; g++) {
    float* owner = values + size_t(g->owner) * L::size;
    (L::load(owner) + L::load(values + size_t(g->ghost) * L::size)).store(owner);
  }
}

template <class L>
void copy_owners(const Ghost* first, const Ghost* last, float* values) {
  for (const Ghost* g = first; g < last; g++) {
    L::load(values + size_t(g->owner) * L::size).store(values + size_t(g->ghost) * L::size);
  }
}

template <class L>
constexpr Passes make_passes() {
  return {L::size, visit_pixels<L>, blur_chains<L>, add_ghosts<L>, copy_owners<L>};
}

// Lanes in vectors of the widest kind that fits their number and the registers, of kRegisterWidth floats.
template <int n_lanes>
constexpr Passes make_lane_passes() {
  constexpr int width = n_lanes % kRegisterWidth == 0 ? kRegisterWidth : n_lanes % 8 == 0 ? 8 : 4;
  return make_passes<Lanes<width, n_lanes / width>>();
}

const Passes all_passes[] = {
    {1, nullptr, blur_chains<Lanes<1, 1>>, add_ghosts<Lanes<1, 1>>, copy_owners<Lanes<1, 1>>},
    make_lane_passes<4>(),
    make_lane_passes<8>(),
    make_lane_passes<16>(),
    make_lane_passes<24>(),
    make_lane_passes<32>(),
    make_lane_passes<48>(),
    make_lane_passes<64>(),
    make_lane_passes<128>(),
    make_lane_passes<256>(),
};
