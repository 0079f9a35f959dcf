// The vertices of the lattice: their keys, the tables that number them, and the simplex around a point.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "lattice.h"

namespace hybridseg {

// A vertex is one 64-bit key: the remainder class of its coordinates (0 .. n_dims), then for each of the first n_dims
// coordinates the quotient by n_dims + 1, shifted to be positive. The last coordinate follows from the others.
class KeyLayout {
 public:
  // Beyond 20 bits the single precision of the features could not tell neighbouring vertices apart.
  explicit KeyLayout(int n_dims) : n_dims(n_dims), bits(60 / n_dims < 20 ? 60 / n_dims : 20) {
    for (int i = 0; i < n_dims; i++) unit_[i] = uint64_t(1) << (bits * (n_dims - 1 - i));
    for (int i = 0; i < n_dims; i++) all_units_ += unit_[i];
    remainder_unit_ = uint64_t(1) << (bits * n_dims);
  }
  int64_t bias() const { return int64_t(1) << (bits - 1); }
  uint64_t unit(int coordinate) const { return unit_[coordinate]; }
  uint64_t pack_bias() const { return all_units_ * uint64_t(bias()); }
  uint64_t remainder_unit() const { return remainder_unit_; }

  // The neighbour along an axis: every coordinate one less, but that of the axis n_dims more.
  uint64_t next(uint64_t key, int axis) const {
    const bool has_remainder = key >= remainder_unit_;
    key = has_remainder ? key - remainder_unit_ : key + n_dims * remainder_unit_ - all_units_;
    return axis < n_dims ? key + unit_[axis] : key;
  }
  // The difference of the first two coordinates: it grows with the first feature alone, the row or column, and steps
  // along axes from the third on leave it as it is.
  int level(uint64_t key) const { return quotient(key, 0) - quotient(key, 1); }
  // Grows with the second feature alone. Together the two tell where in the image a vertex is.
  int second_level(uint64_t key) const {
    return n_dims < 3 ? 0 : quotient(key, 0) + quotient(key, 1) - 2 * quotient(key, 2);
  }

  const int n_dims, bits;

 private:
  int quotient(uint64_t key, int coordinate) const {
    return int((key >> (bits * (n_dims - 1 - coordinate))) & ((uint64_t(1) << bits) - 1));
  }

  uint64_t unit_[kMaxDims], all_units_ = 0, remainder_unit_;
};

// Key -> number, in an open-addressed table.
class Page {
 public:
  static constexpr uint64_t kFree = ~uint64_t(0);
  struct Slot {
    uint64_t key;
    int32_t number;
  };

  // The slot of a key, or the free one where it belongs.
  Slot& locate(uint64_t key) {
    size_t i = hash(key) & mask_;
    while (slots_[i].key != key && slots_[i].key != kFree) i = (i + 1) & mask_;
    return slots_[i];
  }
  // Looking up in two steps, so that the memory of many keys can be on its way at once.
  const Slot* start_finding(uint64_t key) const {
    if (!slots_.size()) return nullptr;
    const Slot* slot = &slots_[hash(key) & mask_];
    __builtin_prefetch(slot);
    return slot;
  }
  int32_t finish_finding(uint64_t key, const Slot* slot) const {
    if (!slot) return -1;
    while (slot->key != key && slot->key != kFree) {
      if (++slot == slots_.data() + slots_.size()) slot = slots_.data();
    }
    return slot->number;
  }
  void fill(Slot& slot, uint64_t key, int32_t number) {
    slot = {key, number};
    n_filled_++;
  }
  bool is_crowded() const { return 2 * n_filled_ >= slots_.size(); }
  void grow() {
    const Array<Slot> old = std::move(slots_);
    slots_ = Array<Slot>(std::max<size_t>(256, 2 * old.size()));
    mask_ = slots_.size() - 1;
    for (size_t i = 0; i < slots_.size(); i++) slots_[i] = {kFree, -1};
    for (size_t i = 0; i < old.size(); i++) {
      if (old[i].key != kFree) locate(old[i].key) = old[i];
    }
  }

 private:
  static uint64_t hash(uint64_t key) {
    key *= 0x9E3779B97F4A7C15u;
    return key ^ (key >> 29);
  }

  Array<Slot> slots_;
  uint64_t mask_ = 0;
  size_t n_filled_ = 0;
};

// Numbers vertices by first appearance. Vertices of one part of the image share a page, which stays in the cache.
class VertexTable {
 public:
  // n_levels: how many levels of either kind the features span; more or fewer only cost time.
  VertexTable(const KeyLayout& layout, double n_levels, double n_second_levels, size_t n_pixels) : layout_(&layout) {
    constexpr size_t pixels_per_page = 1024;
    const double wanted = std::max<double>(1, double(n_pixels) / pixels_per_page);
    while (std::ldexp(n_levels, -shift_) * std::ldexp(n_second_levels, -shift_) > wanted) shift_++;
    n_rows_ = int(std::ldexp(n_levels, -shift_)) + 1;
    n_cols_ = int(std::ldexp(n_second_levels, -shift_)) + 1;
    pages_.resize(size_t(n_rows_) * n_cols_);
  }
  int32_t insert(uint64_t key) {
    Page& page = pages_[page_of(key)];
    if (page.is_crowded()) page.grow();
    Page::Slot& slot = page.locate(key);
    if (slot.key == Page::kFree) {
      page.fill(slot, key, int32_t(keys_.size()));
      keys_.push_back(key);
    }
    return slot.number;
  }
  const Page& find_page(uint64_t key) const { return pages_[page_of(key)]; }
  const std::vector<uint64_t>& keys() const { return keys_; }

