// Bit ranges of a Verilated port, whatever C++ type its width gave it: up to 64 bits an unsigned
// integer, beyond that VlWide<N>, N words of 32 bits, least significant first.
#ifndef QUASAR_SIM_BITS_H
#define QUASAR_SIM_BITS_H

#include <cstddef>
#include <cstdint>

#include "verilated.h"

constexpr uint64_t mask(unsigned width) { return width >= 64 ? ~0ull : (1ull << width) - 1; }

// Bits [low, low + width) of a port, width <= 64.
template <class T>
uint64_t get(const T& port, unsigned low, unsigned width) {
    return (static_cast<uint64_t>(port) >> low) & mask(width);
}

template <std::size_t N>
uint64_t get(const VlWide<N>& port, unsigned low, unsigned width) {
    uint64_t value = 0;
    for (unsigned got = 0; got < width;) {
        const unsigned bit = low + got;
        value |= static_cast<uint64_t>(port[bit / 32] >> (bit % 32)) << got;
        got += 32 - bit % 32;
    }
    return value & mask(width);
}

template <class T>
void set(T& port, unsigned low, unsigned width, uint64_t value) {
    const uint64_t keep = static_cast<uint64_t>(port) & ~(mask(width) << low);
    port = static_cast<T>(keep | ((value & mask(width)) << low));
}

template <std::size_t N>
void set(VlWide<N>& port, unsigned low, unsigned width, uint64_t value) {
    for (unsigned done = 0; done < width;) {
        const unsigned bit = low + done, room = 32 - bit % 32;
        const unsigned count = room < width - done ? room : width - done;
        const uint32_t field = static_cast<uint32_t>(mask(count)) << (bit % 32);
        const uint32_t part = static_cast<uint32_t>((value >> done) & mask(count)) << (bit % 32);
        port[bit / 32] = (port[bit / 32] & ~field) | part;
        done += count;
    }
}

#endif
