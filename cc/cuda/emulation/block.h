// One block of CUDA threads on the processor, each thread a fiber.

#ifndef TF_APPROXGRAD_CC_CUDA_EMULATION_BLOCK_H_
#define TF_APPROXGRAD_CC_CUDA_EMULATION_BLOCK_H_

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "cc/cuda/emulation/fiber.h"
#include "cc/cuda/emulation/runtime.h"

inline uint3 threadIdx, blockIdx;
inline dim3 blockDim, gridDim;
constexpr int warpSize = 32;

namespace tf_approxgrad {
namespace cuda_on_cpu {

// Where a thread waits, for the whole block or for the lanes of its warp that
// the mask names.
struct Wait {
  const char* operation;
  bool whole_block;
  unsigned mask;
  const char* file;
  int line;

  bool operator==(const Wait& other) const {
    return mask == other.mask && line == other.line &&
           Same(operation, other.operation) && Same(file, other.file);
  }
  // Equal literals mostly are one.
  static bool Same(const char* a, const char* b) {
    return a == b || std::strcmp(a, b) == 0;
  }
  bool Names(int64_t thread) const {
    return whole_block || (mask >> (thread % warpSize) & 1) != 0;
  }
};

// What __pipeline_memcpy_async has promised.
struct Copy {
  void* to;
  const void* from;
  size_t bytes, zeros;
  int64_t commit;
};

struct Thread {
  enum State { kReady, kWaiting, kEnded } state = kEnded;
  Fiber fiber;
  uint3 index;
  Wait wait;
  // What it gives to the others, and the lane whose gift it wants.
  uint64_t given;
  unsigned source;
  // What it gets, and which lanes gave something other than zero.
  uint64_t got;
  unsigned given_lanes;
  std::deque<Copy> copies;
  int64_t commits;
};

// The block that is running.
class Block {
 public:
  // Runs `kernel` in every thread, in an order of their numbers.
  void Run(const std::function<void()>& kernel, size_t shared_bytes,
           const std::vector<int64_t>& order) {
    kernel_ = &kernel;
    order_ = &order;
    for (auto& [values, bytes] : arrays_) {
      std::memset(values, schedule.poison, bytes);
    }
    void* shared = nullptr;
    if (posix_memalign(&shared, 16, shared_bytes) != 0) std::abort();
    std::memset(shared, schedule.poison, shared_bytes);
    dynamic_shared = shared;
    // A fiber serves one thread of every block, and so never ends.
    while (threads_.size() < order.size()) {
      threads_.emplace_back();
      threads_.back().fiber = MakeFiber(&ServeBlock);
    }
    std::fill(waiting_.begin(), waiting_.end(), 0);
    for (unsigned i = 0; i < order.size(); ++i) {
      threads_[i].state = Thread::kReady;
      threads_[i].index = {i % blockDim.x, i / blockDim.x % blockDim.y,
                           i / blockDim.x / blockDim.y};
      threads_[i].copies.clear();
      threads_[i].commits = 0;
    }
    place_ = order.size() - 1;
    GoOn(&caller_);
    std::free(shared);
  }

  Thread& current() { return threads_[(*order_)[place_]]; }
  unsigned lane() const { return (*order_)[place_] % warpSize; }

