// Random and extreme vectors through an array of two tokens and two digit rows, each a tile of its
// own, against plain sums of products. Returns the number of wrong sums.

#include <array>
#include <cstdint>
#include <cstring>
#include <deque>
#include <random>

#include "Varray.h"
#include "stops.h"
#include "verilated.h"

extern "C" uint64_t array_random(uint32_t depth, uint32_t latency, uint32_t seed, uint64_t count) {
  VerilatedContext context;
  Varray top(&context);
  std::mt19937 random(seed);
  std::deque<std::array<int32_t, 4>> expected;
  uint64_t wrong = 0;
  top.valid_i = top.first_i = top.last_i = 1;
  for (uint64_t n = 0; n < count; n++) {
    int8_t x[2][32], w[2][32];
    uint8_t nibbles[32] = {};
    const bool extreme = n % 4 == 0;
    // A second token that does not exist: its sums are not looked at.
    const bool alone = n % 8 == 1;
    for (int i = 0; i < 2; i++) {
      for (uint32_t k = 0; k < depth; k++) {
        x[i][k] = extreme ? (random() & 1 ? 127 : -127) : static_cast<int>(random() % 255) - 127;
        if (alone) x[i][k] = i ? -128 : random() & 1 ? 0 : -127;
        w[i][k] = extreme ? (random() & 1 ? 7 : -8) : static_cast<int>(random() % 16) - 8;
        if (alone && i == 0) w[i][k] = -8;
        if (i == 1 && w[i][k] == -8) w[i][k] = -7;  // only even digit rows hold -8
        nibbles[(i * depth + k) / 2] |= (w[i][k] & 15) << (k % 2 * 4);
      }
    }
    std::array<int32_t, 4> sums{};
    for (int t = 0; t < 2; t++)
      for (int r = 0; r < 2; r++)
        for (uint32_t k = 0; k < depth; k++) sums[2 * t + r] += x[t][k] * w[r][k];
    if (alone) sums[2] = sums[3] = INT32_MIN;
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
      uint32_t words[3];
      std::memcpy(words, &top.acc_o, sizeof words);
      for (int i = 0; i < 4; i++) {
        uint32_t value = 0;
        for (int b = 0; b < 23; b++) {
          value |= (words[(23 * i + b) / 32] >> (23 * i + b) % 32 & 1) << b;
        }
        const int32_t got = static_cast<int32_t>(value << 9) >> 9, want = expected.front()[i];
        wrong += want != INT32_MIN && got != want;
      }
      expected.pop_front();
    }
  }
  return wrong;
}
