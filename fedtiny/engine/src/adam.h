// Adam (Kingma & Ba 2015, arXiv 1412.6980) over parameters that lie together.
#pragma once
#include <cmath>

#include "vec.h"

namespace fedtiny {
namespace {

inline void run_adam(const Adam& a) {
  for (int64_t k = 0; k < a.count; ++k) {
    const double g = double(a.grads[k]) + a.weight_decay * double(a.values[k]);
    const double first = a.keep_first * double(a.first[k]) + (1 - a.keep_first) * g;
    const double second = a.keep_second * double(a.second[k]) + (1 - a.keep_second) * g * g;
    a.first[k] = real(first);
    a.second[k] = real(second);
    a.values[k] -= real(a.rate * first / (std::sqrt(second) * a.correction + a.epsilon));
  }
}

}  // namespace
}  // namespace fedtiny
