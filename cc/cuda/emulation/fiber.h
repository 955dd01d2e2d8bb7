// Functions that run in turns on stacks of their own, within one thread.
// AddressSanitizer is told of every switch, so that it keeps checking the
// stacks.

#ifndef TF_APPROXGRAD_CC_CUDA_EMULATION_FIBER_H_
#define TF_APPROXGRAD_CC_CUDA_EMULATION_FIBER_H_

#include <sys/mman.h>

#include <cstddef>
#include <cstdio>
#include <cstdlib>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TF_APPROXGRAD_ADDRESS_SANITIZER 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define TF_APPROXGRAD_ADDRESS_SANITIZER 1
#endif
#ifdef TF_APPROXGRAD_ADDRESS_SANITIZER
#include <sanitizer/common_interface_defs.h>
#endif

// Keeps the registers that a call must keep on this stack, its pointer in
// *keep, and goes on where `other` was left. ucontext's functions would do the
// same with a system call each time, and AddressSanitizer forgets a stack's red
// zones at each of theirs.
extern "C" void tf_approxgrad_switch_stack(void** keep, void* other);
#ifndef __x86_64__
#error "cc/tests/fiber.h switches stacks on x86-64 alone"
#endif
asm(R"(
.pushsection .text.tf_approxgrad_switch_stack,"axG",@progbits,tf_approxgrad_switch_stack,comdat
.weak tf_approxgrad_switch_stack
.type tf_approxgrad_switch_stack,@function
tf_approxgrad_switch_stack:
  push %rbp
  push %rbx
  push %r12
  push %r13
  push %r14
  push %r15
  mov %rsp, (%rdi)
  mov %rsi, %rsp
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbx
  pop %rbp
  ret
.size tf_approxgrad_switch_stack, .-tf_approxgrad_switch_stack
.popsection
)");

namespace tf_approxgrad {

#ifdef TF_APPROXGRAD_ADDRESS_SANITIZER
constexpr bool kAddressSanitizer = true;
#else
constexpr bool kAddressSanitizer = false;
#endif

// As it is made, the code that is running.
struct Fiber {
  char* stack = nullptr;
  size_t stack_bytes = 0;
  void* stack_pointer = nullptr;
  // AddressSanitizer's.
  void* fake_stack = nullptr;
};

// The one that ran before the last switch.
inline Fiber* left_fiber = nullptr;

// What a fiber's function must do first.
inline void ArriveAt(Fiber* fiber) {
#ifdef TF_APPROXGRAD_ADDRESS_SANITIZER
  const void* bottom;
  __sanitizer_finish_switch_fiber(fiber->fake_stack, &bottom,
                                  &left_fiber->stack_bytes);
  left_fiber->stack = static_cast<char*>(const_cast<void*>(bottom));
#else
  (void)fiber;
#endif
}

// Goes on with `to`; returns when somebody goes on with `from`.
inline void SwitchFiber(Fiber* from, Fiber* to) {
  left_fiber = from;
#ifdef TF_APPROXGRAD_ADDRESS_SANITIZER
  __sanitizer_start_switch_fiber(&from->fake_stack, to->stack, to->stack_bytes);
#endif
  tf_approxgrad_switch_stack(&from->stack_pointer, to->stack_pointer);
  ArriveAt(from);
}

// One that begins with `main`, which must never return. Its stack stays until
// the program ends; one that overflows ends it.
inline Fiber MakeFiber(void (*main)()) {
  constexpr size_t kPage = 4096;
  constexpr size_t kStackBytes = 64 * kPage;
  void* memory = mmap(nullptr, kStackBytes + kPage, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED || mprotect(memory, kPage, PROT_NONE) != 0) {
    std::perror("no memory for a fiber's stack");
    std::abort();
  }
  Fiber fiber;
  fiber.stack = static_cast<char*>(memory) + kPage;
  fiber.stack_bytes = kStackBytes;
  // As the switch leaves a stack: six registers, and where to go on. Above it
  // the return address of `main`, which so finds its stack as a call leaves it.
  void** top = reinterpret_cast<void**>(fiber.stack + kStackBytes) - 1;
  top[0] = nullptr;
  top[-1] = reinterpret_cast<void*>(main);
  fiber.stack_pointer = top - 7;
  return fiber;
}

}  // namespace tf_approxgrad

#endif  // TF_APPROXGRAD_CC_CUDA_EMULATION_FIBER_H_