 private:
  // Keys beyond the given levels wrap around, into some other page.
  size_t page_of(uint64_t key) const {
    const unsigned row = unsigned(layout_->level(key) >> shift_) % n_rows_;
    const unsigned col = unsigned(layout_->second_level(key) >> shift_) % n_cols_;
    return size_t(row) * n_cols_ + col;
  }

  const KeyLayout* layout_;
  int shift_ = 0;
  unsigned n_rows_, n_cols_;
  std::vector<Page> pages_;
  std::vector<uint64_t> keys_;
};

// Finds the simplex around a point: the keys of its vertices and the point's barycentric weights. The arithmetic is in
// single precision and in the order of the original, so that both choose the same simplex.
class SimplexFinder {
 public:
  explicit SimplexFinder(const KeyLayout& layout) : layout_(layout), n_dims_(layout.n_dims), n_corners_(n_dims_ + 1) {
    const float deviation = std::sqrt(2.0 / 3.0) * n_corners_;
    for (int i = 0; i < n_dims_; i++) scale_[i] = 1.0 / std::sqrt((i + 2.0) * (i + 1.0)) * deviation;
  }

  void find(const float* features, uint64_t* keys, float* weights) const {
    float elevated[kMaxDims + 1], nearest[kMaxDims + 1];
    int rank[kMaxDims + 1] = {0};
    elevate(features, elevated);
    int sum = 0;
    for (int i = 0; i < n_corners_; i++) {
      const float rounded = std::nearbyint(elevated[i] * (1.0f / n_corners_));
      nearest[i] = rounded * n_corners_;
      sum += int(rounded);
    }
    for (int i = 0; i < n_dims_; i++) {
      for (int j = i + 1; j < n_corners_; j++) {
        const bool below = elevated[i] - nearest[i] < elevated[j] - nearest[j];
        rank[i] += below;
        rank[j] += !below;
      }
    }
    for (int i = 0; i < n_corners_; i++) {  // Back onto the plane where the coordinates sum to 0.
      rank[i] += sum;
      const int wrap = rank[i] < 0 ? n_corners_ : rank[i] > n_dims_ ? -n_corners_ : 0;
      rank[i] += wrap;
      nearest[i] += wrap;
    }
    weigh(elevated, nearest, rank, weights);
    uint64_t key = layout_.pack_bias();
    for (int i = 0; i < n_dims_; i++) key += uint64_t(int64_t(nearest[i]) / n_corners_) * layout_.unit(i);
    uint64_t step[kMaxDims + 2] = {0};  // What is subtracted when the remainder reaches n_corners - rank.
    for (int i = 0; i < n_dims_; i++) step[n_corners_ - rank[i]] += layout_.unit(i);
    for (int remainder = 0; remainder < n_corners_; remainder++) {
      key -= step[remainder];
      keys[remainder] = key + remainder * layout_.remainder_unit();
    }
  }

  // How many levels of vertices lie between feature 0 and its limit.
  double count_levels(const float* limits) const { return 2.0 * limits[0] * scale_[0] / n_corners_; }
  double count_second_levels(const float* limits) const {
    return n_dims_ < 3 ? 0 : 6.0 * limits[1] * scale_[1] / n_corners_;
  }
  // The largest that any |coordinate| / n_corners can be when every |feature| is at most its limit.
  double bound_quotient(const float* limits) const {
    double total = 0, largest = 0;
    for (int j = n_dims_; j > 0; j--) {
      const double scaled = double(limits[j - 1]) * scale_[j - 1];
      largest = std::max(largest, total + j * scaled);
      total += scaled;
    }
    return std::max(largest, total) / n_corners_;
  }

 private:
  void elevate(const float* features, float* elevated) const {
    float sum = 0;
    for (int j = n_dims_; j > 0; j--) {
      const float scaled = features[j - 1] * scale_[j - 1];
      elevated[j] = sum - j * scaled;
      sum += scaled;
    }
    elevated[0] = sum;
  }
  void weigh(const float* elevated, const float* nearest, const int* rank, float* weights) const {
    float barycentric[kMaxDims + 2] = {0};
    for (int i = 0; i < n_corners_; i++) {
      const float offset = (elevated[i] - nearest[i]) * (1.0f / n_corners_);
      barycentric[n_dims_ - rank[i]] += offset;
      barycentric[n_dims_ - rank[i] + 1] -= offset;
    }
    barycentric[0] += 1.0f + barycentric[n_corners_];
    for (int i = 0; i < n_corners_; i++) weights[i] = barycentric[i];
  }

  const KeyLayout& layout_;
  const int n_dims_, n_corners_;
  float scale_[kMaxDims];
};

}  // namespace hybridseg
