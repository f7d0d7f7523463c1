#include "tools/parallel_for.h"

#include <algorithm>
#include <atomic>
#include <system_error>
#include <thread>
#include <vector>

#include "loader/loader.h"

namespace nwc {

int ThreadCount(int threads) {
  if (threads > 0) return threads;
  return static_cast<int>(DefaultDecodeThreads());
}

void ParallelFor(size_t count, int threads, const std::function<void(size_t)>& body) {
  std::atomic<size_t> next{0};
  const auto work = [&] {
    for (size_t i = next++; i < count; i = next++) body(i);
  };
  const size_t wanted = std::min(count, static_cast<size_t>(ThreadCount(threads)));
  std::vector<std::thread> others;
  others.reserve(wanted);
  try {
    while (others.size() + 1 < wanted) others.emplace_back(work);
  } catch (const std::system_error&) {
    // The threads there are do the work.
  }
  work();
  for (std::thread& thread : others) thread.join();
}

}  // namespace nwc
