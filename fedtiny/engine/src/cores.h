// A core for each thread of a pool, where the process may use exactly as many cores as it has threads.
// Some systems (virtual machines' kernels do) leave two threads that compute on one core while another
// idles, and a step then takes longer than on one thread. With more cores than threads the choice is
// the system's: another process would choose the same.
#pragma once
#include <cstdint>
#include <vector>

#ifdef __linux__
#include <sched.h>
#endif

namespace {

#ifdef __linux__
class Cores {
 public:
  explicit Cores(int64_t threads) {
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0 || CPU_COUNT(&allowed) != threads) return;
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
      if (CPU_ISSET(cpu, &allowed)) cores_.push_back(cpu);
  }
  bool assigned() const { return !cores_.empty(); }

  // Keeps the calling thread on core i of the process.
  void settle(int64_t i) const {
    if (!assigned()) return;
    cpu_set_t own;
    CPU_ZERO(&own);
    CPU_SET(cores_[size_t(i)], &own);
    sched_setaffinity(0, sizeof(own), &own);
  }

 private:
  std::vector<int> cores_;
};

// The calling thread on the first core, for as long as this lives.
class Settled {
 public:
  explicit Settled(const Cores& cores)
      : settled_(cores.assigned() && sched_getaffinity(0, sizeof(before_), &before_) == 0) {
    if (settled_) cores.settle(0);
  }
  ~Settled() {
    if (settled_) sched_setaffinity(0, sizeof(before_), &before_);
  }
  Settled(const Settled&) = delete;
  Settled& operator=(const Settled&) = delete;

 private:
  cpu_set_t before_;
  bool settled_;
};
#else
struct Cores {
  explicit Cores(int64_t) {}
  void settle(int64_t) const {}
};
struct Settled {
  explicit Settled(const Cores&) {}
};
#endif

}  // namespace
