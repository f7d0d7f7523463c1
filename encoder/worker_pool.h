// A fixed set of threads for loops whose iterations are independent.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>

namespace nwc {

class WorkerPool {
 public:
  explicit WorkerPool(int threads);  // 0: one a core; the calling thread is one of them
  ~WorkerPool();

  // Calls body(i) for every i < count and returns when all have. One loop at a time. Calls begin in
  // ascending order, so that one may wait for those before it.
  void ParallelFor(size_t count, const std::function<void(size_t)>& body);

  [[nodiscard]] int threads() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace nwc