  // Waits for all whom `wait` names; returns the current thread with what it
  // got.
  const Thread& Meet(const Wait& wait, uint64_t given = 0,
                     unsigned source = 0) {
    const int64_t number = (*order_)[place_];
    const int64_t count = order_->size();
    Thread& self = threads_[number];
    self.state = Thread::kWaiting;
    self.wait = wait;
    self.given = given;
    self.source = source;
    const bool whole = wait.whole_block;
    const int64_t begin = whole ? 0 : number / warpSize * warpSize;
    const int64_t end = whole ? count : std::min(count, begin + warpSize);
    const int64_t wanted = whole ? count : __builtin_popcount(wait.mask);
    // One count for each warp, and one for the block.
    int64_t& waiting = waiting_[whole ? 32 : begin / warpSize];
    ++waiting;
    int64_t here = 0;
    unsigned lanes = 0;
    for (int64_t i = begin; i < end && waiting >= wanted; ++i) {
      const Thread& other = threads_[i];
      if (!wait.Names(i) || other.state != Thread::kWaiting) continue;
      if (!(other.wait == wait)) continue;
      ++here;
      if (other.given != 0) lanes |= 1u << (i - begin) % warpSize;
    }
    // A lane outside of its own mask waits for ever.
    if (here == wanted && wait.Names(number)) {
      waiting -= wanted;
      for (int64_t i = begin; i < end; ++i) {
        if (!wait.Names(i)) continue;
        Thread& other = threads_[i];
        other.state = Thread::kReady;
        other.given_lanes = lanes;
        std::memset(&other.got, schedule.poison, sizeof(other.got));
        if (!whole && wait.Names(other.source)) {
          other.got = threads_[begin + other.source].given;
        }
      }
    }
    GoOn(&self.fiber);
    return self;
  }

  // Keeps in mind an array in shared memory, which no block inherits.
  void AddArray(void* values, size_t bytes) {
    arrays_.emplace_back(values, bytes);
    std::memset(values, schedule.poison, bytes);
  }

  void* dynamic_shared = nullptr;

 private:
  static void ServeBlock();

  [[noreturn]] void Serve() {
    ArriveAt(&current().fiber);
    for (;;) {
      (*kernel_)();
      current().state = Thread::kEnded;
      GoOn(&current().fiber);
    }
  }

  // From `from` to the next thread that can run, or to Run's caller.
  void GoOn(Fiber* from) {
    const size_t count = order_->size();
    size_t ended = 0;
    for (size_t i = 1; i <= count; ++i) {
      const size_t place = (place_ + i) % count;
      Thread& thread = threads_[(*order_)[place]];
      ended += thread.state == Thread::kEnded;
      if (thread.state != Thread::kReady) continue;
      place_ = place;
      threadIdx = thread.index;
      if (&thread.fiber != from) SwitchFiber(from, &thread.fiber);
      return;
    }
    if (ended < count) ReportStuck();
    SwitchFiber(from, &caller_);
  }

  [[noreturn]] void ReportStuck() const {
    std::fprintf(stderr, "cuda_on_cpu: block (%u, %u, %u) is stuck:\n",
                 blockIdx.x, blockIdx.y, blockIdx.z);
    std::map<std::string, std::pair<int, uint3>> groups;
    for (size_t i = 0; i < order_->size(); ++i) {
      const Thread& thread = threads_[i];
      std::string what = "ended";
      if (thread.state == Thread::kWaiting) {
        char mask[32];
        std::snprintf(mask, sizeof(mask), "mask 0x%08x", thread.wait.mask);
        what = std::string("wait at ") + thread.wait.operation +
               (thread.wait.whole_block ? "" : std::string(", ") + mask) +
               ", " + thread.wait.file + ":" + std::to_string(thread.wait.line);
      }
      ++groups.emplace(what, std::pair(0, thread.index)).first->second.first;
    }
    for (const auto& [what, group] : groups) {
      std::fprintf(stderr, "  %d threads, the first (%u, %u, %u), %s\n",
                   group.first, group.second.x, group.second.y, group.second.z,
                   what.c_str());
    }
    std::abort();
  }

  std::deque<Thread> threads_;
  std::vector<std::pair<void*, size_t>> arrays_;
  std::vector<int64_t> waiting_ = std::vector<int64_t>(33);
  const std::function<void()>* kernel_ = nullptr;
  const std::vector<int64_t>* order_ = nullptr;
  size_t place_ = 0;
  Fiber caller_;
};
inline Block block;

inline void Block::ServeBlock() { block.Serve(); }

}  // namespace cuda_on_cpu
}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_CUDA_EMULATION_BLOCK_H_
