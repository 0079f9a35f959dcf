// A loop over work items, each on a thread of its own. An exception ends the loop, not the program.
#pragma once

#include <exception>

#ifdef _OPENMP
#include <omp.h>
#endif

namespace hybridseg {

// Ends the threads at the end of a scope. GNU's OpenMP keeps them for the next time, and a process that is forked
// in between (multiprocessing) would wait for ever for threads that it does not have. Clang's handles forks itself.
struct ThreadRelease {
  ThreadRelease() = default;
  ThreadRelease(const ThreadRelease&) = delete;
  ~ThreadRelease() {
#if defined(_OPENMP) && defined(__GNUC__) && !defined(__clang__)
    omp_pause_resource_all(omp_pause_soft);
#endif
  }
};

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
