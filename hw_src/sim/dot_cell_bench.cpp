// Random and extreme vectors through a dot cell, against plain sums of products. Returns the number
// of wrong sums.

#include <array>
#include <cstdint>
#include <cstring>
#include <deque>
#include <random>

#include "Vdot_cell.h"
#include "verilated.h"

extern "C" uint64_t dot_cell_random(uint32_t depth, uint32_t latency, uint32_t seed,
                                    uint64_t count) {
  VerilatedContext context;
  Vdot_cell top(&context);
  std::mt19937 random(seed);
  std::deque<std::array<int16_t, 4>> expected;
  uint64_t wrong = 0;
  for (uint64_t n = 0; n < count; n++) {
    int8_t x[2][32], w[2][32];
    uint8_t nibbles[32] = {};
    const bool extreme = n % 4 == 0;
    for (int i = 0; i < 2; i++) {
      for (uint32_t k = 0; k < depth; k++) {
        x[i][k] = extreme ? (random() & 1 ? 127 : -127) : static_cast<int>(random() % 255) - 127;
        w[i][k] = extreme ? (random() & 1 ? 7 : -8) : static_cast<int>(random() % 16) - 8;
        nibbles[(i * depth + k) / 2] |= (w[i][k] & 15) << (k % 2 * 4);
      }
    }
    std::array<int16_t, 4> sums{};
    for (int t = 0; t < 2; t++)
      for (int r = 0; r < 2; r++)
        for (uint32_t k = 0; k < depth; k++) sums[2 * t + r] += x[t][k] * w[r][k];
    expected.push_back(sums);
    for (int t = 0; t < 2; t++) {
      std::memcpy(reinterpret_cast<int8_t*>(&top.x_i) + t * depth, x[t], depth);
    }
    std::memcpy(&top.w_i, nibbles, depth);
    top.clk_i = 0;
    top.eval();
    top.clk_i = 1;
    top.eval();
    if (expected.size() == latency) {
      std::array<int16_t, 4> got;
      std::memcpy(got.data(), &top.sum_o, sizeof got);
      for (int i = 0; i < 4; i++) wrong += got[i] != expected.front()[i];
      expected.pop_front();
    }
  }
  return wrong;
}
