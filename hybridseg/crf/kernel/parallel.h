// A loop over work items, each on a thread of its own. An exception ends the loop, not the program.
#pragma once

#include <exception>

namespace hybridseg {

template <class Work>
void for_each_in_parallel(int n_items, int n_threads, const Work& work) {
  std::exception_ptr failure;
#pragma omp parallel for num_threads(n_threads) schedule(dynamic, 1)
  for (int item = 0; item < n_items; item++) {
    try {
      work(item);
    } catch (...) {
#pragma omp critical
      failure = std::current_exception();
    }
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace hybridseg
