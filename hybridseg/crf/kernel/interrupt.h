// How work ends before its time. Whoever waits for it is asked now and then, by the thread that called and no other;
// the others look at what came of it.
#pragma once

#include <atomic>
#include <chrono>
#include <exception>
#include <functional>
#include <thread>
#include <utility>

namespace hybridseg {

class Interrupt {
 public:
  // `ask` throws what ends the work. Within loops it is called when so many seconds have passed since the last time.
  Interrupt(std::function<void()> ask, double seconds) : ask_(std::move(ask)), pause_(seconds) {}

  // Between parallel loops: asks, and throws what ends the work.
  void check() {
    if (!is_over_) ask();
    if (failure_) std::rethrow_exception(failure_);
  }

  // Within them, once for many pixels: whether a thread should leave its loop. After the loop comes `check`. Not inlined,
  // so that the inner loops are compiled as if it were not there.
  __attribute__((noinline)) bool is_over() {
    const bool may_ask = std::this_thread::get_id() == caller_ && !is_over_;
    if (may_ask && std::chrono::steady_clock::now() - last_ >= pause_) ask();
    return is_over_;
  }

 private:
  void ask() {
    try {
      ask_();
    } catch (...) {
      failure_ = std::current_exception();
      is_over_ = true;
    }
    last_ = std::chrono::steady_clock::now();
  }

  const std::function<void()> ask_;
  const std::chrono::duration<double> pause_;
  const std::thread::id caller_ = std::this_thread::get_id();
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
  std::exception_ptr failure_;  // Of the thread that called, as is `last_`.
  std::atomic<bool> is_over_{false};
};

}  // namespace hybridseg
