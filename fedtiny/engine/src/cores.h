// A core for each thread of a pool, where the process may use exactly as many cores as it has threads.
// Some systems (virtual machines' kernels do) leave two threads that compute on one core while another
// idles, and a step then takes longer than on one thread. With more cores than threads the choice is
// the system's: another process would choose the same. The caller's thread, which is free between
// steps, keeps the core it is found on; a worker that had that one takes the caller's former one.
#pragma once
#include <cstdint>
#include <utility>
#include <vector>

#ifdef __linux__
#include <pthread.h>
#include <sched.h>
#endif

namespace {

#ifdef __linux__
using Thread = pthread_t;
inline Thread this_thread() { return pthread_self(); }

// Cores by thread, the caller's first; none where the choice is the system's.
class Cores {
 public:
  explicit Cores(int64_t threads) {
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0 || CPU_COUNT(&allowed) != threads) return;
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
      if (CPU_ISSET(cpu, &allowed)) cores_.push_back(cpu);
  }
  bool assigned() const { return !cores_.empty(); }

  // Makes the core of the calling thread that of thread 0; returns the thread whose core it was.
  int64_t claim() {
    const int here = sched_getcpu();
    for (size_t i = 1; i < cores_.size(); ++i) {
      if (cores_[i] != here) continue;
      std::swap(cores_[0], cores_[i]);
      return int64_t(i);
    }
    return 0;
  }
  // Keeps a thread on core i of the process.
  void settle(Thread thread, int64_t i) const {
    cpu_set_t own;
    CPU_ZERO(&own);
    CPU_SET(cores_[size_t(i)], &own);
    pthread_setaffinity_np(thread, sizeof(own), &own);
  }

 private:
  std::vector<int> cores_;
};

// Lets the calling thread go where it was allowed to, when this ends.
class Leave {
 public:
  Leave() : known_(sched_getaffinity(0, sizeof(before_), &before_) == 0) {}
  ~Leave() {
    if (known_) sched_setaffinity(0, sizeof(before_), &before_);
  }
  Leave(const Leave&) = delete;
  Leave& operator=(const Leave&) = delete;

 private:
  cpu_set_t before_;
  bool known_;
};
#else
inline int this_thread() { return 0; }
struct Cores {
  explicit Cores(int64_t) {}
  bool assigned() const { return false; }
  int64_t claim() { return 0; }
  template <class Thread>
  void settle(Thread, int64_t) const {}
};
struct Leave {};
#endif

}  // namespace
