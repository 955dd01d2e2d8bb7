// What headers of this machine's runtimes refer to and older runtimes lack.
// Nobody else sees these.

#include <new>

// Whether std::shared_ptr may count without atomic instructions. Since
// glibc 2.32.
extern "C" __attribute__((visibility("hidden"))) char __libc_single_threaded;
char __libc_single_threaded = false;

namespace std {

// Since GCC 11.
[[noreturn]] __attribute__((visibility("hidden"))) void
__throw_bad_array_new_length() {
  throw bad_array_new_length();
}

}  // namespace std
