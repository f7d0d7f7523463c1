#include "encoder/worker_pool.h"

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

namespace nwc {

struct WorkerPool::Impl {
  std::mutex mutex;
  std::condition_variable wake, finished;
  std::vector<std::thread> threads;
  const std::function<void(size_t)>* body = nullptr;
  size_t count = 0;
  std::atomic<size_t> next{0};
  size_t generation = 0;
  size_t busy = 0;
  bool stop = false;

  void Drain() {
    for (size_t i; (i = next.fetch_add(1)) < count;) (*body)(i);
  }

  void Run() {
    size_t seen = 0;
    std::unique_lock lock(mutex);
    while (true) {
      wake.wait(lock, [&] { return stop || generation != seen; });
      if (stop) return;
      seen = generation;
      lock.unlock();
      Drain();
      lock.lock();
      if (--busy == 0) finished.notify_one();
    }
  }
};

WorkerPool::WorkerPool(int threads) : impl_(std::make_unique<Impl>()) {
  const int wanted =
      threads > 0 ? threads : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  for (int i = 1; i < wanted; ++i) impl_->threads.emplace_back([this] { impl_->Run(); });
}

WorkerPool::~WorkerPool() {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->stop = true;
  }
  impl_->wake.notify_all();
  for (auto& t : impl_->threads) t.join();
}

void WorkerPool::ParallelFor(size_t count, const std::function<void(size_t)>& body) {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->body = &body;
    impl_->count = count;
    impl_->next = 0;
    impl_->busy = impl_->threads.size();
    ++impl_->generation;
  }
  impl_->wake.notify_all();
  impl_->Drain();
  std::unique_lock lock(impl_->mutex);
  impl_->finished.wait(lock, [&] { return impl_->busy == 0; });
}

int WorkerPool::threads() const { return static_cast<int>(impl_->threads.size()) + 1; }

}  // namespace nwc
