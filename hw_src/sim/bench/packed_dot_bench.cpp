// The cascade of four packed multipliers. Every input of a multiplier (16 lower digits, 15 upper
// ones, 255 x 255 activations) goes through each of the four, in an order of its own for each, so
// that every case meets 15.6 million combinations of the other three; every ninth cycle all four
// take extremes instead. Returns the number of wrong sums.

#include <array>
#include <cstdint>
#include <random>

#include "Vpacked_dot.h"
#include "stops.h"
#include "verilated.h"

namespace {
constexpr int kLatency = 7, kSkew = 2, kPipe = 8;
constexpr uint64_t kCases = 16ull * 15 * 255 * 255;
constexpr uint64_t kStride[4] = {1, 7919, 104729, 15485863};  // primes that kCases lacks

struct Case {
  int x0, x1, w0, w1;
};

Case numbered(uint64_t n) {
  return {static_cast<int>(n % 255) - 127, static_cast<int>(n / 255 % 255) - 127,
          static_cast<int>(n / 255 / 255 % 16) - 8, static_cast<int>(n / 255 / 255 / 16) - 7};
}

int sign(int value, int bits) { return (value ^ (1 << (bits - 1))) - (1 << (bits - 1)); }
}  // namespace

extern "C" uint64_t packed_dot_exhaustive(uint64_t cases, uint32_t seed) {
  VerilatedContext context;
  Vpacked_dot top(&context);
  std::mt19937 random(seed);
  std::array<std::array<Case, 4>, kPipe> pipe{};
  uint64_t wrong = 0, fed = kPipe, number = seed;
  auto step = [&](const std::array<Case, 4>& now) {
    if (fed >= kPipe + kLatency) {
      const std::array<Case, 4>& out = pipe[(fed - kLatency) % kPipe];
      int want[4] = {};  // [token][digit row]
      for (const Case& c : out) {
        want[0] += c.w0 * c.x0, want[1] += c.w1 * c.x0;
        want[2] += c.w0 * c.x1, want[3] += c.w1 * c.x1;
      }
      for (int i = 0; i < 4; i++) {
        int sum = sign(static_cast<int>(top.sum_o >> (13 * i) & 8191), 13);
        wrong += sum + (i == 1 ? top.carry_o : 0) != want[i];
      }
    }
    pipe[fed % kPipe] = now;
    unsigned __int128 operands = 0;
    uint32_t digits = 0;
    uint16_t w0 = 0, w1 = 0, x1 = 0;
    for (int i = 0; i < 4; i++) {
      const Case& late = pipe[(fed - (i < 2 ? 0 : i - 1)) % kPipe][i];
      operands |= static_cast<unsigned __int128>((late.x0 + late.x1 * 1024) & 0x3FFFF) << 18 * i;
      digits |= static_cast<uint32_t>((late.w0 & 15) | ((late.w1 - (late.w0 < 0)) & 15) << 4)
                << 8 * i;
      w0 |= (now[i].w0 & 7) << 3 * i, w1 |= (now[i].w1 & 7) << 3 * i;
      x1 |= (now[i].x1 & 7) << 3 * i;
    }
    for (int i = 0; i < 3; i++) top.x_i[i] = static_cast<uint32_t>(operands >> 32 * i);
    top.w_i = digits, top.w0_low_i = w0, top.w1_low_i = w1, top.x1_low_i = x1;
    top.clk_i = 0;
    top.eval();
    top.clk_i = 1;
    top.eval();
    fed++;
  };
  for (uint64_t n = 0; n < cases; n++) {
    std::array<Case, 4> all;
    for (int i = 0; i < 4; i++) all[i] = numbered(number * kStride[i] % kCases);
    number++;
    step(all);
    if (n % 8 != 7) continue;
    for (Case& c : all) {
      c = {random() & 1 ? 127 : -127, random() & 1 ? 127 : -127, random() & 1 ? 7 : -8,
           random() & 1 ? 7 : -7};
    }
    step(all);
  }
  for (int i = 0; i < kLatency + kSkew; i++) step({});
  return wrong;
}

extern "C" uint64_t packed_dot_cases() { return kCases; }
