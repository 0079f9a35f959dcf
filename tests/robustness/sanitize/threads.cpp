// The part of OpenMP's runtime that GCC's code calls, on std::thread, for the thread sanitizer: it cannot see how
// GNU's own runtime keeps threads apart, and takes every barrier of it for a race. The loops of the kernel are compiled
// as ever; only what starts the threads and lets them wait for one another is this file.
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

namespace {

struct Loop {
  long next, end, step, chunk;
};

struct Team {
  explicit Team(unsigned n_threads) : n_threads(n_threads) {}
  void wait() {
    std::unique_lock<std::mutex> locked(mutex);
    const unsigned long mine = n_meetings;
    if (++n_waiting == n_threads) {
      n_waiting = 0;
      n_meetings++;
      all_here.notify_all();
    } else {
      all_here.wait(locked, [&] { return n_meetings != mine; });
    }
  }

  const unsigned n_threads;
  unsigned n_waiting = 0;
  unsigned long n_meetings = 0;
  std::mutex mutex;
  std::condition_variable all_here;
  std::map<unsigned long, Loop> loops;  // By their turn: each thread of a team meets them in the same order.
};

Team alone(1);
thread_local Team* team = &alone;
thread_local unsigned number_in_team = 0;
thread_local unsigned long n_loops = 0;
std::mutex critical;

}  // namespace

extern "C" {

int omp_get_thread_num() { return int(number_in_team); }
int omp_get_num_threads() { return int(team->n_threads); }
int omp_pause_resource_all(int) { return 0; }

void GOMP_parallel(void (*work)(void*), void* data, unsigned n_threads, unsigned) {
  Team own(n_threads ? n_threads : 1);
  const auto run = [&](unsigned number) {
    team = &own;
    number_in_team = number;
    n_loops = 0;
    work(data);
  };
  std::vector<std::thread> others;
  for (unsigned number = 1; number < own.n_threads; number++) others.emplace_back(run, number);
  run(0);
  for (std::thread& other : others) other.join();
  team = &alone;
}

void GOMP_barrier() { team->wait(); }

bool GOMP_loop_nonmonotonic_dynamic_next(long* begin, long* end) {
  const std::lock_guard<std::mutex> locked(team->mutex);
  Loop& loop = team->loops.at(n_loops);
  if (loop.next >= loop.end) return false;
  *begin = loop.next;
  loop.next += loop.chunk * loop.step;
  *end = loop.next < loop.end ? loop.next : loop.end;
  return true;
}

bool GOMP_loop_nonmonotonic_dynamic_start(long first, long last, long step, long chunk, long* begin, long* end) {
  n_loops++;
  {
    const std::lock_guard<std::mutex> locked(team->mutex);
    team->loops.emplace(n_loops, Loop{first, last, step, chunk});
  }
  return GOMP_loop_nonmonotonic_dynamic_next(begin, end);
}

void GOMP_loop_end() { team->wait(); }
void GOMP_loop_end_nowait() {}
void GOMP_critical_start() { critical.lock(); }
void GOMP_critical_end() { critical.unlock(); }

}  // extern "C"
