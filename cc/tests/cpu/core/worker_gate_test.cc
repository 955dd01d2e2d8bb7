// The gate between a piece of work and the threads that help with it: who comes
// late stays outside, the owner waits for those inside, and sees what they did.

#include "cc/cpu/core/worker_gate.h"

#include <atomic>
#include <thread>
#include <vector>

#include "cc/tests/check.h"

namespace tf_approxgrad {
namespace {

void TestWhoComesLateStaysOutside() {
  WorkerGate gate;
  Check(gate.Enter() && gate.Enter(), "an open gate lets several in");
  gate.Leave();
  gate.Leave();
  gate.Close();
  Check(!gate.Enter(), "a closed gate lets nobody in");
}

void TestCloseWaitsForThoseInside() {
  constexpr int kHelpers = 3;
  constexpr int kRounds = 500;
  for (int round = 0; round < kRounds; ++round) {
    WorkerGate gate;
    int written[kHelpers] = {};
    std::atomic<int> entered{0};
    std::vector<std::thread> helpers;
    for (int i = 0; i < kHelpers; ++i) {
      helpers.emplace_back([&, i] {
        if (!gate.Enter()) return;
        entered.fetch_add(1);
        if (round % 2 == 0) std::this_thread::yield();
        written[i] = 1;
        gate.Leave();
      });
    }
    // In most rounds at least one comes in time.
    while (round % 4 != 0 && entered.load() == 0) std::this_thread::yield();
    gate.Close();
    int seen = 0;
    for (int value : written) seen += value;
    const int came = entered.load();
    for (std::thread& helper : helpers) helper.join();
    Check(seen == came, "the owner sees what those who entered wrote");
    Check(entered.load() == came, "nobody enters a closed gate");
  }
}

}  // namespace
}  // namespace tf_approxgrad

int main() {
  tf_approxgrad::TestWhoComesLateStaysOutside();
  tf_approxgrad::TestCloseWaitsForThoseInside();
  return tf_approxgrad::FailedChecks("cpu/core/worker_gate_test");
}
