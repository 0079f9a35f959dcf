// Large arrays: aligned to a cache line, on huge pages where the system has them, and not initialised.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <utility>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace hybridseg {

template <class Item>
class Array {
 public:
  Array() = default;
  explicit Array(size_t size) : size_(size) {
    constexpr size_t huge = size_t(1) << 21, line = 64;
    if (size > SIZE_MAX / sizeof(Item) - huge) throw std::bad_alloc();
    const size_t n_bytes = size * sizeof(Item);
    const size_t alignment = n_bytes >= huge ? huge : line;
    const size_t rounded = (n_bytes + alignment - 1) / alignment * alignment;
    items_ = static_cast<Item*>(std::aligned_alloc(alignment, rounded ? rounded : alignment));
    if (!items_) throw std::bad_alloc();
#ifdef __linux__
    if (alignment == huge) madvise(items_, rounded, MADV_HUGEPAGE);
#endif
  }
  Array(Array&& other) noexcept : items_(other.items_), size_(other.size_) {
    other.items_ = nullptr;
    other.size_ = 0;
  }
  Array& operator=(Array&& other) noexcept {
    std::swap(items_, other.items_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~Array() { std::free(items_); }

  Item* data() { return items_; }
  const Item* data() const { return items_; }
  size_t size() const { return size_; }
  Item& operator[](size_t i) { return items_[i]; }
  const Item& operator[](size_t i) const { return items_[i]; }

 private:
  Item* items_ = nullptr;
  size_t size_ = 0;
};

}  // namespace hybridseg
