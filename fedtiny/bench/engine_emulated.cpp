// Runs one engine call on memory that another machine prepared: reads the memory from stdin, maps
// it at the address its pointers are for, makes the call, writes the memory to stdout.
//
// engine_emulated BASE BYTES run|sgd ARGUMENT   (addresses in decimal; ARGUMENT lies in the memory)
#include <sys/mman.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

extern "C" {
void fedtiny_run(int64_t set, void* run);
void fedtiny_sgd(int64_t set, const void* sgd);
}

int main(int count, char** words) {
  if (count != 5) return 2;
  void* const base = reinterpret_cast<void*>(std::strtoull(words[1], nullptr, 10));
  const size_t bytes = std::strtoull(words[2], nullptr, 10);
  void* const argument = reinterpret_cast<void*>(std::strtoull(words[4], nullptr, 10));
  const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
  if (mmap(base, bytes, PROT_READ | PROT_WRITE, flags, -1, 0) != base) return 3;
  if (std::fread(base, 1, bytes, stdin) != bytes) return 4;
  if (std::strcmp(words[3], "run") == 0) {
    fedtiny_run(0, argument);
  } else {
    fedtiny_sgd(0, argument);
  }
  return std::fwrite(base, 1, bytes, stdout) == bytes ? 0 : 5;
}
