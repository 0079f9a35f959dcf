// The order in which pixels are visited: block by block, and the blocks to and fro like a plough.
// Neighbouring pixels share lattice vertices, so a block's vertices stay in the cache while it is worked on.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

namespace hybridseg {

struct Block {
  int row_begin, row_end, col_begin, col_end;
  size_t first_pixel;  // Position of its first pixel in visiting order.
};

class BlockOrder {
 public:
  BlockOrder(int n_rows, int n_cols, int n_threads, int side = 128) : n_rows(n_rows), n_cols(n_cols) {
    const int n_across = (n_cols + side - 1) / side, n_down = (n_rows + side - 1) / side;
    size_t n_pixels_before = 0;
    for (int down = 0; down < n_down; down++) {
      for (int step = 0; step < n_across; step++) {
        const int across = down % 2 ? n_across - 1 - step : step;
        const Block block{down * side, std::min(n_rows, (down + 1) * side), across * side,
                          std::min(n_cols, (across + 1) * side), n_pixels_before};
        n_pixels_before += size_t(block.row_end - block.row_begin) * (block.col_end - block.col_begin);
        blocks.push_back(block);
      }
    }
    const int n_shares = std::max(1, std::min<int>(n_threads, blocks.size()));
    for (int share = 0; share <= n_shares; share++) first_block.push_back(blocks.size() * share / n_shares);
  }

  size_t n_pixels() const { return size_t(n_rows) * n_cols; }
  int n_threads() const { return int(first_block.size()) - 1; }
  size_t first_pixel(size_t block) const { return block < blocks.size() ? blocks[block].first_pixel : n_pixels(); }

  const int n_rows, n_cols;
  std::vector<Block> blocks;
  std::vector<size_t> first_block;  // Thread t works on blocks first_block[t] .. first_block[t + 1] - 1.
};

}  // namespace hybridseg
