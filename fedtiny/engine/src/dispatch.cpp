// The C interface: picks the widest instruction set this machine has, owns the threads.
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "cores.h"
#include "mirror.h"

using fedtiny::Adam;
using fedtiny::Body;
using fedtiny::Run;
using fedtiny::Sgd;

#define FT_DECLARE(isa)                      \
  extern "C" void fedtiny_run_##isa(const Run*); \
  extern "C" void fedtiny_sgd_##isa(const Sgd*); \
  extern "C" void fedtiny_adam_##isa(const Adam*);
FT_DECLARE(baseline)
#ifdef FT_X86
FT_DECLARE(avx2)
FT_DECLARE(avx512)
#endif

namespace {

struct Set {
  const char* name;
  bool present;
  void (*run)(const Run*);
  void (*sgd)(const Sgd*);
  void (*adam)(const Adam*);
};

#ifdef __aarch64__
constexpr const char* kBaseline = "neon";
#else
constexpr const char* kBaseline = "baseline";
#endif

// Widest first.
const std::vector<Set>& sets() {
  static const std::vector<Set> all = {
#ifdef FT_X86
      {"avx512",
       __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw"),
       fedtiny_run_avx512, fedtiny_sgd_avx512, fedtiny_adam_avx512},
      {"avx2", __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"), fedtiny_run_avx2,
       fedtiny_sgd_avx2, fedtiny_adam_avx2},
#endif
      {kBaseline, true, fedtiny_run_baseline, fedtiny_sgd_baseline, fedtiny_adam_baseline}};
  return all;
}

// A step has a loop every few microseconds, and to wake a thread that sleeps takes longer than most
// of them (100 us and more on a virtual machine): whoever waits looks again and again for so long.
constexpr std::chrono::microseconds kSpin{200};

// Whether `ready` came true before a thread should rather sleep.
template <class Ready>
bool spin_until(Ready ready) {
  const auto until = std::chrono::steady_clock::now() + kSpin;
  do {
    for (int i = 0; i < 64; ++i) {
      if (ready()) return true;
#if defined(FT_X86)
      __builtin_ia32_pause();
#elif defined(__aarch64__)
      asm volatile("yield");
#endif
    }
  } while (std::chrono::steady_clock::now() < until);
  return false;
}

// Workers that each take one contiguous part of every loop.
class Pool {
 public:
  explicit Pool(int64_t threads) : threads_(threads), cores_(threads) {
    for (int64_t i = 1; i < threads; ++i) {
      workers_.emplace_back([this, i] { work(i); });
      settle(i);
    }
  }
  ~Pool() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      stop_ = true;
      generation_.fetch_add(1, std::memory_order_release);
    }
    start_.notify_all();
    for (std::thread& worker : workers_) worker.join();
  }

  // f(), the calling thread and the workers on a core each.
  template <class F>
  void each_on_its_core(const F& f) {
    if (!cores_.assigned()) return f();
    const Leave leave;
    if (const int64_t displaced = cores_.claim()) settle(displaced);
    cores_.settle(this_thread(), 0);
    f();
  }

  void parallel(int64_t count, Body body, const void* argument) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      count_ = count;
      body_ = body;
      argument_ = argument;
      running_.store(threads_ - 1, std::memory_order_relaxed);
      generation_.fetch_add(1, std::memory_order_release);
    }
    start_.notify_all();
    part(0);
    const auto done = [this] { return running_.load(std::memory_order_acquire) == 0; };
    if (spin_until(done)) return;
    std::unique_lock<std::mutex> lock(mutex_);
    done_.wait(lock, done);
  }

 private:
  void part(int64_t i) const {
    const int64_t begin = count_ * i / threads_, end = count_ * (i + 1) / threads_;
    if (begin < end) body_(argument_, begin, end, i);
  }
  void settle(int64_t worker) {
    if (cores_.assigned()) cores_.settle(workers_[size_t(worker) - 1].native_handle(), worker);
  }
  void work(int64_t i) {
    for (uint64_t seen = 0;; ++seen) {
      const auto called = [&] { return generation_.load(std::memory_order_acquire) != seen; };
      if (!spin_until(called)) {
        std::unique_lock<std::mutex> lock(mutex_);
        start_.wait(lock, called);
      }
      if (stop_) return;
      part(i);
      if (running_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
        const std::lock_guard<std::mutex> lock(mutex_);  // not between a look and a sleep
        done_.notify_one();
      }
    }
  }

  const int64_t threads_;
  Cores cores_;
  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable start_, done_;
  std::atomic<uint64_t> generation_{0};
  std::atomic<int64_t> running_{0};
  int64_t count_ = 0;
  Body body_ = nullptr;
  const void* argument_ = nullptr;
  bool stop_ = false;
};

}  // namespace

extern "C" {

// Name of instruction set i, widest first; null past the last. `present`: this machine has it.
const char* fedtiny_set(int64_t i, int64_t* present) {
  if (i < 0 || i >= int64_t(sets().size())) return nullptr;
  *present = sets()[size_t(i)].present;
  return sets()[size_t(i)].name;
}

int64_t fedtiny_real_bytes() { return int64_t(sizeof(fedtiny::real)); }

const char* fedtiny_source_hash() { return FT_SOURCE_HASH; }

// See mirror.h: Python compares them with its own.
const char* fedtiny_mirror(int64_t i) { return fedtiny::mirror(i); }

void* fedtiny_pool(int64_t threads) { return new Pool(threads); }
void fedtiny_pool_free(void* pool) { delete static_cast<Pool*>(pool); }

static void pool_parallel(void* pool, int64_t count, Body body, const void* argument) {
  static_cast<Pool*>(pool)->parallel(count, body, argument);
}

void fedtiny_run(int64_t set, Run* run) {
  run->parallel = pool_parallel;
  const auto all_ops = [set, run] { sets()[size_t(set)].run(run); };
  if (run->pool) static_cast<Pool*>(run->pool)->each_on_its_core(all_ops);
  else all_ops();
}

void fedtiny_sgd(int64_t set, const Sgd* sgd) { sets()[size_t(set)].sgd(sgd); }

void fedtiny_adam(int64_t set, const Adam* adam) { sets()[size_t(set)].adam(adam); }
}
